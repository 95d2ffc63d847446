"""The behaviour figures draw the numbers of the behaviour tables."""

import numpy as np
import pandas as pd
import pytest

from analysis.registry import find
from rlvr_dynamics.reporting.figure_style import style
from rlvr_dynamics.results.study import load_study
from rlvr_dynamics.schema.tables import BEHAVIOUR
from tests.support.drawn import estimates, lines
from tests.support.figure_text import check_texts
from tests.support.reporting_fixture import build_run
from tests.support.study_settings import configure

NUMBERS = ("5b", "12a", "12b", "12c", "14")
ROLES = ("trained", "rank1_recovery", "random_update", "base")
TENTHS = np.arange(10) / 10
LENGTHS = (0, 5, 20, 80)
LIKE = {"benchmark": "sums", "dtype": "float32", "device": "cpu", "draws": 100, "seed": 0}


def complete(name: str, rows: list[dict]) -> pd.DataFrame:
    """Rows with every column that the table has."""
    frame = pd.DataFrame(rows).assign(**LIKE)
    return frame.assign(**{column: 0 for column in BEHAVIOUR[name].names if column not in frame})


def spread(generator: np.random.Generator, low: float, high: float, *ends: str) -> dict:
    value = generator.uniform(low, high)
    width = 0.1 * (high - low)
    return dict(zip(ends, (value, value - 0.7 * width, value + width), strict=True))


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Numbers of no run: no two are alike, and intervals lie unevenly about their values."""
    generator = np.random.default_rng(5)
    ends = ("value", "low", "high")
    summary, prefix, embeddings = [], [], []
    for reader in ("base", "rank1_recovery"):
        for writer in ROLES:
            pair = {"reader": reader, "writer": writer, "answers": 40, "tokens": 700}
            for metric, low, high in (("non_greedy_share", 0, 0.3), ("perplexity", 1, 3)):
                summary.append({**pair, "metric": metric, **spread(generator, low, high, *ends)})
            for low in TENTHS:
                place = {"bin_low": low, "bin_high": low + 0.1, "null": generator.uniform(0, 0.2)}
                part = {**pair, **place, **spread(generator, 0, 0.4, *ends)}
                summary.append({**part, "metric": "non_greedy_position"})
    for guide in ROLES[:3]:
        whole = generator.uniform(0.7, 0.9)
        for length in LENGTHS:
            names = ("accuracy", "accuracy_low", "accuracy_high")
            row = {"guide": guide, "guide_tokens": length, "questions": 40}
            row |= spread(generator, 0.2, 0.8, *names)
            prefix.append(
                {**row, "guide_accuracy": whole, "prefix_accuracy": generator.uniform(0, 0.6)}
            )
    for model in ("trained", "random_update"):
        for place in range(60):
            row = {"model": model, "matrix": "input", "tied": True, "used": place % 3 == 0}
            row |= {name: generator.normal() for name in ("x_base", "y_base", "x", "y")}
            row |= {"x_explained": 0.41, "y_explained": 0.23}
            embeddings.append({**row, "relative_shift": generator.exponential(0.02)})
    found = {"summary": summary, "prefix": prefix, "embeddings": embeddings}
    built = {name: complete(name, rows) for name, rows in found.items()}
    built["prefix"] = built["prefix"].sample(frac=1, random_state=1)
    return built


@pytest.fixture(scope="module")
def figures(tables, tmp_path_factory) -> dict:
    run = configure(build_run(tmp_path_factory.mktemp("behaviour") / "run", layers=1))
    (run / "behaviour").mkdir()
    for name, table in tables.items():
        table.to_parquet(run / "behaviour" / f"{name}.parquet")
    with style():
        return {
            number: find(f"alpharl_figure_{number}").make(load_study([run])).figure
            for number in NUMBERS
        }


READINGS = {
    "12a": [
        ("base", "trained"),
        ("rank1_recovery", "trained"),
        ("base", "rank1_recovery"),
        ("base", "random_update"),
        ("base", "base"),
    ],
    "12b": [("base", writer) for writer in ROLES],
}


def test_no_text_is_cut_off_or_drawn_over_another(figures):
    check_texts(figures)


@pytest.mark.parametrize(("number", "metric"), [("12a", "non_greedy_share"), ("12b", "perplexity")])
def test_every_reading_stands_in_its_row(tables, figures, number, metric):
    scale = 100 if number == "12a" else 1
    drawn = sorted(estimates(figures[number].axes[0], "x").values(), key=lambda each: each[0, 1])
    summary = tables["summary"].query(f"metric == '{metric}'").set_index(["reader", "writer"])
    for points, reading in zip(drawn, READINGS[number], strict=True):
        expected = scale * summary.loc[[reading], ["value", "low", "high"]].to_numpy()
        np.testing.assert_allclose(points[:, [0, 2, 3]], expected)


def test_places_of_tokens_beside_all_tokens(tables, figures):
    axes = figures["12c"].axes[0]
    rows = tables["summary"].query("metric == 'non_greedy_position' and reader == 'base'")
    for points, role in zip(estimates(axes).values(), ROLES[:3], strict=True):
        here = rows[rows["writer"] == role]
        np.testing.assert_allclose(points[:, 1:], 100 * here[["value", "low", "high"]])
        assert (np.floor(points[:, 0] / 10) == np.arange(10)).all()
    (null,) = axes.patches
    np.testing.assert_allclose(
        null.get_data().values, 100 * rows.loc[rows["writer"] == "trained", "null"]
    )


def test_how_far_a_prefix_leads(tables, figures):
    axes = figures["14"].axes[0]
    names = ["accuracy", "accuracy_low", "accuracy_high"]
    for points, guide in zip(estimates(axes).values(), ROLES[:3], strict=True):
        rows = tables["prefix"].query(f"guide == '{guide}'").sort_values("guide_tokens")
        np.testing.assert_allclose(points[:, 1:], 100 * rows[names])
        assert np.round(points[:, 0]).tolist() == [0, 1, 2, 3]
    trained = tables["prefix"].query("guide == 'trained'").sort_values("guide_tokens")
    (whole,) = lines(axes, linestyle=":")
    assert whole[0, 1] == pytest.approx(100 * trained["guide_accuracy"].iloc[0])
    (alone,) = lines(axes, linestyle="--")
    np.testing.assert_allclose(alone[:, 1], 100 * trained["prefix_accuracy"])


def test_shifts_of_embeddings(tables, figures):
    plane, lengths = (figures["5b"].axes[place] for place in (0, -1))
    trained = tables["embeddings"].query("model == 'trained'")
    used = trained[trained["used"]]
    start, end = lines(plane)
    np.testing.assert_allclose(start, used[["x_base", "y_base"]])
    np.testing.assert_allclose(end, used[["x", "y"]])
    for points, rows in zip(
        estimates(lengths, "x").values(), (used, trained[~trained["used"]]), strict=True
    ):
        expected = 100 * np.quantile(rows["relative_shift"], [0.5, 0.25, 0.75])
        np.testing.assert_allclose(points[0, [0, 2, 3]], expected)
    assert "41 %" in plane.get_xlabel() and "23 %" in plane.get_ylabel()
