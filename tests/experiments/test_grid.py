"""The grid: every cell composes and is known to verl, and the listing tells states rightly."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments import files, grid, grid_page
from experiments.cells import ALGORITHMS, CELLS, MODELS
from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.estimates.disk import disk
from rlvr_dynamics.estimates.hours import training_hours
from rlvr_dynamics.estimates.memory import memory, misfits
from rlvr_dynamics.estimates.scoring import scoring
from rlvr_dynamics.run_directory.lock import is_locked, locked
from rlvr_dynamics.run_directory.progress import progress
from rlvr_dynamics.run_directory.records import FOLDERS, RECORD
from rlvr_dynamics.schema import STAGES
from rlvr_dynamics.training import verl_schema
from rlvr_dynamics.training.verl_command import verl_command

ROOT = Path(__file__).parents[2]
CELL = "grpo_qwen3_4b"


@pytest.fixture(scope="module")
def together():
    return dict(zip([cell.name for cell in CELLS], grid.configurations(list(CELLS)), strict=True))


def test_the_grid_is_eight_models_by_seven_algorithms():
    own = [cell for cell in CELLS if not cell.extra]
    assert {(cell.model, cell.algorithm) for cell in own} == {
        (model, algorithm) for model in MODELS for algorithm in ALGORITHMS
    }
    assert (len(own), len(MODELS), len(ALGORITHMS)) == (56, 8, 7)
    assert len({cell.name for cell in CELLS}) == len(CELLS)


def test_updates_a_step_are_the_protocols_or_what_makes_the_algorithm(together):
    counts = {name: made.trainer.updates_per_rollout for name, made in together.items()}
    own = {"opo": 1, "gspo": 4, "cispo": 16}
    for cell in CELLS:
        relex = cell.protocol.benchmark == "relex"
        assert counts[cell.name] == own.get(cell.algorithm, 2 if relex else 1), cell.name
        critic = together[cell.name].trainer.critic_updates_per_rollout
        assert critic == (16 if cell.algorithm == "ppo" else counts[cell.name])


def test_written_files_are_those_of_the_declaration():
    """A failure here means: run `python -m experiments.grid --write`."""
    assert files.written_cells() == {f"{cell.name}.yaml": files.text_of(cell) for cell in CELLS}


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_cell_composes_fits_and_is_known_to_verl(cell, together, tmp_path):
    loaded = config.load([f"+exp={cell.name}"])
    assert loaded == together[cell.name]
    assert (loaded.name, loaded.run_dir) == (cell.name, f"outputs/{cell.name}")
    assert (loaded.model.name, loaded.algorithm.name) == (cell.model, cell.algorithm)
    assert misfits(loaded) == []
    need, card = memory(loaded), loaded.trainer.gpu_memory_gib * 2**30
    assert max(need.training, need.generating) <= card - 2 * 2**30
    assert loaded.trainer.tokens_per_pass >= max(24_576, loaded.trainer.longest_sample)
    if verl_schema.verl_folder() is None:
        pytest.skip("verl is not installed")
    command = verl_command(loaded, prepare=tmp_path, output=tmp_path)
    resolved = verl_schema.resolved(command[3:])
    trainer, actor = resolved["trainer"], resolved["actor_rollout_ref"]["actor"]
    assert resolved["algorithm"]["adv_estimator"] == loaded.algorithm.adv_estimator
    assert actor["policy_loss"]["loss_mode"] == loaded.algorithm.loss_mode
    assert trainer["total_training_steps"] == loaded.trainer.steps
    assert (trainer["nnodes"], trainer["n_gpus_per_node"]) == (
        loaded.model.hardware.nodes,
        loaded.model.hardware.gpus_per_node,
    )
    assert actor["fsdp_config"]["fsdp_size"] == loaded.model.hardware.shard


def test_the_page_has_the_listing_s_numbers(tmp_path):
    """A failure here means: run `python -m experiments.grid --write`."""
    table = grid.page_table()
    assert grid_page.written() == table
    page = tmp_path / "grid.md"
    page.write_text(f"# Grid\n\n{grid_page.HEAD}| old |\n\nmore\n")
    assert grid_page.write(table, page)
    assert page.read_text() == f"# Grid\n\n{table}\nmore\n"
    assert not grid_page.write(table, page)


def test_write_repairs_adds_and_removes_and_leaves_others_alone(tmp_path):
    assert len(files.write_cells(tmp_path)) == len(CELLS)
    (tmp_path / "demo.yaml").write_text("# @package _global_\nname: demo\n")
    (tmp_path / "ppo_gone.yaml").write_text(f"# @package _global_\n{files.CELL_MARK}\nname: gone\n")
    (tmp_path / f"{CELL}.yaml").write_text(f"# @package _global_\n{files.CELL_MARK}\nname: other\n")
    (tmp_path / "ppo_qwen3_8b.yaml").unlink()
    changed = [f"{CELL}.yaml", "ppo_gone.yaml", "ppo_qwen3_8b.yaml"]
    assert sorted(files.write_cells(tmp_path)) == changed
    assert files.write_cells(tmp_path) == []
    assert (tmp_path / "demo.yaml").exists()
    assert not (tmp_path / "ppo_gone.yaml").exists()


def listed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.grid", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)


def row(outputs: Path) -> dict:
    (found,) = json.loads(listed(CELL, "--json", "--outputs", str(outputs)).stdout)
    return found


def test_listing_imports_no_heavy_library():
    code = (
        "import sys\n"
        "from experiments.grid import main\n"
        "assert main([]) == 0\n"
        "heavy = {'torch', 'verl', 'vllm', 'transformers', 'ray', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(cell.name in done.stdout for cell in CELLS)


def test_patterns_choose_cells_and_a_wrong_one_is_a_mistake(tmp_path):
    outputs = ["--outputs", str(tmp_path)]
    found = json.loads(listed("grpo_*", "ppo_qwen3_8b", "--json", *outputs).stdout)
    names = {item["cell"] for item in found}
    assert names == {c.name for c in CELLS if c.algorithm == "grpo"} | {"ppo_qwen3_8b"}
    wrong = listed("grpo_gpt*", *outputs)
    assert wrong.returncode == 2
    assert "grpo_gpt*" in wrong.stderr
    assert wrong.stderr.count("\n") == 1


def test_a_row_says_what_a_cell_needs(tmp_path):
    found, loaded = row(tmp_path), config.load([f"+exp={CELL}"])
    assert (found["updates_per_rollout"], found["critic_updates_per_rollout"]) == (2, None)
    assert found["clips"] == {"ratio_low": True, "ratio_high": True, "dual": True}
    assert (found["nodes"], found["gpus"], found["gpu_memory_gib"]) == (1, 8, 80)
    assert found["disk_bytes"] == disk(loaded).total
    for end in ("low", "high"):
        hours = getattr(training_hours(loaded), end)
        assert found["training_hours"][end] == pytest.approx(hours, abs=0.05)
        assert found["training_gpu_hours"][end] == pytest.approx(8 * hours, abs=0.05)
    need = scoring(loaded)
    assert need.hours is not None
    assert (found["answers"], found["scoring_gpus"]) == (need.answers, need.gpus)
    assert found["scoring_gpu_hours"]["high"] == pytest.approx(8 * need.hours.high, abs=0.05)
    assert (found["state"], found["stage"]) == ("missing", None)
    table = listed(CELL, "--outputs", str(tmp_path)).stdout
    assert "1x8" in table
    assert f"{need.answers:,}" in table
    assert "1 cells: 0 done, 0 running, 0 failed, 0 interrupted, 1 missing" in table


def finish(folder: Path, stages: tuple[str, ...]) -> None:
    for stage in stages:
        target = folder / FOLDERS[stage]
        target.mkdir(parents=True, exist_ok=True)
        (target / RECORD).write_text(json.dumps({"finished": True}))


def test_done_needs_every_stage(tmp_path):
    folder = tmp_path / CELL
    finish(folder, STAGES[:2])
    found = progress(folder, STAGES)
    assert (found.state, found.stage) == ("missing", "train")
    finish(folder, STAGES)
    assert row(tmp_path)["state"] == "done"
    (folder / "measure" / RECORD).write_text(json.dumps({"finished": False}))
    assert progress(folder, STAGES).state == "missing"


def test_a_log_cut_off_by_a_full_disk_is_read_up_to_there(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"event": "failed", "stage": "train", "error": "x"}\n{"ev')
    found = progress(tmp_path, STAGES)
    assert (found.state, found.stage, found.error) == ("failed", "train", "x")


def run(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "rlvr_dynamics.run", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_failed_stage_is_told_with_its_error(tmp_path):
    missing = tmp_path / "none.parquet"
    process = run(
        f"+exp={CELL}",
        "stages=[prepare]",
        f"run_dir={tmp_path / CELL}",
        f"data.train.repo={missing}",
    )
    assert process.wait(timeout=120) == 2
    found = row(tmp_path)
    assert (found["state"], found["stage"]) == ("failed", "prepare")
    assert str(missing) in found["error"]


def wait_until(state: str, folder: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        found = progress(folder, STAGES)
        if (found.state, found.stage) == (state, "prepare"):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.slow
def test_running_then_interrupted_then_killed(tmp_path):
    folder = tmp_path / CELL  # what runs in it is the demo's pretraining; the listing cannot tell
    arguments = ["stages=[prepare]", f"run_dir={folder}"]
    stopped = run(*arguments)
    wait_until("running", folder)
    assert row(tmp_path)["state"] == "running"
    stopped.send_signal(signal.SIGTERM)
    assert stopped.wait(timeout=180) == 75
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["stage"]) == ("interrupted", "prepare")
    assert row(tmp_path)["state"] == "interrupted"
    killed = run(*arguments)
    wait_until("running", folder)
    killed.kill()
    killed.wait(timeout=180)
    found = row(tmp_path)
    assert (found["state"], found["stage"]) == ("interrupted", "prepare")


def test_looking_never_makes_a_starting_run_fail(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from rlvr_dynamics.run_directory.lock import is_locked\n"
        "while True: is_locked(Path(sys.argv[1]))"
    )
    with locked(tmp_path):
        pass
    lookers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) for _ in range(2)
    ]
    try:
        time.sleep(1.0)
        for _ in range(100):
            with locked(tmp_path):
                assert is_locked(tmp_path)
    finally:
        for looker in lookers:
            looker.kill()
            looker.wait()
    assert not is_locked(tmp_path)


def test_looking_changes_nothing(tmp_path):
    folder = tmp_path / CELL
    assert progress(folder, STAGES).state == "missing"
    assert not folder.exists()
    with locked(folder):
        before = {path: os.stat(path).st_mtime_ns for path in [folder, *folder.rglob("*")]}
        assert progress(folder, STAGES).state == "running"
        with pytest.raises(UserError, match="another process"), locked(folder):
            pass
    assert before == {path: os.stat(path).st_mtime_ns for path in [folder, *folder.rglob("*")]}


def test_a_run_waits_for_a_short_look(tmp_path):
    """A shared lock that is let go within the patience of `locked` does not refuse the run."""
    import fcntl

    with locked(tmp_path):
        pass
    handle = os.open(tmp_path / ".lock", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    timer = threading.Timer(0.2, os.close, [handle])
    timer.start()
    with locked(tmp_path):
        timer.join()
