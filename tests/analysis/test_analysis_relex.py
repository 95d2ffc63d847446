import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.parts import random_walk
from analysis.parts.paper_tables import NOT_RUN, OURS
from analysis.registry import artefacts, find
from analysis.relex import curves as relex_curves
from analysis.relex import geometry as relex_geometry
from analysis.relex import linearity as relex_linearity
from analysis.relex import spectrum as relex_spectrum
from analysis.relex.beyond_training_tables import TITLES
from rlvr_dynamics.reporting.figure_style import style
from rlvr_dynamics.reporting.tables import Table, as_markdown, as_tex, write_table
from rlvr_dynamics.results.study import Study, load_study
from tests.support import reporting_fixture
from tests.support.analysis_fixture import WINDOWED, build_cells, remove_stage, set_config
from tests.support.reporting_fixture import (
    ACCURACY,
    HELD_COSINE,
    T,
    build_run,
    write_forecast,
    write_scores,
)

TABLES = (
    "relex_main",
    "relex_out_of_domain",
    "relex_baselines",
    "relex_ablation",
    "relex_oracle",
    "relex_far_extrapolation",
)
WEIGHTS = (relex_spectrum, relex_linearity, relex_geometry)
FIGURES = (relex_curves, *WEIGHTS)
LONG = 40  # steps of a run in which no window is within one step of 15 %
ORACLE = {f"trajectory_oracle__step_{step}": 0.7 for step in (LONG // 2, LONG)}


def windowed(observe: int, *methods: str) -> dict[str, float]:
    return {f"{method}__observe_{observe}__step_{LONG}": WINDOWED[method] for method in methods}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("relex")
    return load_study(build_cells(folder, 4))


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Study:
    """One run whose windows lie beside the paper's 15 %, with most of the methods."""
    folder = tmp_path_factory.mktemp("full") / "run"
    build_run(folder, steps=LONG)
    methods = ("relex", "relex_raw", "relex_rank5", "relex_polynomial", "momentum", "neural")
    windows = windowed(4, *methods) | windowed(8, *methods)
    real = {"base": 0.35, "step_4": 0.4, "step_8": 0.45, "step_20": 0.6, "step_40": 0.74}
    write_scores(folder, {**real, **windows, **ORACLE})
    write_forecast(folder, skill=dict.fromkeys(methods, 0.5), windows=(4, 8))
    return load_study([folder])


def tables(name: str, study: Study) -> list[Table]:
    return list(find(name).make(study))


def table(name: str, study: Study, suffix: str = "_here") -> Table:
    return next(found for found in tables(name, study) if found.name == f"{name}{suffix}")


def frame(name: str, study: Study, suffix: str = "_here") -> pd.DataFrame:
    found = table(name, study, suffix).frame
    assert found is not None
    return found


def score(study: Study, model: str, benchmark: str = "sums", protocol: str = "sampled") -> float:
    scores = study.cells[0].results.tables["scores"]
    assert scores is not None
    rows = scores[(scores.model == model) & (scores.benchmark == benchmark)]
    return float(rows[rows.protocol == protocol]["accuracy"].iloc[0])


# The null: a random walk in many dimensions


def walks(norms: np.ndarray, draws: int = 12, d: int = 6_000) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    steps = generator.standard_normal((draws, len(norms), d))
    steps *= (norms / np.linalg.norm(steps, axis=2))[..., None]
    return list(np.cumsum(steps, axis=1))


def simulated_forecast(path: np.ndarray, observe: int, step: int) -> tuple[float, float]:
    """RELEX, rank 1 with a line, written out on one walk of shape (T, d)."""
    direction = np.linalg.svd(path[:observe], full_matrices=False)[2][0]
    places = np.arange(observe)
    line = np.polyfit(places, path[:observe] @ direction, 1)
    predicted = np.polyval(line, step - 1) * direction
    true = path[step - 1]
    lengths = np.linalg.norm(predicted), np.linalg.norm(true)
    return float(predicted @ true / (lengths[0] * lengths[1])), float(lengths[0] / lengths[1])


def test_the_exact_walk_agrees_with_drawn_walks():
    norms = np.linspace(2, 1, 16)
    drawn = walks(norms)
    spectra = [np.linalg.svd(path, compute_uv=False) ** 2 for path in drawn]
    shares = np.mean([values / values.sum() for values in spectra], axis=0)
    np.testing.assert_allclose(random_walk.variance_shares(norms), shares, atol=0.01)

    bases = [np.linalg.svd(path, full_matrices=False)[2][:2] for path in drawn]
    kept = [
        np.linalg.norm(path @ base.T, axis=1) / np.linalg.norm(path, axis=1)
        for path, base in zip(drawn, bases, strict=True)
    ]
    exact = random_walk.reconstruction_cosines(norms, 2)
    np.testing.assert_allclose(exact, np.mean(kept, axis=0), atol=0.02)

    cosine, ratio = random_walk.forecast(norms, 5, 16)
    simulated = np.mean([simulated_forecast(path, 5, 16) for path in drawn], axis=0)
    np.testing.assert_allclose((cosine, ratio), simulated, rtol=0.03)


def test_the_walk_needs_the_norm_of_every_step(tmp_path):
    run = build_run(tmp_path / "run")
    path = run / "measure" / "norms.parquet"
    norms = pd.read_parquet(path)
    walk = random_walk.walk_of(load_study([run]).cells[0])
    assert walk is not None
    # Constant step norms in the fixture: each in units of its own root mean square.
    np.testing.assert_allclose(walk, np.ones(T))
    norms[norms.step % 2 == 0].to_parquet(path, index=False)
    assert random_walk.walk_of(load_study([run]).cells[0]) is None


# The tables


def test_main_has_the_printed_rows_and_says_that_ours_were_not_run(study):
    found = frame("relex_main", study, "")
    small = found[found.model == "Qwen2.5-Math-1.5B"]
    assert list(small.accuracy[:3].round(3)) == [0.482, 0.715, 0.716]
    assert small.source.iloc[-1] == NOT_RUN
    assert small.accuracy.isna().iloc[-1]
    assert small.gap.iloc[2] == pytest.approx(0.1)
    assert not (found.source == OURS).any()


def test_a_run_of_the_printed_model_stands_beneath_each_printed_row(tmp_path, monkeypatch):
    monkeypatch.setitem(reporting_fixture.BENCHMARKS, "math", ("in_domain", "MATH", 200))
    run = build_run(tmp_path / "qwen")
    set_config(run, model={"name": "qwen3_4b", "repo": "Qwen/Qwen3-4B-Base"})
    here = load_study([run])
    found = frame("relex_main", here, "")
    ours = found[found.source == OURS]
    assert list(ours.model) == ["Qwen3-4B-Base"] * 3
    assert list(ours.method) == ["base", "real checkpoint", "RELEX"]
    expected = [score(here, name, "math") for name in ("base", "step_20")]
    assert list(ours.accuracy)[:2] == expected
    assert ours.accuracy.iloc[2] == score(here, "relex__observe_3__step_20", "math")
    assert set(ours.n) == {200}
    assert set(ours.cell) == {"qwen"}
    assert list(found[found.source == NOT_RUN].model) == ["Qwen2.5-Math-1.5B", "Qwen3-8B-Base"]


def test_main_here_compares_with_the_real_and_the_last_observed_checkpoint(study):
    found = frame("relex_main", study)
    cell = found[(found.cell == study.trained[0].name) & (found.protocol == "sampled")]
    relex = cell[cell.method == "RELEX"].iloc[0]
    held = cell[cell.method == "last observed checkpoint"].iloc[0]
    assert relex.accuracy == score(study, "relex__observe_3__step_20")
    assert held.accuracy == score(study, "step_3")
    assert relex["vs held"] == pytest.approx(100 * (relex.accuracy - held.accuracy))
    low, high = (float(end) for end in relex["vs held interval"].strip("[]").split(","))
    assert 0 < low < relex["vs held"] < high
    assert relex.share == pytest.approx(0.15)


def test_windows_beside_the_papers_are_shown_with_their_own_shares(full):
    found = frame("relex_main", full)
    assert sorted(set(found[found.method == "RELEX"].share)) == [0.1, 0.2]


def test_controls_stand_apart(study):
    control = next(cell for cell in study.cells if cell.control != "none")
    for name in TABLES[:3] + TABLES[4:]:
        names = {found.name: found.frame for found in tables(name, study)}
        apart = names[f"{name}_controls_here"]
        assert apart is not None
        assert set(apart.cell) == {control.name}
        here = names[f"{name}_here"]
        assert here is not None
        assert control.name not in set(here.cell)
        assert len(set(here.cell)) == 3


def test_printed_averages_stand_beside_recomputed_ones(study):
    found = frame("relex_out_of_domain", study, "")
    row = found[(found.model == "Qwen3-4B-Base") & (found.method == "base")].iloc[0]
    five = [row[name] for name in TITLES.values()]
    assert row.five == pytest.approx(np.mean(five))
    assert row["five as printed"] == pytest.approx(0.186)
    assert row["five off"] == pytest.approx(-0.2)
    # Every other mean agrees with its columns to what rounding them leaves open.
    rest = found["five off"].drop(row.name).dropna()
    assert len(rest) == 8
    assert rest.abs().max() <= 0.05 + 1e-9
    assert found["six off"].dropna().abs().max() <= 0.05 + 1e-9


def test_out_of_domain_means_are_over_benchmarks_and_intervals_hold_them(study):
    found = frame("relex_out_of_domain", study)
    row = found[found.method == "RELEX"].iloc[0]
    titles = [title for _, title, _ in list(reporting_fixture.BENCHMARKS.values())[1:]]
    assert row["mean"] == pytest.approx(np.mean([row[title] for title in titles]))
    assert row.n == 150
    low, high = (float(end) for end in row["mean [95 %]"].strip("[]").split(","))
    assert low < 100 * row["mean"] < high


def test_baselines_judge_every_method_against_holding_the_last_checkpoint(full):
    found = frame("relex_baselines", full)
    held = found[found.method == "last observed checkpoint"]
    assert held["vs held"].isna().all()
    momentum = found[(found.method == "line of the last two") & (found.share == 0.2)].iloc[0]
    held_at = float(held[held.share == 0.2].accuracy.iloc[0])
    assert momentum["vs held"] == pytest.approx(100 * (momentum.accuracy - held_at))
    overall = frame("relex_baselines", full, "_runs")
    row = overall[(overall.method == "line of the last two") & (overall.share == 0.2)].iloc[0]
    assert row.held == pytest.approx(momentum["vs held"])
    assert (row.runs, row.better, row.worse) == (1, 1, 0)


def test_baselines_over_runs_give_the_range_and_name_the_runs(study):
    overall = frame("relex_baselines", study, "_runs")
    row = overall[(overall.method == "RELEX") & (overall["learning rate"] == 1e-5)].iloc[0]
    names = [name.strip() for name in row.cell.split(",")]
    assert row.runs == len(names) == len(study.trained)
    listed = frame("relex_baselines", study)
    each = listed[(listed.method == "RELEX") & listed.cell.isin(names)]["vs held"]
    assert row.held == pytest.approx(each.mean())
    assert row["held range"] == f"[+{each.min():.1f}, +{each.max():.1f}]"


def test_a_method_with_a_grid_has_the_skill_of_its_chosen_candidate(tmp_path):
    run = build_run(tmp_path / "run")
    write_scores(run, {**ACCURACY, f"expo__observe_3__step_{T}": 0.6})
    write_forecast(run, skill={"relex": 0.6, "expo_alpha_1_0": 0.4, "expo_alpha_4_0": -3.0})
    found = frame("relex_baselines", load_study([run]))
    expo = found[found.method == "ExPO"].iloc[0]
    table_ = load_study([run]).cells[0].results.tables["forecast"]
    assert table_ is not None
    chosen = table_[(table_.method == "expo_alpha_1_0") & (table_.observe == 3)]
    assert expo.skill == pytest.approx(chosen[chosen.step == T].skill.median())


def test_ablation_compares_with_rank_1_of_the_same_window(full):
    printed = frame("relex_ablation", full, "")
    poly = printed[(printed.method == "RELEX, polynomial") & (printed.step == 500)].iloc[0]
    assert poly.gap == pytest.approx(0.1 - 71.6)
    found = frame("relex_ablation", full)
    assert list(dict.fromkeys(found[found.share == 0.2].method)) == [
        "RELEX",
        "RELEX, rank 5",
        "RELEX, polynomial",
        "RELEX, neural network",
        "per-weight line",
    ]
    row = found[(found.method == "RELEX, polynomial") & (found.share == 0.2)].iloc[0]
    plain = found[(found.method == "RELEX") & (found.share == 0.2)].iloc[0]
    assert row.gap == pytest.approx(100 * (row.accuracy - plain.accuracy))
    assert math.isnan(plain.gap)


def test_oracle_stands_beside_its_null_and_the_real_checkpoint(full):
    printed = frame("relex_oracle", full, "")
    rebuilt = printed[(printed.method == "trajectory rank-1, oracle") & (printed.step == 500)]
    assert rebuilt.gap.iloc[0] == pytest.approx(71.06 - 71.54)
    found = frame("relex_oracle", full)
    ranks = found.groupby("method").cosine.mean()
    assert ranks["trajectory rank-1, oracle"] < ranks["trajectory rank-5, oracle"]
    half = found[found.step == LONG // 2].iloc[0]
    assert half.method == "trajectory rank-1, oracle"
    assert half.real == score(full, "step_20")
    assert half.gap == pytest.approx(100 * (half.accuracy - half.real))
    walk = random_walk.walk_of(full.cells[0])
    assert walk is not None
    assert half.walk == random_walk.reconstruction_cosines(walk, 1)[LONG // 2 - 1]


def test_far_extrapolation_keeps_what_was_not_printed_empty(study):
    printed = frame("relex_far_extrapolation", study, "")
    large = printed[(printed.model == "Qwen3-8B-Base") & (printed.observe == 50)].iloc[0]
    assert large["1000"] == pytest.approx(0.227)
    assert math.isnan(large["500"])
    found = frame("relex_far_extrapolation", study)
    beyond = found[(found.target == 1.5) & (found.share == 0.15)].iloc[0]
    assert beyond.factor == pytest.approx(10)
    assert beyond.accuracy == score(study, "relex__observe_3__step_30")
    assert beyond.real == score(study, f"step_{T}")


def test_every_table_is_written_and_ends_with_its_runs(study, full, tmp_path):
    for here in (study, full):
        for name in TABLES:
            for found in tables(name, here):
                assert found.frame is not None, found.name
                assert found.frame.columns[-1] == "cell"
                write_table(found, tmp_path)
                assert "nan" not in as_markdown(found).lower()
                assert "%" not in as_tex(found).replace(r"\%", "").split("\n", 1)[1]


def test_what_was_not_scored_is_said(tmp_path):
    run = build_run(tmp_path / "run")
    remove_stage(run, "scores")
    bare = load_study([run])
    for name in TABLES:
        if name == "relex_oracle":
            continue
        here = table(name, bare)
        assert here.frame is None
        assert "score" in here.missing
    # The cosines need no scores.
    assert frame("relex_oracle", bare).accuracy.isna().all()


# The figures


def pixels(figure: Figure) -> bytes:
    figure.dpi = 60
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return bytes(canvas.buffer_rgba())


def test_figures_are_drawn_alike_twice(study):
    two = Study(study.cells[:2])
    for module in FIGURES:
        with style():
            drawings = [module.draw(two) for _ in range(2)]
            first, second = (pixels(drawing.figure) for drawing in drawings)
        assert first == second
        assert drawings[0].cells == tuple(cell.name for cell in two.cells)
        assert "seeds 0, 1" in drawings[0].facts
        assert "n = " in drawings[0].facts


def test_figures_say_what_is_missing(tmp_path):
    run = build_run(tmp_path / "run")
    remove_stage(run, "measure")
    remove_stage(run, "predictions")
    remove_stage(run, "scores")
    for module in FIGURES:
        drawing = module.draw(load_study([run]))
        assert drawing.figure is None
        assert ("score" if module is relex_curves else "measure") in drawing.missing


def test_figures_name_the_runs_that_lack_something(tmp_path):
    runs = build_cells(tmp_path, 2)
    remove_stage(runs[1], "measure")
    here = load_study(runs)
    for module in (relex_spectrum, relex_linearity):
        with style():
            drawing = module.draw(here)
        assert drawing.cells == (runs[0].name,)
        assert "Not measured" in drawing.facts
        assert runs[1].name in drawing.facts


def test_spectrum_divides_by_the_length_of_the_whole_trajectory(study):
    found = relex_spectrum.shares(study.cells[0])
    assert found is not None
    first = found[found["index"] == 1]
    np.testing.assert_allclose(first.share, 0.975)  # as the fixture wrote it
    np.testing.assert_allclose(first.of_five, 0.975 / (0.975 + 0.01 + 0.005 + 0.003 + 0.002))


def test_geometry_recovers_the_cosine_of_the_held_checkpoint(study):
    found = relex_geometry.predictions(study.cells[0])
    assert {(each.observe, each.step) for each in found} == {(3, 10), (3, 20), (6, 10), (6, 20)}
    table = study.cells[0].results.tables["forecast"]
    assert table is not None
    for each in found:
        assert each.held == pytest.approx(HELD_COSINE)
        rows = table.query(
            f"method == 'relex' and observe == {each.observe} and step == {each.step}"
        )
        for interval, column in ((each.cosine, "cosine"), (each.ratio, "magnitude_ratio")):
            assert [interval.low, interval.value, interval.high] == pytest.approx(
                np.quantile(rows[column], [0.25, 0.5, 0.75])
            )


def test_coefficients_are_shares_of_their_own_end(study):
    curve = relex_linearity.coefficient_curve(study.cells[0])
    table = study.cells[0].results.tables["coefficients"]
    assert curve is not None and table is not None
    first = table[table["index"] == 1].sort_values("step")
    values = np.array([rows["coefficient"] for _, rows in first.groupby("tensor")])
    assert values.shape == (22, T)
    expected = np.quantile(values / values[:, -1:], [0.25, 0.5, 0.75], axis=0).T
    assert curve.index.tolist() == list(range(1, T + 1))
    np.testing.assert_allclose(curve[["low", "middle", "high"]], expected)


def test_curves_are_the_points_above_the_real_final_checkpoint(study):
    found = relex_curves.curve(study.cells[0], "relex")
    assert [each.share for each in found] == [0.15, 0.3]
    below = 100 * (score(study, "relex__observe_3__step_20") - score(study, f"step_{T}"))
    assert found[0].points.value == pytest.approx(below)
    held = relex_curves.curve(study.cells[0], "hold_last")
    assert held[0].points.value == pytest.approx(
        100 * (score(study, "step_3") - score(study, f"step_{T}"))
    )
    assert held[0].points.low < held[0].points.value < held[0].points.high


def test_artefacts_have_names_of_their_own():
    names = [artefact.name for artefact in artefacts() if artefact.paper == "relex"]
    assert names == [*TABLES, *(module.NAME for module in FIGURES)]
