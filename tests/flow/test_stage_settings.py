"""What each stage hands to the work below it, on configurations in which no value is a default."""

from types import SimpleNamespace

import pandas as pd
import pytest

from rlvr_dynamics.checkpoints.published_steps import Deltas, Folders
from rlvr_dynamics.config import load
from rlvr_dynamics.flow import stages
from rlvr_dynamics.measurement import MeasureSettings, OptimizerRecord
from rlvr_dynamics.run_directory.run import Run

SEED = 7919


class Stop(Exception):
    """Ends a stage where the test has seen what it wanted."""


def run_of(folder, *given) -> Run:
    return Run(load([f"run_dir={folder}", f"seed={SEED}", *given]), folder)


def work(name):
    (stage,) = [stage for stage in stages.ALL if stage.name == name]
    return stage.work


@pytest.fixture
def record(monkeypatch):
    """Replaces a function, and keeps the arguments of its call."""

    def replace(target, result=None, *, stops=False):
        seen = SimpleNamespace()

        def call(*arguments, **named):
            seen.arguments, seen.named = arguments, named
            if stops:
                raise Stop
            return result

        monkeypatch.setattr(target, call)
        return seen

    return replace


ARITHMETIC = {
    "train_problems": 411, "validation_problems": 23, "test_problems": 57, "ood_problems": 31,
}  # fmt: skip


@pytest.mark.parametrize("own", [[], ["base_seed=5"]], ids=["one seed", "base seed"])
@pytest.mark.parametrize(
    ("data", "task"),
    [
        ("arithmetic", "rlvr_dynamics.training.arithmetic.ArithmeticTask"),
        ("sums", "rlvr_dynamics.training.sums.SumTask"),
    ],
)
def test_a_generated_task_has_the_configured_sizes_and_the_seed_of_the_base(
    record, tmp_path, data, task, own
):
    seen = record(task, stops=True)
    given = [f"data.{name}={value}" for name, value in ARITHMETIC.items()]
    model = ["model=smollm2_135m"] if data == "sums" else []
    with pytest.raises(Stop):
        work("prepare")(run_of(tmp_path, f"data={data}", *model, *given, *own), tmp_path)
    assert seen.named == {"seed": 5 if own else SEED, **ARITHMETIC}


@pytest.mark.parametrize("shuffled", [True, False])
def test_answers_are_shuffled_where_that_is_asked(record, tmp_path, shuffled):
    training = "rlvr_dynamics.training"
    for target in (
        "arithmetic.ArithmeticTask.write",
        "tiny_base.pretraining_data",
        "tiny_base.pretrain",
    ):
        record(f"{training}.{target}", {})
    record("rlvr_dynamics.benchmarks.written.write_benchmarks", {})
    seen = record(f"{training}.task_tables.shuffle_answers", {})
    stored = record(
        "rlvr_dynamics.checkpoints.cast.store_base", {"dtype": "x", "original_dtype": "y"}
    )
    given = [f"data.shuffle_answers={shuffled}", "trainer.checkpoint_dtype=bfloat16"]
    work("prepare")(run_of(tmp_path, *given, "base_seed=5"), tmp_path)
    assert vars(seen) == (
        {"arguments": (tmp_path / "train.parquet", 5), "named": {}} if shuffled else {}
    )
    assert stored.arguments[:2] == (tmp_path / "base", "bfloat16")


@pytest.mark.parametrize(
    ("algorithm", "critic", "keep", "kind"),
    [("ppo", True, "folders", Folders), ("grpo", False, "deltas", Deltas)],
)
def test_checkpoints_are_kept_as_configured(record, tmp_path, algorithm, critic, keep, kind):
    checkpoints = record("rlvr_dynamics.checkpoints.verl_run.VerlRun", "checkpoints")
    trained = record("rlvr_dynamics.training.trainer.train")
    given = ["trainer.checkpoint_dtype=bfloat16", "trainer.keep_optimizer_states=5"]
    given += ["trainer.steps=77", "trainer.save_state_every=3", f"trainer.keep={keep}"]
    run = run_of(tmp_path, f"algorithm={algorithm}", *given)
    folder = tmp_path / "train"
    work("train")(run, folder)
    verl, published, *others = checkpoints.arguments
    assert (type(published), published.folder) == (kind, folder / "checkpoints")
    assert (verl, *others) == (
        folder / "verl" / "checkpoints",
        tmp_path / "prepare" / "base",
        5,
    )
    assert checkpoints.named == {
        "dtype": "bfloat16",
        "critic": critic,
        "steps": 77,
        "state_every": 3,
        "adapters": 0,
        "anchors": None,
        "jump_before": None,
    }
    assert trained.arguments == (run.config,)
    assert trained.named == {
        "prepare": tmp_path / "prepare", "folder": folder, "checkpoints": "checkpoints",
    }  # fmt: skip


def test_what_is_measured_is_what_was_asked(record, tmp_path):
    record(
        "rlvr_dynamics.flow.measure.open_trajectory",
        SimpleNamespace(repeats=(), notes=(), steps=(1, 2)),
    )
    measured = record("rlvr_dynamics.measurement.measure")
    metrics = {"step": [1, 2, 3], "critic/score/mean": [0.1, 0.4, 0.2]}
    (tmp_path / "train").mkdir()
    pd.DataFrame(metrics).to_parquet(tmp_path / "train" / "metrics.parquet")
    asked = {
        "top_k": 5, "update_steps": 11, "spectrum_steps": 3, "null_draws": 41, "threads": 7,
        "memory_gib": 1.5, "device": "cpu", "engine": "ray", "ray_address": "there:1",
        "directions": False,
    }  # fmt: skip
    given = [f"measure.{name}={value!r}" for name, value in asked.items()]
    work("measure")(run_of(tmp_path, *given), tmp_path / "measure")
    assert measured.arguments[1] == MeasureSettings(
        top_k=5, update_steps=11, spectrum_steps=3, draws=41, seed=SEED, threads=7,
        budget_bytes=3 << 29, device="cpu", engine="ray", ray_address="there:1", directions=False,
        optimizer=OptimizerRecord(weight_decay=0.01),
    )  # fmt: skip
    assert measured.arguments[2] == tmp_path / "measure"
    # Rollouts of step t + 1 are drawn from the weights of step t.
    assert measured.named["accuracy"].values == {0: 0.1, 1: 0.4, 2: 0.2}
