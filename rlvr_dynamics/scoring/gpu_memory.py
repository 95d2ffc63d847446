"""Checks that a GPU's memory has been freed before the next engine starts.

A small separate process reads the memory: this one must not hold a CUDA context, and `torch` there
sees the same devices as an engine would (CUDA_VISIBLE_DEVICES, MIG), unlike nvidia-smi.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlvr_dynamics.errors import StageFailed
from rlvr_dynamics.scoring.jobs import EngineSettings

# Share that drivers and other contexts may hold for a while without counting as a leak.
SLACK_SHARE = 0.02
PAUSE_SECONDS = 2.0
READ_SECONDS = 120.0
_READ = """
import json, torch
print(json.dumps([torch.cuda.mem_get_info(i) for i in range(torch.cuda.device_count())]))
"""


@dataclass(frozen=True)
class DeviceMemory:
    """Memory of one GPU in bytes."""

    free: int
    total: int


Probe = Callable[[Sequence[str]], list[DeviceMemory]]


def read_gpu_memory(gpus: Sequence[str]) -> list[DeviceMemory]:
    """Return the memory of GPUs, read in a fresh process; of those only that exist.

    Args:
        gpus: Their names, as in CUDA_VISIBLE_DEVICES.

    Raises:
        StageFailed: The memory cannot be read.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _READ],
            capture_output=True,
            text=True,
            timeout=READ_SECONDS,
            check=True,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(gpus)},
        )
        return [DeviceMemory(*pair) for pair in json.loads(done.stdout.splitlines()[-1])]
    except subprocess.CalledProcessError as error:
        raise StageFailed(f"the GPU's memory cannot be read: {error.stderr[-1000:]}") from error
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise StageFailed(f"the GPU's memory cannot be read: {error!r}") from error


class MemoryGuard:
    """Lets an engine start on its GPUs only when what it needs and all that was free is free."""

    def __init__(
        self, settings: EngineSettings, gpus: Sequence[str], probe: Probe = read_gpu_memory
    ) -> None:
        """Store the settings; nothing is read yet.

        Args:
            settings: Memory share per engine, and how long to wait.
            gpus: The engine's GPUs, as in CUDA_VISIBLE_DEVICES.
            probe: Reads their memory.
        """
        self.settings, self.gpus, self.probe = settings, gpus, probe
        self.before: list[DeviceMemory] | None = None

    def wait(self) -> None:
        """Return once enough memory is free; immediately for engines on the CPU.

        The first engine needs its share of memory on each of its GPUs. Every later one also needs
        all that was free before the first, so a leak is noticed however small the share is.

        Raises:
            StageFailed: Waiting timed out, or there are too few GPUs.
        """
        if self.settings.device == "cpu":
            return
        deadline = time.monotonic() + self.settings.memory_wait_seconds
        while True:
            found = self.probe(self.gpus)
            missing = self._missing(found)
            if not missing:
                self.before = self.before or found
                return
            if time.monotonic() >= deadline:
                raise StageFailed(
                    f"GPU memory is not free after {self.settings.memory_wait_seconds:.0f} s: "
                    + "; ".join(missing)
                    + ". See with nvidia-smi what holds it; a smaller scoring.gpu_memory_share "
                    "needs less"
                )
            time.sleep(min(PAUSE_SECONDS, self.settings.memory_wait_seconds))

    def _missing(self, found: list[DeviceMemory]) -> list[str]:
        if len(found) < len(self.gpus):
            return [f"an engine takes the GPUs {', '.join(self.gpus)}, {len(found)} are visible"]
        missing = []
        for number, (gpu, memory) in enumerate(zip(self.gpus, found, strict=False)):
            wanted = int(self.settings.memory_share * memory.total)
            if self.before is not None:
                wanted = max(wanted, self.before[number].free - int(SLACK_SHARE * memory.total))
            if memory.free < wanted:
                missing.append(
                    f"GPU {gpu} has {memory.free / 2**30:.1f} of {memory.total / 2**30:.1f} GiB "
                    f"free, {wanted / 2**30:.1f} are needed"
                )
        return missing
