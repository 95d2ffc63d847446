"""Every claim over runs, from the same claims on each run alone; and the papers' own numbers."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from rlvr_dynamics.claims.alpharl_weights import PAPER_GAUSSIAN
from rlvr_dynamics.dynamics import gaussian_spectrum
from tests.support.irregular_run import write_run
from tests.support.ledger_outputs import by_regime, by_run, study_ledger

FEW = {"bootstrap_draws": 150}
NUMBERS = ["ours", "ci_low", "ci_high", "null", "n"]
# Of each claim, the least and the greatest value that its statistic can have.
BOUNDED = {
    **dict.fromkeys(["A2s", "B1", "B1f", "B2", "B2p", "B2h", "B2hp", "F1", "F2"], (0.0, 1.0)),
    **dict.fromkeys(["F11", "F11m", "F11q"], (0.0, 1.0)),
    **dict.fromkeys(["A6", "A6p"], (0.0, math.inf)),
    **dict.fromkeys(["A2", "A2h", "A3e", "B6", "B6p", "B11", "B13", "F7"], (-math.inf, 1.0)),
}

POINTS, UNBOUNDED = (-100.0, 100.0), (-math.inf, math.inf)

OTHER_TRAINING = ["A8", "A9"]  # claims about runs that are none of these


def reconfigure(run: Path, **changes: object) -> Path:
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return run


def rate(value: float, name: str = "grpo") -> dict[str, object]:
    return {"name": name, "learning_rate": value}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Three runs, two of which share a base though not the seed; the third's rate is another."""
    folder = tmp_path_factory.mktemp("runs")
    first = write_run(folder / "first", seed=3, report=FEW)
    second = write_run(folder / "second", seed=4, report=FEW, algorithm=rate(2e-5, "rloo"))
    third = write_run(folder / "third", seed=5, report=FEW, algorithm=rate(7e-5), uneven=True)
    return [reconfigure(first, seed=8), reconfigure(second, seed=9, base_seed=8), third]


@pytest.fixture(scope="module")
def control(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("control") / "control"
    return write_run(folder, seed=6, report=FEW, uneven=True)


@pytest.fixture(scope="module")
def alone(runs, control, tmp_path_factory) -> dict[str, pd.DataFrame]:
    """The ledger of each run by itself, the control's as if it were none."""
    out = tmp_path_factory.mktemp("alone")
    found = {run.name: study_ledger([run], out / run.name) for run in [*runs, control]}
    reconfigure(control, data={"shuffle_answers": True})
    return found


@pytest.fixture(scope="module")
def together(runs, control, alone, tmp_path_factory) -> pd.DataFrame:
    found = study_ledger([*runs, control], tmp_path_factory.mktemp("together") / "out")
    return found[found["kind"] == "measured here"]


def student_half(values: list[float]) -> float:
    spread = np.std(values, ddof=1) / math.sqrt(len(values))
    return float(student.ppf(0.975, len(values) - 1) * spread)


def test_every_claim_is_the_mean_over_runs_with_the_widest_of_three_intervals(together, alone):
    names = ["first", "second", "third"]
    for id, row in together.iterrows():
        each = pd.DataFrame([alone[name].loc[id, NUMBERS] for name in names]).astype(float)
        if each["ours"].isna().all():
            assert math.isnan(row["ours"]) and row["runs"] == 0, id
            continue
        ours = each["ours"].to_numpy()
        mean = ours.mean()
        bases = [ours[:2].mean(), ours[2]]
        half = max(student_half(list(ours)), student_half(bases))
        below = math.sqrt(((ours - each["ci_low"]) ** 2).sum()) / 3
        above = math.sqrt(((each["ci_high"] - ours) ** 2).sum()) / 3
        # A number over the tensors of a run is exact, so only the runs differ.
        if alone["first"].loc[id, "interval_over"].startswith("a spread") or id == "A2m":
            below = above = 0.0
        least, most = BOUNDED.get(str(id), POINTS if "points" in row["threshold"] else UNBOUNDED)
        low, high = max(mean - max(half, below), least), min(mean + max(half, above), most)
        found = row[["ours", "ci_low", "ci_high"]].astype(float)
        assert found.tolist() == pytest.approx([mean, low, high], rel=1e-7, abs=1e-6), id
        assert row["null"] == pytest.approx(each["null"].mean(), rel=1e-7, nan_ok=True), id
        assert (row["runs"], row["n"]) == (3, each["n"].min()), id
        assert set(row["cells"].split(", ")) == set(names), id
        assert row["interval_over"] == "runs, 2 bases", id


def test_controls_stand_beside_every_claim_and_in_none(together, alone):
    here = together.drop(OTHER_TRAINING)
    expected = alone["control"].loc[here.index, "ours"]
    pd.testing.assert_series_equal(here["control"], expected, check_names=False)
    assert set(together["control_runs"]) == {0, 1}
    assert here.loc[expected.notna(), "control_runs"].eq(1).all()


def test_each_learning_rate_has_the_ledger_of_its_runs(runs, control, together, tmp_path):
    parts = {"lr 2e-05 x 200 steps": runs[:2], "lr 7e-05 x 200 steps": runs[2:]}
    table = by_regime([*runs, control])
    for name, chosen in parts.items():
        rows = table[table["regime"] == name].set_index("id")
        expected = study_ledger(chosen, tmp_path / name.split()[1])
        assert set(rows.index) == set(expected.index[expected["runs"] > 0])
        expected = expected.loc[rows.index]
        for column in [*NUMBERS, "runs"]:
            left, right = rows[column].astype(float), expected[column].astype(float)
            pd.testing.assert_series_equal(left, right, rtol=1e-8, check_names=False)


def test_each_run_has_its_own_rows(runs, control, alone):
    table = by_run([*runs, control])
    for name, expected in alone.items():
        rows = table[table["cell"] == name].set_index("id")
        rows = rows.drop(OTHER_TRAINING, errors="ignore")
        assert set(rows.index) == set(expected.index[expected["ours"].notna()])
        for column in NUMBERS:
            left, right = rows[column].astype(float), expected.loc[rows.index, column]
            pd.testing.assert_series_equal(left, right.astype(float), check_names=False)
        assert set(rows["control"]) == {"shuffled rewards" if name == "control" else ""}
        assert set(rows["learning_rate"]) == {7e-5 if name == "third" else 2e-5}
        seeds = {"third": (5, 5), "control": (6, 6), "second": (8, 9)}.get(name, (8, 8))
        assert set(zip(rows["base_seed"], rows["seed"], strict=True)) == {seeds}


# The papers' numbers in the unit of each claim, computed by hand from the printed tables


PRINTED = {
    **{"A1": 0.9917, "A1p": 1.0, "A2": 0.914, "A3": 0.979371, "A3e": 0.95},
    **{"A3r": 0.979371, "A3ir-40": 4.620952},
    **{"A3i-10": 4.093571, "A3i-40": 4.620952, "A8": 0.3775, "P1": -0.16},
    **{"A6": 0.193 / 0.0328, "A6p": 0.365 / 0.166},
    **{"B1f": 0.814, "B3": -0.3, "B3o": 0.62, "B5": 0.9, "B8r5": 1.0, "B8r10": 1.1},
    **{"B8p": 71.5, "B8n": -0.5, "B9w": 1.2, "B9e": 3.9, "B9a": 4.3, "B10": -0.48},
    **{"B11": 0.35, "B12": 2.7, "B13": 0.91, "F8": 0.83, "F10": 1.88},
    **{"F11": 0.7, "F11m": 0.85},
    **{"A15": 2.5, "B14": 1 / 0.15, "F12": 6.1, "F13": 1.6, "F14": 3.0},
}
# Value, and how many cases it is the lowest (N1: the largest) of.
PRINTED_ALONE = {
    **{"N1": (19.995, 75), "N2": (94.835451, 7), "N3": (1.118333, 34), "N4": (66.666667, 16)},
    **{"N5": (6.7, 4), "N6": (-1.1, 3), "N6o": (-0.86, 3), "N7": (-0.5, 25), "N8": (-2.4, 2)},
}


@pytest.mark.parametrize(("rank", "percent"), [("1", 0), ("1%", 1)])
def test_the_papers_share_is_divided_by_that_of_gaussian_matrices_of_its_shapes(rank, percent):
    """Of Qwen3-8B's layers: q and o, k and v, and three of the MLP."""
    shapes = {(4096, 4096): 2, (1024, 4096): 2, (12288, 4096): 3}
    shares = []
    for (m, n), count in shapes.items():
        (sigma,) = gaussian_spectrum(m, n, draws=1, seed=1)
        kept = math.ceil(percent / 100 * min(m, n)) or 1
        shares += [np.linalg.norm(sigma[:kept]) / np.linalg.norm(sigma)] * count
    assert PAPER_GAUSSIAN[rank] == pytest.approx(np.mean(shares), rel=0.004)
    if rank == "1":  # σ₁ ≈ √m + √n, ‖·‖_F ≈ √(mn)
        plain = [count * (m**-0.5 + n**-0.5) for (m, n), count in shapes.items()]
        assert PAPER_GAUSSIAN[rank] == pytest.approx(sum(plain) / 7, rel=0.005)


def test_papers_stand_beside_ours(together):
    found = together["printed"].dropna()
    assert found.to_dict() == pytest.approx(PRINTED, abs=1e-6)
    assert set(together.loc[together["printed"].isna(), "printed_origin"]) == {"no number printed"}


def test_claims_about_printed_numbers_alone(tmp_path, runs):
    table = study_ledger(runs[:1], tmp_path / "out").query("kind == 'printed numbers'")
    assert table["printed"].to_dict() == pytest.approx(
        {id: value for id, (value, _) in PRINTED_ALONE.items()}, abs=1e-6
    )
    assert table["n"].to_dict() == {id: n for id, (_, n) in PRINTED_ALONE.items()}
    holds = set(table.index[table["verdict"] == "holds"])
    assert holds == {"N3", "N5", "N6", "N6o"}
    assert set(table["verdict"]) == {"holds", "fails"} and table["ours"].isna().all()
