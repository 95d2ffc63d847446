"""The figures of a study draw the numbers that lie in its runs' tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.registry import find
from rlvr_dynamics.reporting.figure_style import style
from rlvr_dynamics.results.study import load_study
from rlvr_dynamics.system.palette import GREY, ORANGE
from tests.support.drawn import bands, estimates, lines, quartiles
from tests.support.figure_text import check_texts
from tests.support.irregular_run import write_run
from tests.support.irregular_weights import COMPONENTS, FINAL, LAYERS, SHAPES, STEPS, WINDOWS
from tests.support.ledger_reference import Accuracies, Stored
from tests.support.ledger_reference import points as points_above
from tests.support.reporting_fixture import build_run
from tests.support.study_settings import configure

NUMBERS = ("3a", "4a", "4b", "5a", "6b", "6c", "7", "11", "15", "16_29")
RELEX = ("relex_curves", "relex_spectrum", "relex_linearity", "relex_geometry")
REAL = f"step_{FINAL}"
DENSE = 20


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Stored]:
    """Two algorithms from two seeds, one learning rate."""
    folder = tmp_path_factory.mktemp("study")
    first = write_run(folder / "first", seed=3)
    named = {"name": "rloo", "learning_rate": 2e-5}
    second = write_run(folder / "second", seed=4, algorithm=named)
    return [Stored(first), Stored(second)]


def draw(names, folders: list[Path]) -> dict:
    study = load_study(folders)
    found = {}
    with style():
        for name in names:
            full = name if name.startswith("relex_") else f"alpharl_figure_{name}"
            found[name] = find(full).make(study).figure
    return found


@pytest.fixture(scope="module")
def figures(runs) -> dict:
    return draw((*NUMBERS, *RELEX), [run.folder for run in runs])


def panels(figure) -> list:
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def test_no_text_is_cut_off_or_drawn_over_another(figures):
    check_texts(figures)


# Accuracies

ONE = ["base", f"random_update__{REAL}", f"rank1_recovery__{REAL}"]
SINGLE = [*ONE, *(f"subspace_{place}__{REAL}" for place in (2, 3, 5)), REAL]
RANKED = [*ONE, *(f"recovery_{k}_percent__{REAL}" for k in (1, 10, 90))]
SCALED = ["base", *(f"rank1_scaled_{name}__{REAL}" for name in ("0_4", "0_7"))]
SCALED += [f"rank1_recovery__{REAL}", f"random_update__{REAL}", REAL]
THIRDS = [f"rank1_r2_window_{place}__{REAL}" for place in range(1, 8)]
CURVES = {
    "4a": (SINGLE, ["sums"]),
    "4b": (SCALED, ["sums"]),
    "6c": (["base", *THIRDS, f"rank1_recovery__{REAL}", REAL], ["sums"]),
    "7": ([*RANKED, REAL], ["sums", "chains", "products"]),
    "11": (SINGLE, ["sums", "chains", "products"]),
}


@pytest.mark.parametrize("number", CURVES)
def test_accuracy_along_what_was_kept(runs, figures, number):
    models, benchmarks = CURVES[number]
    axes = panels(figures[number])
    assert len(axes) == len(benchmarks)
    for one, benchmark in zip(axes, benchmarks, strict=True):
        for run, points in zip(runs, estimates(one).values(), strict=True):
            rows = run.table("scores", benchmark=benchmark, protocol="sampled").set_index("model")
            expected = rows.loc[models, ["accuracy", "ci_low", "ci_high"]].to_numpy()
            np.testing.assert_allclose(points[np.argsort(points[:, 0]), 1:], expected)


def test_accuracy_over_the_final_one(runs, figures):
    ours = panels(figures["3a"])[0]
    for run, points in zip(runs, estimates(ours).values(), strict=True):
        expected = [run.accuracy(model, "sums") / run.accuracy(REAL, "sums") for model in RANKED]
        np.testing.assert_allclose(points[np.argsort(points[:, 0]), 1], expected)
        assert (points[:, 2] < points[:, 1]).all() and (points[:, 1] < points[:, 3]).all()


def test_points_above_the_real_end_by_window(runs, figures):
    axes = figures["relex_curves"].axes[0]
    drawn = list(estimates(axes).values())
    assert len(drawn) == 6
    for place, run in enumerate(runs):
        for at, method in enumerate(("hold_last", "relex_raw", "relex")):
            points = drawn[3 * place + at]
            np.testing.assert_allclose(np.diff(points[:, 0]), np.diff(WINDOWS) * 100 / FINAL)
            models = [
                f"step_{observe}"
                if method == "hold_last"
                else f"{method}__observe_{observe}__{REAL}"
                for observe in WINDOWS
            ]
            gaps = [run.accuracy(name, "sums") - run.accuracy(REAL, "sums") for name in models]
            np.testing.assert_allclose(points[:, 1], 100 * np.array(gaps), atol=1e-9)
            compared = [Accuracies(points_above, (name, REAL)) for name in models]
            error = [each.error([run.answers(each.models, "sums")]) for each in compared]
            half = (points[:, 3] - points[:, 2]) / 2
            np.testing.assert_allclose(half, 1.96 * np.array(error), rtol=0.1)


# Updates


def test_norms_and_shares_of_updates(runs, figures):
    left, right = figures["5a"].axes[:2]
    for y, run in enumerate(runs):
        norm = run.table("update_svd", step=FINAL, index=1).set_index("tensor")["frobenius"]
        found = [each for each in lines(left, color="#000000") if round(each[0, 1]) == y]
        assert found[0][0, 0] == pytest.approx(norm.mean())
        here = [each[0, 0] for each in lines(right) if len(each) == 1 and abs(each[0, 1] - y) < 0.2]
        expected = []
        for rank in ("1", "1%"):
            rows = run.table("rank_shares", step=FINAL, rank=rank).dropna(subset=["norm_share"])
            weight = norm.loc[rows["tensor"]].to_numpy()
            for column in ("norm_share", "norm_share_null"):
                expected.append(100 * np.average(rows[column], weights=weight))
        assert here == pytest.approx(expected)
    segments = np.concatenate([each.get_segments() for each in right.collections])
    spans = sorted(tuple(segment[:, 0]) for segment in segments)
    wanted = []
    for run in runs:
        for rank in ("1", "1%"):
            shares = run.table("rank_shares", step=FINAL, rank=rank)["norm_share"].dropna()
            wanted.append(tuple(100 * np.quantile(shares, [0.25, 0.75])))
    np.testing.assert_allclose(spans, sorted(wanted))


def test_left_vectors_beside_both_nulls(runs, figures):
    (axes,) = figures["6b"].axes
    for y, run in enumerate(runs):
        pls = run.table("pls")
        here = [each for each in lines(axes) if len(each) and each[0, 1] == y]
        expected = []
        for null in ("r2_walk", "r2_null"):
            low, high, middle = (pls[f"{null}_{end}"].mean() for end in ("low", "high", "mean"))
            expected += [[low, high], [middle]]
        expected += [[pls[column].mean()] for column in ("r2", "loo_r2")]
        assert len(here) == len(expected)
        for found, wanted in zip(here, expected, strict=True):
            assert list(found[:, 0]) == pytest.approx(wanted)
    spans = [each.get_segments()[0][:, 0] for each in axes.collections]
    wanted = [
        np.quantile(run.table("pls")[column].dropna(), [0.25, 0.75])
        for run in runs
        for column in ("r2", "loo_r2")
    ]
    np.testing.assert_allclose(spans, wanted)


def test_maps_of_r2_and_of_its_null(runs, figures):
    drawn = [axes for axes in figures["15"].axes if axes.images]
    for place, run in enumerate(runs):
        for axes, column in zip(drawn[2 * place :], ("r2", "r2_walk_mean"), strict=False):
            wide = run.table("pls").pivot(index="layer", columns="module", values=column)
            found = np.ma.filled(axes.images[0].get_array(), np.nan)
            np.testing.assert_allclose(found, wide.loc[list(LAYERS), list(SHAPES)])


def test_turning_of_every_modules_direction(runs, figures):
    right = figures["16_29"].axes[2:21:3]
    table = runs[0].table("u1_alignment").sort_values("step")
    for axes, module in zip(right, SHAPES, strict=True):
        for line, layer in zip(axes.get_lines(), LAYERS, strict=True):
            rows = table[(table["module"] == module) & (table["layer"] == layer)]
            np.testing.assert_allclose(line.get_xydata(), rows[["step", "cosine_last"]])


# The trajectory


def test_spectra_of_trajectories(runs, figures):
    axes = figures["relex_spectrum"].axes
    ends = list(estimates(axes[-1]).values())
    assert len(ends) == len(runs)
    for place, (run, points) in enumerate(zip(runs, estimates(axes[0]).values(), strict=True)):
        wide = run.table("trajectory_svd").pivot(index="tensor", columns="index", values="sigma")
        first = run.table("trajectory_svd", index=1).set_index("tensor")["explained_variance"]
        squares = wide**2
        share = squares.div(squares[1] / first.loc[squares.index], axis=0).dropna()
        expected = share.quantile([0.5, 0.25, 0.75]).to_numpy().T
        np.testing.assert_allclose(points[:, 0], np.arange(1, COMPONENTS + 1))
        np.testing.assert_allclose(points[:, 1:], expected)
        of_five = (squares[1] / squares[[1, 2, 3, 4, 5]].sum(axis=1)).dropna()
        np.testing.assert_allclose(ends[place][0, 1:], of_five.quantile([0.5, 0.25, 0.75]))


def test_linearity_beside_its_nulls(runs, figures):
    first, second, third = figures["relex_linearity"].axes[:3]
    named = ((first, "r2", -0.1), (second, "heldout_r2", -1.0), (third, "loo_r2", -0.1))
    for axes, column, floor in named:
        for y, run in enumerate(runs):
            table = run.table("linearity")
            null = {end: table[f"{column}_null_{end}"].median() for end in ("low", "mean", "high")}
            low, middle, high = np.quantile(table[column].dropna(), [0.25, 0.5, 0.75])
            shuffled = table[f"{column}_permuted_mean"].median()
            expected = [[null["low"], null["high"]], [null["mean"]], [shuffled]]
            expected += [[low, high], [middle]]
            here = [each[:, 0] for each in lines(axes) if each[0, 1] == y]
            for found, wanted in zip(here, expected, strict=True):
                assert list(found) == pytest.approx(np.clip(wanted, floor, None))
    panel = figures["relex_linearity"].axes[3]
    for run, band, line in zip(runs, bands(panel), panel.get_lines(), strict=False):
        table = run.table("coefficients", index=1)
        last = table[table["step"] == FINAL].set_index("tensor")["coefficient"]
        table["scaled"] = table["coefficient"] / last.loc[table["tensor"]].to_numpy()
        found = quartiles(table, "step", "scaled")
        np.testing.assert_allclose(line.get_ydata(), [each[1] for each in found])
        assert line.get_xdata().tolist() == list(STEPS)
        for step, (low, _, high) in found.items():
            assert band[float(step)] == pytest.approx((low, high))


def test_geometry_of_predictions(runs, figures):
    rebuilt, direction, length = figures["relex_geometry"].axes[:3]
    for place, run in enumerate(runs):
        rows = run.table("oracle", rank=1).groupby("step")["cosine"].median()
        line = rebuilt.get_lines()[place].get_xydata()
        np.testing.assert_allclose(line[:, 0], 100 * np.array(STEPS) / FINAL)
        np.testing.assert_allclose(line[:, 1], rows)
        norms = run.table("norms").set_index(["tensor", "step"])["update_norm"]
        forecast = run.table("forecast", method="relex").dropna(subset=["cosine"])
        for at, step in enumerate((160, FINAL)):
            held = []
            for axes, column in ((direction, "cosine"), (length, "magnitude_ratio")):
                points = list(estimates(axes).values())[2 * place + at]
                here = forecast[forecast["step"] == step]
                order = sorted(WINDOWS, reverse=True)
                np.testing.assert_allclose(points[:, 0], [step / each for each in order])
                for found, observe in zip(points, order, strict=True):
                    values = here.loc[here["observe"] == observe, column].dropna()
                    wanted = np.quantile(values, [0.5, 0.25, 0.75])
                    np.testing.assert_allclose(found[1:], wanted)
            for observe in sorted(WINDOWS, reverse=True):
                rows = forecast[(forecast["step"] == step) & (forecast["observe"] == observe)]
                h = norms.loc[[(name, observe) for name in rows["tensor"]]].to_numpy()
                t = norms.loc[[(name, step) for name in rows["tensor"]]].to_numpy()
                cosine = (h**2 + t**2 - rows["sse_hold"].to_numpy()) / (2 * h * t)
                held.append(np.median(cosine))
            grey = lines(direction, color=GREY)[2 * place + at]
            np.testing.assert_allclose(grey[:, 1], held)


# The random walk beside them, for runs that kept every step


@pytest.fixture(scope="module")
def dense(tmp_path_factory) -> tuple[dict, np.ndarray]:
    """Figures of a run of every step, and the lengths of its steps in units of their own."""
    run = configure(build_run(tmp_path_factory.mktemp("dense") / "run"))
    path = run / "measure" / "norms.parquet"
    norms = pd.read_parquet(path)
    generator = np.random.default_rng(2)
    norms["step_norm"] = (1 + 0.2 * norms["step"]) * generator.uniform(0.5, 2, len(norms))
    norms.sample(frac=1, random_state=1).to_parquet(path, index=False)
    wide = norms.pivot(index="tensor", columns="step", values="step_norm")
    typical = wide.div(np.sqrt((wide**2).mean(axis=1)), axis=0).median().to_numpy()
    return draw(RELEX[1:], [run]), typical


def walk(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues, falling, and vectors of the walk's Gram matrix, and its squared lengths."""
    squares = np.cumsum(steps**2)
    values, vectors = np.linalg.eigh(np.minimum.outer(squares, squares))
    return values[::-1], vectors[:, ::-1], squares


def dashed(axes) -> np.ndarray:
    (found,) = [each for each in axes.get_lines() if each.get_linestyle() == "--"]
    assert found.get_color() == ORANGE
    return np.asarray(found.get_xydata(), float)


def test_the_walk_beside_the_trajectory(dense):
    figures, steps = dense
    values, vectors, squares = walk(steps)
    spectrum, first = (axes for axes in figures["relex_spectrum"].axes if axes.get_visible())
    shares = values / values.sum()
    np.testing.assert_allclose(dashed(spectrum)[:, 1], shares[: len(dashed(spectrum))])
    np.testing.assert_allclose(dashed(first)[:, 1], values[0] / values[:5].sum())
    panel = next(
        axes for axes in figures["relex_linearity"].axes if "lr" in axes.get_title(loc="left")
    )
    line = dashed(panel)
    np.testing.assert_allclose(line[:, 0], np.arange(1, DENSE + 1))
    np.testing.assert_allclose(line[:, 1], vectors[:, 0] / vectors[-1, 0])
    rebuilt, direction, length = figures["relex_geometry"].axes[:3]
    kept = np.sqrt(values[0] * vectors[:, 0] ** 2 / squares)
    np.testing.assert_allclose(dashed(rebuilt)[:, 1], kept)
    found = {}
    for observe in (3, 6):
        for step in (10, DENSE):
            own, line, length_ = walk(steps[:observe])
            line = np.sqrt(own[0]) * np.abs(line[:, 0])
            slope, start = np.polyfit(np.arange(1, observe + 1), line, 1)
            predicted, true = slope * step + start, np.sqrt(squares[step - 1])
            found.setdefault(step / observe, []).append((line[-1] / true, predicted / true))
    factors = sorted(found)
    expected = np.array([np.mean(found[factor], axis=0) for factor in factors])
    for axes, column in ((direction, 0), (length, 1)):
        np.testing.assert_allclose(dashed(axes)[:, 0], factors)
        np.testing.assert_allclose(dashed(axes)[:, 1], expected[:, column])
