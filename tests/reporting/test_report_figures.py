"""Every figure of a run's report draws the numbers that lie in its tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.reporting.figure_style import style
from rlvr_dynamics.reporting.figures import FIGURES
from rlvr_dynamics.reporting.method_scores import final_accuracy
from rlvr_dynamics.results.run import load_results
from tests.support.drawn import bands, estimates, line, quartiles, spans
from tests.support.figure_text import check_texts
from tests.support.irregular_run import SAMPLES, write_run
from tests.support.irregular_weights import FINAL, LAYERS, MLP, RANKS, SHAPES, STEPS, WINDOWS
from tests.support.ledger_reference import Stored

FLOOR = -1.0
SHARES = {10: 5, 20: 10, 30: 15, 40: 20, 60: 30, 80: 40}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Stored:
    return Stored(write_run(tmp_path_factory.mktemp("figures") / "run"))


@pytest.fixture(scope="module")
def figures(run):
    results = load_results(run.folder)
    with style():
        return {each.name: each.make(results).figure for each in FIGURES}


def scored(run: Stored, benchmark: str, method: str, observe: float = np.nan) -> np.ndarray:
    """Accuracy, low and high of sampled answers, in the order of the steps."""
    rows = run.table("scores", benchmark=benchmark, protocol="sampled", method=method)
    rows = rows[rows["observe"].isna() if np.isnan(observe) else rows["observe"] == observe]
    return rows.sort_values("step")[["step", "accuracy", "ci_low", "ci_high"]].to_numpy(float)


def check_accuracies(axes, run: Stored, benchmark: str) -> None:
    found = estimates(axes)
    real = np.concatenate([scored(run, benchmark, name) for name in ("base", "real")])
    np.testing.assert_allclose(found.pop("real checkpoints"), real)
    names = {"rank-1 update, rescaled (uses the future)": ("rank1_recovery", np.nan)}
    names["random update, same norm (uses the future)"] = ("random_update", np.nan)
    for observe, share in SHARES.items():
        names[f"RELEX, first {share} %"] = ("relex", observe)
        names[f"AlphaRL, first {share} %"] = ("alpharl", observe)
    assert set(found) == set(names)
    for name, (method, observe) in names.items():
        expected = scored(run, benchmark, method, observe)
        np.testing.assert_allclose(found[name][:, 1:], expected[:, 1:])
        aside = found[name][:, 0] - expected[:, 0]  # predictions of a step stand side by side
        assert np.ptp(aside) < 1e-9 and 0 < abs(aside[0]) < 0.18 * FINAL
    (base,) = [each for each in axes.get_lines() if each.get_label() == "base"]
    assert base.get_ydata()[0] == scored(run, benchmark, "base")[0, 1]


def test_learning(run, figures):
    reward, accuracy = figures["reward_and_accuracy"].axes
    metrics = run.table("metrics").sort_values("step")
    x, y = line(reward, "each step")
    np.testing.assert_array_equal(np.column_stack([x, y]), metrics.to_numpy(float))
    width = FINAL // 15
    x, smooth = line(reward, f"mean of {width} steps")
    middle = 100
    mean = metrics["critic/score/mean"].iloc[middle - width // 2 : middle + width // 2 + 1].mean()
    assert x[middle] == 101 and smooth[middle] == pytest.approx(mean)
    check_accuracies(accuracy, run, "sums")
    shaded = sorted({patch.get_extents().width for patch in accuracy.patches})
    assert len(shaded) == len(WINDOWS)


def test_out_of_domain(run, figures):
    for axes, benchmark in zip(figures["out_of_domain"].axes, ("chains", "products"), strict=True):
        assert axes.get_title(loc="left") == benchmark.capitalize()
        check_accuracies(axes, run, benchmark)


def check_quartiles(axes, label: str, expected: pd.Series, band: int) -> None:
    """A line of medians and the band of quartiles that is drawn before it."""
    x, y = line(axes, label)
    np.testing.assert_allclose(x, expected.index.to_numpy(float))
    np.testing.assert_allclose(y, [each[1] for each in expected])
    edges = bands(axes)[band]
    for at, (low, _, high) in expected.items():
        assert edges[round(float(at), 9)] == pytest.approx((low, high))


def test_changed_weights(run, figures):
    (axes,) = figures["changed_share"].axes
    norms = run.table("norms")
    names = {"changed_share": "from the base", "step_changed_share": "from the step before"}
    for place, (column, label) in enumerate(names.items()):
        check_quartiles(axes, label, quartiles(norms, "step", column), place)


def test_methods_at_the_final_step(run, figures):
    titles = {"in_domain": "in domain", "out_of_domain": "out of domain"}
    axes = figures["method_accuracy"].axes
    stated = final_accuracy(load_results(run.folder)).set_index(["split", "model"])
    names = [label.get_text().replace("\n", " ") for label in axes[0].get_yticklabels()]
    for one, (split, title) in zip(axes, titles.items(), strict=True):
        assert one.get_title(loc="left") == title
        benchmarks = run.benchmarks(split)

        def accuracy(model: str, benchmarks: list[str] = benchmarks) -> float:
            return float(np.mean([run.accuracy(model, name) for name in benchmarks]))

        found = estimates(one, along="x")
        for observe, share in SHARES.items():
            rows = found[f"first {share} % observed"]
            drawn = {names[round(y)]: (x, low, high) for x, y, low, high in rows}
            assert len(drawn) == (
                17 if observe == 80 else 15
            )  # two readings from there alone  # two readings from there alone
            assert drawn["last observed checkpoint"][0] == pytest.approx(
                accuracy(f"step_{observe}")
            )
            for name, method in (("RELEX", "relex"), ("ExPO", "expo"), ("AlphaRL", "alpharl")):
                model = f"{method}__observe_{observe}__step_{FINAL}"
                value, low, high = drawn[name]
                assert value == pytest.approx(accuracy(model))
                half = 1.96 * clustered_error(run, model, benchmarks)
                assert [value - low, high - value] == pytest.approx([half, half], rel=0.25)
                row = stated.loc[(split, model)]  # which end is farther
                assert [low, high] == pytest.approx([row["low"], row["high"]])
        for label, model in (("base", "base"), (f"real step {FINAL}", f"step_{FINAL}")):
            assert line(one, label)[0][0] == pytest.approx(accuracy(model))


def clustered_error(run: Stored, model: str, benchmarks: list[str]) -> float:
    """Standard error of an accuracy, benchmarks alike, questions as clusters."""
    parts = [run.answers([model], name)[0] for name in benchmarks]
    return float(np.sqrt(sum(each.var() / len(each) for each in parts)) / len(parts))


def test_skill_of_forecasts(run, figures):
    axes = figures["forecast_skill"].axes
    table = run.table("forecast")
    kept = (table["method"] == "weight_extrapolation") & (table["skill"] == 0)
    table = table[~kept & table["skill"].notna()]
    names = ["RELEX", "per-weight line", "two-point line", "line of the last two"]
    methods = dict(
        zip(names, ("relex", "relex_raw", "weight_extrapolation", "momentum"), strict=True)
    )
    labels = [label.get_text().replace("\n", " ") for label in axes[0].get_yticklabels()]
    for one, observe in zip(axes, WINDOWS, strict=True):
        markers = [each for each in one.get_lines() if each.get_marker() != "None"]
        assert len(markers) == 2 * 7
        for name, method in methods.items():
            here = [
                each for each in one.get_lines() if round(each.get_ydata()[0]) == labels.index(name)
            ]
            here = [each for each in here if len(set(each.get_ydata())) == 1]
            for place, step in enumerate((160, FINAL)):
                skill = table.query(
                    f"method == '{method}' and observe == {observe} and step == {step}"
                )["skill"]
                low, quarter, middle, upper, high = np.quantile(
                    skill, [0.05, 0.25, 0.5, 0.75, 0.95]
                )
                whiskers, box, marker = here[3 * place : 3 * place + 3]
                assert list(whiskers.get_xdata()) == pytest.approx([low, high])
                assert list(box.get_xdata()) == pytest.approx([quarter, upper])
                assert list(marker.get_xdata()) == pytest.approx([middle])
    labels = {str(each.get_label()) for each in axes[0].get_lines()}
    assert labels >= {"predicted step 160", f"predicted step {FINAL}"}


def test_spectra_of_the_last_update(run, figures):
    (axes,) = figures["update_spectra"].axes
    table = run.table("update_svd", step=FINAL)
    inside = table["module"].isin(MLP)
    for name, rows, count in (("MLP", table[inside], 9), ("attention", table[~inside], 12)):
        x, y = line(axes, f"{name}: median of {count} matrices")
        assert x.tolist() == [1, 2, 3, 4]
        np.testing.assert_allclose(y, rows.groupby("index")["norm_share"].median())
    _, null = line(axes, "Gaussian matrices of the same shape (median)")
    np.testing.assert_allclose(null, table.groupby("index")["norm_share_null"].median())


def check_map(axes, rows: pd.DataFrame, column: str, scale: float = 1) -> None:
    (image,) = axes.images
    drawn = np.asarray(image.get_array(), float)
    wide = rows.pivot(index="layer", columns="module", values=column)[list(SHAPES)]
    assert [int(label.get_text()) for label in axes.get_yticklabels()] == list(LAYERS)
    np.testing.assert_allclose(drawn, scale * wide.loc[list(LAYERS)].to_numpy())


def test_maps_of_modules_and_layers(run, figures):
    check_map(
        figures["rank1_share"].axes[0],
        run.table("update_svd", step=FINAL, index=1),
        "norm_share",
        100,
    )
    check_map(figures["pls_r2"].axes[0], run.table("pls"), "r2")


def test_shares_of_ranks(run, figures):
    (axes,) = figures["rank_shares"].axes
    table = run.table("rank_shares", step=FINAL)
    table = table.assign(place=[RANKS.index(rank) for rank in table["rank"]])
    assert [label.get_text() for label in axes.get_xticklabels()] == list(RANKS)
    check_quartiles(axes, "this run", quartiles(table, "place", "norm_share"), 0)
    check_quartiles(axes, "Gaussian matrices", quartiles(table, "place", "norm_share_null"), 1)
    for label, printed in (("RL (DAPO), paper", (0.193, 0.365)), ("SFT, paper", (0.077, 0.277))):
        x, y = line(axes, label)
        assert (x.tolist(), y.tolist()) == ([0, 1], list(printed))


def check_band(axes, table: pd.DataFrame, column: str, null: str) -> None:
    """Tensors in the order of their values over the bands of their own nulls."""
    rows = table.dropna(subset=[column]).sort_values([column, "tensor"])
    x, y = line(axes, "this run")
    assert x.tolist() == list(range(len(rows)))
    np.testing.assert_allclose(y, rows[column].clip(lower=FLOOR))
    (segments,) = spans(axes)
    ends = np.stack([rows[f"{null}_{end}"].clip(lower=FLOOR) for end in ("low", "high")], axis=1)
    np.testing.assert_allclose(segments[:, :, 1], ends)
    np.testing.assert_allclose(line(axes, "null, mean")[1], rows[f"{null}_mean"].clip(lower=FLOOR))


def test_bands_of_nulls(run, figures):
    pls, linearity = run.table("pls"), run.table("linearity")
    first = run.table("trajectory_svd", index=1)
    _, *bottom = [axes for axes in figures["pls_r2"].axes if axes.get_title(loc="left")]
    for axes, (column, null) in zip(
        bottom, (("r2", "r2_null"), ("r2", "r2_walk"), ("loo_r2", "loo_r2_null")), strict=True
    ):
        check_band(axes, pls, column, null)
        assert line(axes, "threshold of the claim")[1][0] == 0.9
    left, middle, right = figures["null_bands"].axes
    check_band(left, first, "explained_variance", "null")
    check_band(middle, linearity, "r2", "r2_null")
    check_band(right, linearity, "heldout_r2", "heldout_r2_null")
    thresholds = [line(axes, "threshold of the claim")[1][0] for axes in (left, middle, right)]
    assert thresholds == [0.814, 0.98, 0.98]


def test_turning_of_the_leading_direction(run, figures):
    (axes,) = figures["u1_alignment"].axes
    table = run.table("u1_alignment")
    names = {"cosine_last": "with u₁ of the last step", "cosine_next": "with u₁ of the next step"}
    for place, (column, label) in enumerate(names.items()):
        check_quartiles(axes, label, quartiles(table, "step", column), place)


def test_drift_and_reconstruction(run, figures):
    left, right = figures["drift"].axes
    drift = run.table("drift")
    drift = drift.assign(percent=100 * drift["share"])
    null = drift.groupby("percent")[["null_low", "null_mean", "null_high"]].median()
    np.testing.assert_allclose(line(left, "random walk, mean")[1], null["null_mean"])
    for at, row in null.iterrows():
        assert bands(left)[0][round(float(at), 9)] == pytest.approx(
            (row["null_low"], row["null_high"])
        )
    check_quartiles(left, "this run", quartiles(drift, "percent", "cosine"), 1)
    oracle = run.table("oracle")
    for place, (rank, label) in enumerate(
        {1: "1 direction", 3: "3 directions", 5: "5 directions"}.items()
    ):
        rows = oracle[oracle["rank"] == rank]
        check_quartiles(right, label, quartiles(rows, "step", "cosine"), place)


def test_coefficients_and_the_lines_of_their_windows(run, figures):
    table, linearity = (
        run.table("coefficients", index=1),
        run.table("linearity").set_index("tensor"),
    )
    panels = figures["coefficients"].axes
    assert len(panels) == 10  # three projections in three layers, and the embedding
    for axes in panels:
        _, y = line(axes, "coefficient c₁")
        (tensor,) = [
            name
            for name, rows in table.groupby("tensor")
            if np.allclose(rows.sort_values("step")["coefficient"], y)
        ]
        rows = table[table["tensor"] == tensor].sort_values("step")
        assert axes.get_title(loc="left").startswith(rows["module"].iloc[0])
        for words, column in (("in sample", "r2"), ("held out", "heldout_r2")):
            value, null = linearity.loc[tensor, [column, f"{column}_null_mean"]]
            shown = "–" if np.isnan(value) else f"{value:.3f}"
            assert f"{words} {shown}, null {null:.3f}" in axes.get_title(loc="left")
        assert line(axes, "coefficient c₁")[0].tolist() == list(STEPS)
        for observe in (20, 30, 40):  # the first four windows; one step has no line
            seen = rows[rows["step"] <= observe]
            slope, start = np.polyfit(seen["step"], seen["coefficient"], 1)
            x, y = line(axes, f"line through the first {SHARES[observe]} %")
            assert (x.tolist(), y.tolist()) == (
                [0, FINAL],
                pytest.approx([start, start + FINAL * slope]),
            )


def test_no_text_is_cut_off_or_drawn_over_another(figures):
    check_texts(figures)


def test_captions_count_what_is_drawn(run, figures):
    results = load_results(run.folder)
    with style():
        facts = {each.name: each.make(results).facts for each in FIGURES}
    assert f"n = 180 questions × {SAMPLES} sampled answers" in facts["reward_and_accuracy"]
    assert "50 questions × 3, 70 questions × 3 sampled" in facts["out_of_domain"]
    assert facts["method_accuracy"].startswith("n = 180 questions in domain, 120 questions out of")
    assert facts["update_spectra"].startswith("n = 21 matrices of one update")
    assert facts["rank_shares"].startswith(f"n = 21 matrices of the update at step {FINAL}; seed")
    assert facts["null_bands"].startswith("n = 23 tensors, 9 steps, 150 random walks per null; ")
    pls = run.table("pls")
    means = pls["r2"].mean(), pls["r2_walk_mean"].mean()
    assert f"mean R² {means[0]:.3f}, random-walk accuracies {means[1]:.3f}" in facts["pls_r2"]
    assert Path(results.run_dir).name == "run"
