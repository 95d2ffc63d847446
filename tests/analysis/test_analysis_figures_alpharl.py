"""AlphaRL's figures, redrawn from synthetic runs: what is drawn is what was scored."""

import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from analysis.alpharl.kept_parts import rank_places, scale_places
from analysis.alpharl.u1_paths import principal_plane, u1_path, walk_like
from analysis.alpharl.update_size_figure import mean_norm, share_of
from analysis.parts.accuracies import accuracy, main_benchmark, relative_accuracy
from analysis.parts.run_groups import groups
from analysis.registry import find
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.figure_style import save, style
from rlvr_dynamics.results.scores import model_of, steps_of
from rlvr_dynamics.results.study import load_study
from tests.support.analysis_fixture import build_cells, remove_stage
from tests.support.figure_text import check_texts
from tests.support.reporting_fixture import ACCURACY, BENCHMARKS, T, build_run, write_scores

NUMBERS = ("1", "3a", "3b", "4a", "4b", "5a", "6a", "6b", "6c", "7", "10", "11", "15", "16_29")
OF_SCORES = ("1", "3a", "3b", "4a", "4b", "6c", "7", "10", "11")
MODELS = {
    **{name: value for name, value in ACCURACY.items() if "relex" not in name},
    "rank1_recovery__step_3": 0.45,
    "rank1_recovery__step_10": 0.6,
    "recovery_1_percent__step_20": 0.65,
    "recovery_50_percent__step_20": 0.73,
    "subspace_2__step_20": 0.4,
    "subspace_5__step_20": 0.36,
    "rank1_scaled_0_4__step_20": 0.5,
    "rank1_scaled_0_7__step_20": 0.58,
    **{f"rank1_r2_window_{place}__step_20": 0.7 - 0.03 * place for place in range(1, 8)},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def study(folder):
    """GRPO with two seeds, RLOO, and a control; no two runs have the same scores."""
    runs = build_cells(folder, 4)
    for place, run in enumerate(runs):
        remove_stage(run, "scores")  # links to the files of the first
        write_scores(run, {name: value * (1 - 0.07 * place) for name, value in MODELS.items()})
    return load_study(runs)


def stored(cell, model: str, benchmark: str = "sums") -> float:
    """The accuracy of sampled answers that a run's table of scores has."""
    scores = cell.results.tables["scores"]
    rows = scores[(scores["model"] == model) & (scores["benchmark"] == benchmark)]
    return rows[rows["protocol"] == "sampled"]["accuracy"].item()


@pytest.fixture(scope="module")
def drawings(study):
    with style():
        return {number: artefact(number).make(study) for number in NUMBERS}


def test_no_text_is_cut_off_or_drawn_over_another(drawings):
    check_texts({number: drawing.figure for number, drawing in drawings.items()})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A study of one run whose stages `measure` and `score` have not run."""
    run = build_run(tmp_path_factory.mktemp("plain") / "bare", {"base": 0.3, "step_20": 0.5})
    remove_stage(run, "scores")
    remove_stage(run, "measure")
    return load_study([run])


def artefact(number: str):
    return find(f"alpharl_figure_{number}")


def test_names_follow_the_papers_numbers():
    for number in NUMBERS:
        found = artefact(number)
        assert found.name == f"alpharl_figure_{number}"
        assert found.paper == "alpharl"
        assert re.fullmatch(r"Figures? \d+.*", found.number)


@pytest.mark.parametrize("number", [number for number in NUMBERS if number != "6a"])
def test_every_figure_is_drawn_from_all_runs_that_have_its_data(drawings, study, number):
    drawing = drawings[number]
    assert drawing.figure is not None
    names = {cell.name for cell in study.cells}
    if number in ("10", "16_29"):
        assert drawing.cells and set(drawing.cells) < names
    else:
        assert set(drawing.cells) == names
    assert "n = " in drawing.facts or "n: " in drawing.facts
    assert "seed" in drawing.facts and "float32" in drawing.facts and ".parquet" in drawing.facts


@pytest.mark.parametrize("number", NUMBERS)
def test_a_run_without_the_stage_is_not_drawn_and_says_what_is_missing(plain, number):
    drawing = artefact(number).make(plain)
    assert drawing.figure is None
    assert drawing.missing.startswith("Not measured: ")
    assert drawing.cells == ()


def test_a_figure_of_several_steps_does_not_draw_a_run_with_one(tmp_path):
    build_run(tmp_path / "run", {"base": 0.3, "step_20": 0.5, "rank1_recovery__step_20": 0.4})
    drawing = artefact("3b").make(load_study([tmp_path / "run"]))
    assert drawing.figure is None and "2 or more steps" in drawing.missing


def test_scores_are_found_by_method_and_step(study):
    cell = study.cells[0]
    assert model_of(cell.results, "base") == "base"
    assert model_of(cell.results, "real") == f"step_{T}"
    assert model_of(cell.results, "rank1_recovery", step=3) == "rank1_recovery__step_3"
    assert model_of(cell.results, "recovery_90_percent") is None
    assert steps_of(cell.results, "rank1_recovery") == [3, 10, 20]
    assert main_benchmark(cell) == "sums"
    assert accuracy(cell, None, "sums") is None
    assert accuracy(cell, "base", "no such benchmark") is None


def test_relative_accuracy_is_the_plain_ratio(study):
    for cell in study.cells:
        part, full = (stored(cell, model) for model in ("rank1_recovery__step_20", "step_20"))
        ratio = relative_accuracy(cell, "rank1_recovery__step_20", "sums")
        assert ratio.value == pytest.approx(part / full)
        assert accuracy(cell, "step_20", "sums").value == pytest.approx(full)
        assert 0.8 * ratio.value < ratio.low < ratio.value < ratio.high < 1
        assert relative_accuracy(cell, "step_20", "sums").value == 1
    assert relative_accuracy(cell, None, "sums") is None


def test_controls_have_panels_of_their_own(study):
    found = groups(study.cells)
    assert [len({cell.control for cell in group.cells}) for group in found] == [1] * len(found)
    assert found[-1].cells[0].control == "shuffled_rewards"
    assert found[-1].title.endswith("shuffled rewards")
    divided = groups(study.cells, by_algorithm=True)
    assert all(len({cell.algorithm for cell in group.cells}) == 1 for group in divided)
    assert sum(len(group.cells) for group in divided) == len(study.cells)


def test_a_rank_that_nobody_rebuilt_is_named_not_drawn(study, drawings):
    missing = drawings["3a"].facts.split("Not measured in any run: ")[1]
    assert "rank-90 % update, rescaled" in missing and "rank-50 %" not in missing
    labels = [label.get_text() for label in drawings["7"].figure.axes[-1].get_xticklabels()]
    assert labels == ["base", "random", "1", "1 %", "50 %", "full"]


def test_a_run_that_lacks_what_others_have_is_named(tmp_path):
    build_run(tmp_path / "whole", MODELS)
    build_run(tmp_path / "part", {k: v for k, v in MODELS.items() if "subspace_5" not in k})
    drawing = artefact("4a").make(load_study([tmp_path / "part", tmp_path / "whole"]))
    assert "Not measured in part: direction 5 alone." in drawing.facts


def markers(axes) -> list[tuple[float, float]]:
    """The points with intervals, as drawn."""
    return [
        (float(x), float(y))
        for bars in axes.containers
        for x, y in zip(*bars.lines[0].get_data(), strict=True)
    ]


def test_figure_3a_draws_the_ratios_and_the_printed_values(study, drawings):
    axes = drawings["3a"].figure.axes
    control = next(one for one in axes if "shuffled" in one.get_title(loc="left"))
    cell = groups(study.cells)[-1].cells[0]
    expected = [
        (place.x, stored(cell, model) / stored(cell, "step_20"))
        for place in rank_places(study)
        if (model := model_of(cell.results, place.method)) is not None
    ]
    assert len(expected) == 5
    assert np.array(sorted(markers(control))) == pytest.approx(np.array(sorted(expected)))
    paper = next(one for one in axes if "printed" in one.get_title(loc="left"))
    drawn = sorted(100 * y for line in paper.get_lines() for y in line.get_ydata())
    assert drawn == pytest.approx(sorted(printed(paper="alpharl", table="table8")["value"]))
    assert {line.get_markerfacecolor() for line in paper.get_lines()} == {"none"}


def test_figure_4b_has_the_base_at_zero_and_every_scale_in_place(study):
    places = {place.method: place for place in scale_places(study)}
    assert places["base"].x == 0 and places["rank1_recovery"].x == 1
    assert places["rank1_scaled_0_4"].x == 0.4 and places["rank1_scaled_0_7"].x == 0.7
    assert places["base"].joined and not places["random_update"].joined


def test_figure_3b_draws_checkpoints_and_rank_1_updates_from_the_base_on(study, drawings):
    axes = drawings["3b"].figure.axes[0]
    curves = [
        (bars.lines[0].get_xdata(), bars.lines[0].get_ydata())
        for bars in axes.containers
        if len(bars.lines[0].get_ydata()) > 1
    ]
    expected = []
    for cell in groups(study.cells, by_algorithm=True)[0].cells:
        for steps, name in (
            ((3, 6, 10, 15, 20), "step_{}"),
            ((3, 10, 20), "rank1_recovery__step_{}"),
        ):
            points = [(0, stored(cell, "base"))]
            points += [(step, stored(cell, name.format(step))) for step in steps]
            expected.append(points)
    # Curves stand side by side, less than half a step apart.
    drawn = [
        [(round(float(at)), float(y)) for at, y in zip(*curve, strict=True)] for curve in curves
    ]
    for one, other in zip(sorted(drawn), sorted(expected), strict=True):
        assert np.array(one) == pytest.approx(np.array(other))


def test_figure_10_is_of_grpo_alone_on_every_benchmark(study, drawings):
    drawn = [cell for cell in study.cells if cell.name in drawings["10"].cells]
    assert {cell.algorithm for cell in drawn} == {"grpo"}
    titles = {axes.get_title(loc="left").split(": ")[-1] for axes in drawings["10"].figure.axes}
    assert {"Products", "Longer chains"} <= titles


def test_figure_1_bars_are_means_over_seeds(study, drawings):
    axes = drawings["1"].figure.axes[0]
    group = groups(study.cells)[0]
    algorithms = list(dict.fromkeys(cell.algorithm for cell in group.cells))
    assert [len([c for c in group.cells if c.algorithm == name]) for name in algorithms] == [2, 1]
    for filled, model in ((True, "step_20"), (False, "rank1_recovery__step_20")):
        drawn = [bar.get_height() for bar in axes.patches if (not bar.get_hatch()) == filled]
        expected = [
            np.mean([stored(c, model, name) for c in group.cells if c.algorithm == algorithm])
            for name in BENCHMARKS
            for algorithm in algorithms
        ]
        assert sorted(drawn) == pytest.approx(sorted(expected))


def test_figure_5a_shares_are_ratios_of_sums_with_a_null(tmp_path):
    run = build_run(tmp_path / "run", {"base": 0.3})
    table = pd.read_parquet(run / "measure" / "update_svd.parquet")
    first = table["tensor"].iloc[0]
    table.loc[table["tensor"] == first, "frobenius"] *= 1000  # one matrix outweighs the others
    table.to_parquet(run / "measure" / "update_svd.parquet")
    (cell,) = load_study([run]).cells
    shares = pd.read_parquet(run / "measure" / "rank_shares.parquet")
    own = shares[(shares["tensor"] == first) & (shares["step"] == T) & (shares["rank"] == "1")]
    share = share_of(cell, "1")
    assert share.value == pytest.approx(own["norm_share"].item(), abs=0.005)
    assert share.null == pytest.approx(own["norm_share_null"].item(), abs=0.005)
    norms = table[table["index"] == 1]["frobenius"]
    assert mean_norm(cell) == (pytest.approx(norms.mean()), len(norms))
    assert share_of(cell, "no such rank") is None


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run whose measurement kept u1(t): a drift with noise, and the R² that PLS gives it."""
    from rlvr_dynamics.dynamics import fit_pls
    from rlvr_dynamics.measurement.statistics import (
        TensorStatistics,
        UpdateStatistics,
        file_of,
        save,
    )

    run = build_run(tmp_path_factory.mktemp("kept") / "run", MODELS, layers=1)
    pls = pd.read_parquet(run / "measure" / "pls.parquet")
    scores = pd.read_parquet(run / "train" / "metrics.parquet")["critic/score/mean"].to_numpy()
    generator = np.random.default_rng(0)
    steps = np.arange(1, T + 1)
    (run / "measure" / "statistics").mkdir()
    for row, tensor in enumerate(pls["tensor"]):
        start, end, noise = generator.standard_normal((3, 16))
        share = steps[:, None] / T
        u1 = start * (1 - share) + end * share + 0.1 * generator.standard_normal((T, 16)) * noise
        u1 = (u1 / np.linalg.norm(u1, axis=1, keepdims=True)).astype(np.float32)
        # Accuracy of step t is the score of the rollouts of step t + 1.
        pls.loc[row, "r2"] = fit_pls(u1[:-1], scores[1:]).r2
        u1[::3] *= -1  # signs of singular vectors are arbitrary
        updates = UpdateStatistics(
            steps=steps,
            sigma=np.ones((T, 1)),
            frobenius=np.ones(T),
            residual=np.zeros(T),
            method=np.zeros(T),
            u1=u1,
            spectrum_steps=steps[-1:],
            spectrum=np.ones((1, 16)),
            base_cosines=np.ones((1, 2)),
            base_norm=np.array(1.0),
        )
        found = TensorStatistics(
            steps=steps,
            gram=np.eye(T),
            step_norms=np.ones(T),
            changed=np.ones(T, dtype=np.int64),
            step_changed=np.ones(T, dtype=np.int64),
            bfloat16_changed=np.ones(T),
            bfloat16_differing=np.ones(T),
            float16_errors=np.ones(T),
            base_norm=np.array(1.0),
            power_squares=np.array(np.nan),
            bits=np.zeros(T, dtype=np.int64),
            exponents=np.zeros(256, dtype=np.int64),
            sampled=np.empty((T, 0), dtype=np.float32),
            sampled_base=np.empty(0, dtype=np.float32),
            updates=(updates,),
        )
        save(file_of(run / "measure" / "statistics", tensor), found, {})
    pls.to_parquet(run / "measure" / "pls.parquet")
    return run


def test_u1_is_read_with_its_accuracies_and_aligned(kept):
    (cell,) = load_study([kept]).cells
    row = cell.results.tables["pls"].iloc[0]
    path = u1_path(cell, row["tensor"])
    assert path.steps.tolist() == list(range(1, T))
    assert path.fit.r2 == pytest.approx(row["r2"])
    assert all(a @ b > 0 for a, b in pairwise(path.u1))
    correlation = np.corrcoef(path.component, path.accuracy)[0, 1]
    assert correlation**2 == pytest.approx(row["r2"]) and correlation > 0
    assert path.component.std(ddof=1) == pytest.approx(1)


def test_u1_is_not_shown_beside_accuracies_that_pls_did_not_see(kept):
    (cell,) = load_study([kept]).cells
    cell.results.tables["pls"] = cell.results.tables["pls"].assign(r2=0.123)
    assert u1_path(cell, cell.results.tables["pls"]["tensor"].iloc[0]) is None
    assert artefact("6a").make(load_study([kept])).figure is not None


def test_figures_of_kept_vectors_show_them(kept):
    study = load_study([kept])
    with style():
        figures = {number: artefact(number).make(study) for number in ("6a", "6b", "16_29")}
    assert all(drawing.figure is not None for drawing in figures.values())
    titles = [axes.get_title(loc="left") for axes in figures["6b"].figure.axes]
    assert any(title.startswith("best R²") for title in titles)
    assert any("random walk as y" in title for title in titles)
    texts = [text.get_text() for axes in figures["16_29"].figure.axes for text in axes.texts]
    assert "not measured" not in texts
    assert "not kept" not in figures["16_29"].facts


def test_figures_say_when_vectors_were_not_kept(drawings):
    assert drawings["6a"].figure is None and "measure/statistics" in drawings["6a"].missing
    assert "not kept" in drawings["6b"].facts
    assert "not kept" in drawings["16_29"].facts


def test_a_walk_has_the_step_lengths_of_the_path():
    path = np.random.default_rng(1).standard_normal((12, 40)).cumsum(axis=0)
    walk = walk_like(path, seed=3)
    lengths = [np.linalg.norm(np.diff(each, axis=0), axis=1) for each in (path, walk)]
    assert lengths[0] == pytest.approx(lengths[1])
    assert not np.allclose(path, walk)
    assert np.array_equal(walk, walk_like(path, seed=3))


def test_the_principal_plane_of_a_line_is_that_line():
    line = np.outer(np.linspace(-1, 1, 9), np.ones(5))
    scores, shares = principal_plane(line)
    assert shares == pytest.approx([1, 0])
    assert scores[:, 0] == pytest.approx(np.linspace(-1, 1, 9) * np.sqrt(5))


def test_figure_15_puts_the_null_beside_the_measured(drawings, study):
    left, right = drawings["15"].figure.axes[:2]
    table = study.cells[0].results.tables["pls"]
    query = table[(table["layer"] == 0) & (table["module"] == "q_proj")]
    assert left.images[0].get_array()[0, 0] == pytest.approx(query["r2"].item())
    assert right.images[0].get_array()[0, 0] == pytest.approx(query["r2_walk_mean"].item())


def test_same_tables_same_bytes(kept, tmp_path):
    written = []
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        with style():
            drawing = artefact("6b").make(load_study([kept]))
            svg = save(drawing.figure, tmp_path / place, "figure")
        files = [(tmp_path / place / f"figure.{kind}").read_bytes() for kind in ("pdf", "png")]
        written.append([svg, *files])
    assert written[0] == written[1]
