"""Fixed answers under every checkpoint: lines of log-probabilities, nulls, divergence, entropy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rlvr_dynamics import config
from rlvr_dynamics.behaviour.function_space import (
    lines,
    median_over_answers,
    moved,
    null_summaries,
    summary,
)
from rlvr_dynamics.behaviour.job import Course, Job
from rlvr_dynamics.behaviour.measure import measure
from rlvr_dynamics.dynamics import noise_walks
from rlvr_dynamics.flow.behaviour import job_of
from rlvr_dynamics.measurement import OptimizerRecord
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema.tables import BEHAVIOUR
from rlvr_dynamics.scoring.local_model import load
from rlvr_dynamics.scoring.prompts import prompt_facts
from rlvr_dynamics.system.atomic import write_parquet
from tests.support.behaviour_fixture import N, build, write_questions

STEPS = {2: "early", 4: "late", 6: "trained"}
NAMES = ("function", "log_probs", "token_lines")


# Lines and their nulls


def test_a_line_on_a_bent_clock_is_one_on_the_path_alone() -> None:
    steps = np.arange(9.0)
    path = np.sqrt(steps)
    series = np.outer([-2.0, 0.5], path) - 3.0
    on_path, on_step = lines(path, series), lines(steps, series)
    assert on_path.r2 == pytest.approx([1, 1]) and on_path.heldout_r2 == pytest.approx([1, 1])
    assert on_path.slope == pytest.approx([-2.0, 0.5])
    assert (on_step.r2 < 0.97).all() and (on_step.heldout_r2 < 0).all()
    assert np.isnan(lines(steps, np.full((1, 9), -0.25)).r2).all()


def test_the_paper_s_selection_is_by_the_change_from_first_to_last() -> None:
    series = np.array([[0.0, 5.0, 0.2], [0.0, 0.0, 0.21], [-1.0, -1.0, -1.21], [-1.0, 3.0, -1.0]])
    assert moved(series).tolist() == [False, True, True, False]


def test_a_walk_keeps_the_lengths_of_the_increments_and_one_sign_for_all_tokens() -> None:
    series = np.cumsum(np.random.default_rng(0).standard_normal((30, 6)), axis=1)
    own = np.diff(series, axis=1)
    for walk in noise_walks(series, 5, seed=1):
        ratio = np.diff(walk, axis=1) / own
        assert np.abs(ratio) == pytest.approx(1.0)
        assert ratio == pytest.approx(np.tile(ratio[:1], (30, 1)))
        assert (walk[:, 0] == series[:, 0]).all()


def test_correlated_walks_have_the_correlations_and_the_lengths_of_steps() -> None:
    series = np.cumsum(np.random.default_rng(0).standard_normal((4_000, 5)), axis=1)
    wanted = 0.6 ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    walks = [np.diff(walk, axis=1) for walk in noise_walks(series, 40, 2, wanted)]
    products = sum(walk.T @ walk for walk in walks)
    lengths = np.sqrt(np.diagonal(products) / len(walks))
    assert lengths == pytest.approx(np.linalg.norm(np.diff(series, axis=1), axis=0), rel=0.05)
    found = products / np.outer(lengths, lengths) / len(walks)
    np.testing.assert_allclose(found, wanted, atol=0.06)


def test_a_random_walk_of_14_points_looks_as_linear_as_it_is_known_to() -> None:
    # A walk of independent steps has a median R² of 0.45; the half that went farthest, of 0.71.
    series = np.cumsum(np.random.default_rng(3).standard_normal((3_000, 14)), axis=1)
    series *= 0.2 / np.median(np.abs(series[:, -1] - series[:, 0]))
    steps = np.arange(14.0)
    found = lines(steps, series)
    answer = np.arange(len(series)) // 10
    every = summary(found, np.ones(len(series), bool), answer, 100, 0)
    kept = summary(found, moved(series), answer, 100, 0)
    nulls = null_summaries(noise_walks(series, 60, 4), {"step": steps})
    for observed, null, r2 in (
        (every, nulls["step", False], 0.45),
        (kept, nulls["step", True], 0.71),
    ):
        assert observed.r2.value == pytest.approx(r2, abs=0.04)
        assert null.r2.value == pytest.approx(r2, abs=0.06)
        assert observed.r2.low < observed.r2.value < observed.r2.high
        assert null.r2.low < null.r2.value < null.r2.high
    assert kept.kept == pytest.approx(0.5, abs=0.01)
    assert nulls["step", True].kept == pytest.approx(0.5, abs=0.06)


def test_nulls_by_brute_force() -> None:
    series = np.cumsum(np.random.default_rng(5).standard_normal((7, 6)), axis=1) / 6
    series[3] = -0.5  # never changes
    steps = np.array([0.0, 1, 2, 3, 4, 5])
    found = null_summaries(noise_walks(series, 8, 6), {"step": steps})["step", True]
    r2, medians, above = [], [], 0
    for walk in noise_walks(series, 8, 6):
        mine = []
        for token in walk:
            if abs(token[-1] - token[0]) > 0.2:
                mine.append(np.corrcoef(steps, token)[0, 1] ** 2)
        r2 += mine
        medians += [np.median(mine)] if mine else []
        above += sum(each > 0.7 for each in mine)
    assert found.tokens == len(r2) and found.kept == pytest.approx(len(r2) / 56)
    assert found.r2.value == pytest.approx(np.median(r2))
    assert found.above == pytest.approx(above / len(r2))
    assert (found.r2.low, found.r2.high) == pytest.approx(np.quantile(medians, [0.025, 0.975]))


def test_the_median_s_interval_resamples_answers() -> None:
    values = np.array([0.1, 0.2, 0.9, 0.8, 0.7])
    found = median_over_answers(values, np.array([4, 4, 9, 9, 9]), 400, 0)
    # Drawn twice, an answer gives its own median: the lower middle one of 0.1, 0.1, 0.2, 0.2.
    assert found == pytest.approx((0.7, 0.1, 0.8))
    alone = median_over_answers(values, np.zeros(5, np.int64), 100, 0)
    assert alone == pytest.approx((0.7, 0.7, 0.7))


# Whole jobs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("function")
    for name, seed in (("base", 0), ("early", 1), ("late", 2), ("trained", 3)):
        build(root / name, seed)
    write_questions(root / "sums.parquet")
    return root


def job(place: Path, course: Course | None = None) -> Job:
    return Job(
        models={"base": place / "base", "trained": place / "trained"},
        questions=place / "sums.parquet",
        out=place / "out",
        max_new_tokens=12,
        draws=100,
        device="cpu",
        batch=4,
        course=course or Course(),
    )


@pytest.fixture(scope="module")
def tables(place: Path) -> dict[str, pd.DataFrame]:
    folders = {step: place / name for step, name in STEPS.items()}
    course = Course(folders, {2: 1.0, 4: 1.5, 6: 1.75}, OptimizerRecord())
    measure(job(place, course), lambda line: None)
    names = (*NAMES, "tokens")
    return {name: pd.read_parquet(place / "out" / f"{name}.parquet") for name in names}


def test_every_checkpoint_reads_the_same_answers(place: Path, tables) -> None:
    for name in NAMES:
        assert list(tables[name].columns) == BEHAVIOUR[name].names, name
    function, tokens = tables["function"], tables["tokens"]
    assert function["step"].tolist() == [0, 2, 4, 6] * 2
    assert function["path"].tolist() == [0, 1, 1.5, 1.75] * 2
    assert (function["answers"] == N).all()
    for writer, rows in function.groupby("writer"):
        own = tokens[(tokens["reader"] == "base") & (tokens["writer"] == writer)]
        base = rows[rows["step"] == 0].iloc[0]
        assert base["log_prob"] == pytest.approx(own["log_prob"].mean())
        assert base["kl_to_base"] == 0 and (rows["kl_to_base"].iloc[1:] > 0).all()
        first = tables["log_probs"].query("writer == @writer and clock == 'step'")
        assert first["first"].tolist() == pytest.approx(own["log_prob"].tolist(), abs=1e-6)
        assert (first["change"] == first["last"] - first["first"]).all()


def test_divergence_and_entropy_by_hand(place: Path, tables) -> None:
    prompt = prompt_facts(place / "base", job(place).put())
    base, late = (load(place / name, "float32", "cpu", prompt) for name in ("base", "late"))
    answers = pd.read_parquet(place / "out" / ".parts" / "answers__trained.parquet")
    questions = pd.read_parquet(place / "sums.parquet")["prompt"]
    divergences, entropies = [], []
    for question, answer in zip(questions, answers["tokens"], strict=True):
        text = base.tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        ids = base.tokenizer.encode(text, add_special_tokens=False)
        whole = torch.tensor([[*ids, *map(int, answer)]])
        with torch.inference_mode():
            logs = [each.model(whole).logits[0].double().log_softmax(1) for each in (late, base)]
        for at in range(len(ids) - 1, whole.shape[1] - 1):
            shares = logs[0][at].exp()
            divergences.append(float((shares * (logs[0][at] - logs[1][at])).sum()))
            entropies.append(-float((shares * logs[0][at]).sum()))
    row = tables["function"].query("writer == 'trained' and step == 4").iloc[0]
    assert row["tokens"] == len(divergences)
    assert row["kl_to_base"] == pytest.approx(np.mean(divergences), rel=1e-5)
    assert row["entropy"] == pytest.approx(np.mean(entropies), rel=1e-5)


def test_what_a_course_does_not_allow_is_left_out(place: Path, tables, tmp_path: Path) -> None:
    found = tables["token_lines"]
    assert found["optimizer_null_r2"].notna().all()
    assert set(found["clock"]) == {"step", "path"}
    uneven = Course({2: place / "early", 6: place / "trained"}, {}, OptimizerRecord())
    measure(job(place, uneven), lambda line: None)
    found = pd.read_parquet(place / "out" / "token_lines.parquet")
    assert set(found["clock"]) == {"step"}
    assert found["optimizer_null_r2"].isna().all() and found["null_r2"].notna().any()
    unknown = Course({3: place / "early", 6: place / "trained"}, {}, OptimizerRecord(beta1=None))
    measure(job(place, unknown), lambda line: None)
    found = pd.read_parquet(place / "out" / "token_lines.parquet")
    assert found["optimizer_null_r2"].isna().all()


@pytest.mark.parametrize(
    ("count", "most", "chosen"),
    [(6, 3, [2, 4, 6]), (6, 4, [2, 4, 6]), (5, 3, [1, 3, 5]), (6, 0, [])],
)
def test_a_run_reads_with_checkpoints_at_even_steps(tmp_path: Path, place, count, most, chosen):
    for step in range(1, count + 1):
        (tmp_path / "steps").mkdir(exist_ok=True)
        (tmp_path / "steps" / f"step_{step}").symlink_to(place / "early")
    run = tmp_path / "run"
    write_questions(run / "prepare" / "benchmarks" / "sums.parquet")
    norms = [
        {"step": step, "step_norm": size}
        for step in range(1, count + 1)
        for size in (3.0 / step, 4.0 / step)
    ]
    write_parquet(run / "measure" / "norms.parquet", pd.DataFrame(norms))
    given = [f"source.base={place / 'base'}", f"source.checkpoints={tmp_path / 'steps'}"]
    asked = config.load(["+exp=trajectory", *given, f"behaviour.checkpoints={most}"])
    course = job_of(Run(asked, run), run / "behaviour").course
    assert course.steps == chosen
    if chosen:
        path = np.cumsum([5.0 / step for step in range(1, count + 1)])
        assert list(course.path.values()) == pytest.approx(path.tolist())
