"""Checkpoints of an external run on disk, and `+exp=trajectory` on them."""

import shutil

import pytest

from rlvr_dynamics.run import main
from tests.support.small_models import SHAPES, random_tensors, save_model

STEPS = 10
FEW = (
    "measure.null_draws=20",
    "extrapolation.methods=[hold_last]",
    "extrapolation.reconstructions=[]",
    "extrapolation.targets=[1.0]",
)


@pytest.fixture
def source(tmp_path):
    """Return a base and ten steps along one direction with a little noise."""
    base, direction = random_tensors(0), random_tensors(1)
    save_model(tmp_path / "base", base)
    for step in range(1, STEPS + 1):
        noise = random_tensors(100 + step)
        tensors = {n: base[n] + 1e-3 * step * (direction[n] + 0.1 * noise[n]) for n in SHAPES}
        save_model(tmp_path / "checkpoints" / f"step_{step}", tensors)
    return tmp_path


def sources(source):
    return [f"source.base={source / 'base'}", f"source.checkpoints={source / 'checkpoints'}"]


def go(source, *overrides):
    return main(
        [
            "+exp=trajectory",
            *sources(source),
            f"run_dir={source / 'out'}",
            "measure.null_draws=20",
            "extrapolation.targets=[1.0,2.0]",
            *overrides,
        ]
    )


def write_source(folder, seed, steps=4, base=None):
    """Write a base and a run from it, along its own direction."""
    base = random_tensors(seed) if base is None else base
    direction = random_tensors(seed + 1)
    shutil.rmtree(folder, ignore_errors=True)
    save_model(folder / "base", base)
    for step in range(1, steps + 1):
        tensors = {name: base[name] + 1e-3 * step * direction[name] for name in SHAPES}
        save_model(folder / "checkpoints" / f"step_{step}", tensors)
    return folder
