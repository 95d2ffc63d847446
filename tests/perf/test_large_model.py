import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # perf/ is run from the checkout and is not installed

from perf.projection import projected, table  # noqa: E402
from perf.synthetic_steps import Steps, size_of  # noqa: E402


def weights_of(steps: Steps, step: int, folder: Path) -> dict[str, torch.Tensor]:
    steps.write(step, folder)
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("share", [0.01, 0.04])
def test_any_step_is_computed_alone_and_so_many_weights_change(tmp_path, share):
    size = size_of(400_000)
    assert size.parameters == pytest.approx(400_000, rel=0.2)
    steps = Steps(size, 4, share, 1)
    found = [weights_of(steps, step, tmp_path / str(step)) for step in range(4)]
    again = weights_of(Steps(size, 4, share, 1), 3, tmp_path / "again")
    assert all(torch.equal(found[3][name], again[name]) for name in size.shapes)
    assert {name: tuple(each.shape) for name, each in again.items()} == size.shapes
    for before, after in zip(found[:-1], found[1:], strict=True):
        changed = sum(int((before[name] != after[name]).sum()) for name in size.shapes)
        assert changed / size.parameters == pytest.approx(share, rel=0.4)


def result(keep: str, steps: int, cpu: float, parameters: int = 1000) -> dict:
    stage = {
        "cpu_seconds": cpu,
        "written_bytes": 5,
        "peak_bytes": 10**9,
        "report": {"read_bytes": 2 * parameters * steps},
    }
    write = stage | {"cpu_seconds": cpu + 7.0}
    write["report"] = stage["report"] | {"generating_cpu_seconds": 7.0}
    return {
        "parameters": parameters,
        "steps": steps,
        "share": 0.01,
        "keep": keep,
        "threads": 2,
        "steps_bytes": 2 * parameters * steps // (1 if keep == "folders" else 50),
        "stages": {"write": write, "measure": stage, "extrapolate": stage},
    }


def test_costs_grow_with_weights_steps_and_the_square_of_steps():
    one, two = (result("deltas", steps, 3.0 * steps + 0.5 * steps**2) for steps in (20, 50))
    expected = 8.0 * (3.0 * 500 + 0.5 * 500**2)
    assert projected([one, two], "measure", "cpu_seconds", 8000, 500) == pytest.approx(expected)
    assert projected([one, two], "write", "cpu_seconds", 8000, 500) == pytest.approx(expected)
    alone = projected([one], "measure", "cpu_seconds", 8000, 500)
    assert alone == pytest.approx(8.0 * 500 * (3.0 + 0.5 * 20))
    falling = [result("deltas", 20, 40.0), result("deltas", 50, 90.0)]
    linear = projected(falling, "measure", "cpu_seconds", 1000, 500)
    assert linear == pytest.approx(500 * (40 / 20 + 90 / 50) / 2)


def test_the_table_compares_folders_with_a_store():
    lines = table([result("deltas", 50, 9.0), result("folders", 50, 18.0)], 8e9, 500).splitlines()
    assert lines[0].startswith("8 B bf16 weights x 500 steps")
    folders, store = ([each.strip() for each in line.split("|")[1:-1]] for line in lines[4:])
    assert folders[:3] == ["1.0%", "whole folders", "8.00 TB"]
    assert store[:3] == ["1.0%", "delta store", "160.0 GB"]
    assert float(folders[3][:-2]) == pytest.approx(2 * float(store[3][:-2]))
    assert folders[8] == "1.0 GB" and store[8] == "1.3 GB"  # 450 steps more, of two threads
    assert store[9] == "0 M x 50"


@pytest.mark.slow
def test_a_tiny_run_of_both_kinds(tmp_path):
    for keep in ("deltas", "folders"):
        words = ["--parameters=3e5", "--steps=4", "--threads=1", f"--keep={keep}"]
        command = [sys.executable, "-m", "perf.large_model", "run", *words]
        command += ["--work", tmp_path / "work", "--out", tmp_path / "out"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "step 4 of 4" in done.stderr and "GiB at most" in done.stdout
    assert not any((tmp_path / "work").iterdir())
    paths = sorted((tmp_path / "out").glob("*.json"))
    deltas, folders = (json.loads(path.read_text()) for path in paths)
    assert deltas["steps_bytes"] * 8 < folders["steps_bytes"]
    for found in (deltas, folders):
        assert all(0 < each["peak_bytes"] < 2 << 30 for each in found["stages"].values())
    whole = 2 * deltas["parameters"]
    read = deltas["stages"]["extrapolate"]["report"]["read_bytes"]
    assert read < 8 * whole < folders["stages"]["measure"]["report"]["read_bytes"] * 3
