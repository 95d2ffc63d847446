import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # perf/ is run from the checkout and is not installed

from perf import gpu, measure_process, models, report, scaling, settings, update_svd  # noqa: E402
from rlvr_dynamics.checkpoints import Trajectory  # noqa: E402
from rlvr_dynamics.checkpoints.differences import Differences  # noqa: E402
from rlvr_dynamics.dynamics import trajectory_svd  # noqa: E402

WEIGHTS = "model.safetensors"
PARTS = ("trajectory", "update_svd", "scaling", "gpu", "rare_changes", "store")
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("perf")
    done = subprocess.run(
        [sys.executable, "-m", "perf", *PARTS, "--quick", "--out", out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out, done.stdout, json.loads((out / "results.json").read_text())


@pytest.mark.slow
def test_grading_and_scoring_are_measured_too(tmp_path):
    command = [sys.executable, "-m", "perf", "grading", "scoring", "--quick", "--out", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert row(results, "grading", "answers per second of one core")["ours"] > 0
    assert all(part["rows"] for part in results["parts"].values())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return models.write_files(tmp_path_factory.mktemp("models") / "run", "100K", 8, seed=3)


def row(results, part, what):
    (found,) = [row for row in results["parts"][part]["rows"] if row["what"] == what]
    return found


@pytest.mark.slow
def test_the_quick_run_writes_table_numbers_and_figure_and_removes_its_files(quick_run):
    out, printed, results = quick_run
    found = {path.name for path in out.iterdir()}
    assert found == {"results.json", "table.md", "cost.png", "cost.pdf"}
    assert (out / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "cost.pdf").read_bytes().startswith(b"%PDF")
    table = (out / "table.md").read_text()
    assert table in printed
    for part in results["parts"].values():
        assert part["title"] in table
    told = results["provenance"]
    assert told["versions"]["torch"] == torch.__version__ and told["cores"] >= 1
    assert told["quick"] is True and told["seed"] == 0
    assert told["dtype"] == "bfloat16" and told["widths"]["100K"]["hidden"] == 64


@pytest.mark.slow
def test_every_measured_pair_has_a_finite_positive_ratio(quick_run):
    _, _, results = quick_run
    ratios = {
        (part, row["what"]): row["ratio"]
        for part, found in results["parts"].items()
        for row in found["rows"]
        if row["comparable"] and row["reference"] is not None and row["ours"] != 0
    }
    assert len(ratios) > 10
    assert all(ratio is not None and 0 < ratio < math.inf for ratio in ratios.values()), ratios


@pytest.mark.slow
def test_both_sides_predict_the_same_checkpoint(quick_run):
    _, _, results = quick_run
    agreement = results["parts"]["trajectory"]["details"]["agreement"]
    # Predictions are rounded to bf16: values between two of its numbers may fall on either side.
    assert agreement["relative_difference"] < 0.05
    assert agreement["differing_share"] < 0.01


@pytest.mark.slow
def test_only_the_scripts_leave_files_between_reading_and_predicting(quick_run):
    _, _, results = quick_run
    details = results["parts"]["trajectory"]["details"]
    one_checkpoint = details["parameters"] * 2
    between = row(results, "trajectory", "intermediate files")
    assert between["ours"] == 0
    assert between["reference"] * 1e9 > details["steps"] * one_checkpoint
    written = row(results, "trajectory", "bytes written, prediction included")
    assert one_checkpoint < written["ours"] * 1e9 < 1.3 * one_checkpoint
    assert written["reference"] > between["reference"]


def test_a_part_that_does_not_exist_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "perf", "speed"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert (
        "'speed' is not understood -> allowed: trajectory, update_svd, scaling, grading"
        in done.stderr
    )


def test_the_sizes_have_the_parameters_of_their_names():
    for name, count in (("100K", 1e5), ("10M", 1e7), ("100M", 1e8)):
        assert models.SIZES[name].parameters == pytest.approx(count, rel=0.2)
    assert models.SIZES["10M"].shapes[Q_PROJ] == (256, 256)


def test_a_synthetic_run_moves_like_a_bf16_run(files):
    assert 0.05 < files.changed_share < 0.5
    base = load_file(files.base / WEIGHTS)
    last = load_file(files.root / "step_8" / WEIGHTS)
    changed = sum(int((base[name] != last[name]).sum()) for name in base)
    assert changed / models.SIZES["100K"].parameters == pytest.approx(files.changed_share)
    assert torch.equal(base["model.norm.weight"], last["model.norm.weight"])
    trajectory = Trajectory.open(files.base, files.checkpoints(8))
    ((_, _, updates),) = Differences(trajectory, Q_PROJ).chunks()
    assert 0.5 < trajectory_svd(updates, 1).explained_variance[0] < 0.999


def test_a_slower_pace_changes_less_in_a_step(files, tmp_path):
    slow = models.write_files(tmp_path / "slow", "100K", 8, seed=3, pace=0.25)
    rows = [load_file(slow.root / f"step_{step}" / WEIGHTS)[Q_PROJ] for step in (1, 2)]
    assert 0.0 < float((rows[0] != rows[1]).double().mean()) < 0.1
    assert 0.0 < slow.step_share < 0.5 * files.step_share


def test_a_synthetic_run_follows_its_seed_alone(files, tmp_path):
    same = models.write_files(tmp_path / "same", "100K", 8, seed=3)
    other = models.write_files(tmp_path / "other", "100K", 8, seed=4)
    for step in ("base", "step_8"):
        bytes_of = [(found.root / step / WEIGHTS).read_bytes() for found in (files, same, other)]
        assert bytes_of[0] == bytes_of[1] != bytes_of[2]


def test_a_finished_run_is_kept_and_one_of_other_settings_is_replaced(tmp_path):
    weights = tmp_path / "run" / "step_1" / WEIGHTS
    first = models.write_files(tmp_path / "run", "100K", 2, seed=0)
    stamp, before = weights.stat().st_mtime_ns, weights.read_bytes()
    assert models.write_files(tmp_path / "run", "100K", 2, seed=0) == first
    assert weights.stat().st_mtime_ns == stamp
    models.write_files(tmp_path / "run", "100K", 2, seed=1)
    assert weights.read_bytes() != before


def test_steps_beyond_the_written_ones_are_links_to_them(files):
    folder = files.checkpoints(11)
    assert len(list(folder.iterdir())) == 11
    assert (folder / "step_11" / WEIGHTS).samefile(files.root / "step_3" / WEIGHTS)
    assert Trajectory.open(files.base, folder).steps == tuple(range(1, 12))
    assert len(files.paths(11)) == len(set(files.paths(11))) == 9  # the base and 8 steps


def test_a_process_is_measured(tmp_path):
    script = (
        "import time; block = bytearray(b'x') * 200_000_000; "
        f"open({str(tmp_path / 'file')!r}, 'wb').write(block[:30_000_000]); del block; "
        "time.sleep(0.2); print('a word'); print('{\"seconds\": 0.125}')"
    )
    cost = measure_process.run([sys.executable, "-c", script])
    assert 200e6 < cost.peak_bytes < 300e6
    assert cost.peak_resident_bytes >= 200e6
    assert 30e6 <= cost.written_bytes < 31e6
    assert cost.inner_seconds == 0.125 and 0.2 < cost.wall_seconds < 20


def test_a_failing_process_says_why():
    with pytest.raises(RuntimeError, match="ended with 3.*\n.*no such luck"):
        measure_process.run(
            [
                sys.executable,
                "-c",
                "import sys; print('no such luck', file=sys.stderr); sys.exit(3)",
            ]
        )


def test_a_ratio_is_defined_only_between_two_measurements():
    assert report.Row("time", "s", 2.0, 3.0).ratio == 1.5
    undefined = [
        report.Row("disk", "GB", 0.0, 3.0),
        report.Row("time", "s", 2.0),
        report.Row("time", "s", float("nan"), 3.0),
        report.Row("error", "", 1e-9, 1e-7, comparable=False),
    ]
    assert all(math.isnan(row.ratio) for row in undefined)
    assert report.number(float("nan")) == "-"
    assert report.number(12345.6) == "12346" and report.number(0.012345) == "0.0123"


def test_the_marked_point_is_where_the_gram_product_costs_as_much_as_reading():
    steps = scaling.crossing(plain=0.3, flops=8e10)
    assert scaling.gram_seconds_per_gb(steps, 8e10) == pytest.approx(0.3)
    # 99 steps and the base, 5e6 elements: 1 GB, and 99² 5e6 operations.
    assert scaling.gram_seconds_per_gb(99, 1e10) == pytest.approx(99**2 * 5e6 / 1e10)


def test_a_cell_that_would_take_too_long_is_left_out_with_a_dash(tmp_path):
    sizes = settings.quick(tmp_path, seed=0, repeats=1, keep=False)
    part = scaling.measure(dataclasses.replace(sizes, cell_limit_seconds=0.0), lambda text: None)
    assert [cell["T"] for cell in part.details["cells"]] == [3]
    times = [row.ours for row in part.rows if row.unit == "s/GB"]
    assert times[0] > 0 and math.isnan(times[1])


def test_the_updates_have_the_spectrum_that_is_claimed():
    earlier, later = update_svd.consecutive_updates(128, 512, seed=1)
    sigma = torch.linalg.svdvals(earlier.double())
    assert float(sigma[0] / sigma[3]) == pytest.approx(4**0.7, rel=0.05)
    assert 0.1 < float((earlier != 0).double().mean()) < 0.5
    cosine = (earlier * later).sum() / (earlier.norm() * later.norm())
    assert 0.5 < float(cosine) < 0.999


@pytest.mark.slow
def test_ours_answers_as_the_full_decomposition_does(quick_run):
    _, _, results = quick_run
    errors = [
        row
        for row in results["parts"]["update_svd"]["rows"]
        if "error" in row["what"] or "cosine" in row["what"]
    ]
    assert len(errors) == 8
    assert all(0 <= row["ours"] < 1e-5 for row in errors), errors


def test_the_gpu_part_runs_on_any_device_and_says_when_there_is_none(monkeypatch, tmp_path):
    sizes = settings.quick(tmp_path, seed=0, repeats=1, keep=False)
    part = gpu.measure_on(torch.device("cpu"), sizes, lambda text: None)
    assert all(row.ratio > 0 for row in part.rows if row.comparable)
    differences = [row.ours for row in part.rows if not row.comparable]
    assert len(differences) == 2 and max(differences) < 1e-5
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = []
    nothing = gpu.measure(sizes, said.append)
    assert said == ["there is no GPU here: not measured"]
    assert [math.isnan(row.ours) for row in nothing.rows] == [True]
