"""The hardware of this machine, detected without importing torch."""

import os
import runpy
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil


def gpus_found() -> list[str]:
    """Return the names of the NVIDIA GPUs that this process may use."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    names = [
        line.partition(": ")[2].partition(" (")[0]
        for line in listed.stdout.splitlines()
        if line.startswith("GPU ")
    ]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return names
    wanted = [item for item in visible.split(",") if item.strip()]
    return names[: len(wanted)]


def torch_cuda() -> str | None:
    """Return the CUDA that the installed PyTorch was built with, such as "13.0"; None for none."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return None
    # The small file that torch itself takes it from; loading torch would take seconds.
    values = runpy.run_path(str(Path(found.origin).with_name("version.py")))
    return values.get("cuda")


def driver_version() -> str | None:
    """Return the version of the NVIDIA driver; None without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter(told.stdout.split()), None) if told.returncode == 0 else None


def memory_bytes() -> int:
    """Return the physical memory in bytes."""
    return psutil.virtual_memory().total


def processor_name() -> str:
    """Return the model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else os.uname().machine


def machine() -> dict[str, Any]:
    """Describe this machine, for provenance records."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "gpus": gpus_found(),
    }


def free_bytes(folder: Path) -> int:
    """Return the free bytes on the disk that holds (or will hold) `folder`."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
