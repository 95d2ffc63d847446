"""Every number of every claim, against stored tables: value, interval, n, null, printed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.claims import acceleration
from tests.support.irregular_run import write_run
from tests.support.irregular_weights import FINAL, MLP
from tests.support.ledger_outputs import run_ledger
from tests.support.ledger_reference import (
    Accuracies,
    Expected,
    OverTensors,
    ShareAbove,
    Stored,
    gain,
    points,
    ratio,
)

REAL = f"step_{FINAL}"
RANDOM = f"random_update__{REAL}"


def prediction(method: str, observe: int, step: int = FINAL) -> str:
    return f"{method}__observe_{observe}__step_{step}"


def column(table: str, value: str, null: str = "", **where: object):
    """Rows of a table with one column as the value and another as the null."""

    def rows(run: Stored) -> pd.DataFrame:
        found = run.table(table, **where)
        names = {value: "value"} | ({null: "null"} if null else {})
        return found[list(names)].rename(columns=names)

    return rows


def held_cosine_gain(observe: int, method: str = "relex"):
    """Cosine of the forecast minus that of the held update, from the three sides' lengths."""

    def rows(run: Stored) -> pd.DataFrame:
        table = run.table("forecast", method=method, observe=observe, step=FINAL)
        norms = run.table("norms").set_index(["tensor", "step"])["update_norm"]
        held, true = (
            norms[[(name, step) for name in table["tensor"]]] for step in (observe, FINAL)
        )
        h, t = held.to_numpy(), true.to_numpy()
        cosine = (h**2 + t**2 - table["sse_hold"].to_numpy()) / (2 * h * t)
        return pd.DataFrame({"value": table["cosine"].to_numpy() - cosine})

    return rows


def of_first(run: Stored) -> pd.DataFrame:
    names = {"null_mean": "null of walks", "optimizer_null_mean": "null of the optimizer"}
    return run.table("trajectory_svd", index=1)[["tensor", *names]].rename(columns=names)


def of_five(run: Stored) -> pd.DataFrame:
    table = run.table("trajectory_svd")
    wide = table.pivot(index="tensor", columns="index", values="sigma")
    share = wide[1] ** 2 / sum(wide[place] ** 2 for place in range(1, 6))
    return share.rename("value").to_frame().join(of_first(run).set_index("tensor"))


def principal(run: Stored) -> pd.DataFrame:
    table = run.table("update_rank", step=FINAL)
    left = table["base_cosine_left_null"] - table["base_cosine_left"]
    right = table["base_cosine_right_null"] - table["base_cosine_right"]
    return pd.DataFrame({"value": (left + right) / 2})


def used_rank(run: Stored) -> pd.DataFrame:
    table = run.table("update_rank", step=FINAL)
    return pd.DataFrame({"value": table["numerical_rank"] / table[["m", "n"]].min(axis=1)})


def kept_weights(run: Stored) -> pd.DataFrame:
    return pd.DataFrame({"value": 1 - run.table("norms", step=FINAL)["changed_share"]})


def held_out_below_zero(run: Stored) -> pd.DataFrame:
    found = run.table("linearity")["heldout_r2"]
    return pd.DataFrame({"value": (found < 0).astype(float).where(found.notna())})


@dataclass(frozen=True)
class LeftVectors:
    """Mean R² without noise; its ends are those of the noise, and its null is corrected likewise.

    Attributes:
        score: In sample or left out.
        nulls: Columns of the nulls, of which the higher mean counts.
    """

    score: str
    nulls: tuple[str, ...] = ()

    def of(self, run: Stored) -> Expected:
        table = run.table("pls")
        table = table[table["r2"].notna() & table[self.score].notna()]
        ceiling, low, high = (table[f"r2_ceiling{end}"].mean() for end in ("", "_low", "_high"))
        value = table[f"{self.score}_corrected"].mean()
        own = 1.959964 * table["r2_error"].mean() / ceiling
        below = np.hypot(value - value * ceiling / high, own)
        beyond = np.hypot(value * ceiling / low - value, own)
        ends = value - below, min(1, value + beyond)
        null = max((table[name].mean() for name in self.nulls), default=np.nan)
        null = min(1, null / ceiling) if self.nulls else null
        return Expected(value, *ends, len(table), null, slack=1e-6)


class BeyondTheStep(OverTensors):
    """Partial R²; the null is the higher of two means."""

    def of(self, run: Stored) -> Expected:
        found = super().of(run)
        table = run.table("pls")
        table = table[table["r2"].notna() & table["partial_r2"].notna()]
        null = max(table["partial_r2_null_high"].mean(), table["partial_r2_walk_mean"].mean())
        return Expected(found.value, found.low, found.high, found.n, null)


def beyond_the_step(run: Stored) -> pd.DataFrame:
    table = run.table("pls")
    return pd.DataFrame({"value": table["partial_r2"][table["r2"].notna()]})


class HigherControl(Accuracies):
    """The control is the better of the held checkpoint and its rank-1 part."""

    def of(self, run: Stored) -> Expected:
        found = super().of(run)
        nulls = [
            Accuracies(self.formula, self.models, control).of(run).null
            for control in ("step_80", "rank1_recovery__step_80")
        ]
        return Expected(found.value, found.low, found.high, found.n, max(nulls))


class MlpAboveAttention(OverTensors):
    """Mean over the MLP's matrices minus mean over those of attention."""

    def of(self, run: Stored) -> Expected:
        table = run.table("pls")
        table = table[table["r2"].notna()]
        inside = table["module"].isin(MLP)
        value = table["r2"][inside].mean() - table["r2"][~inside].mean()
        return Expected(value, np.nan, np.nan, len(table))


def early(observe: int, split: str = "in_domain") -> Accuracies:
    models_ = (prediction("relex", observe), REAL)
    return Accuracies(points, models_, f"step_{observe}", split)


def beside(method: str, observe: int) -> Accuracies:
    return Accuracies(points, (prediction("relex", observe), prediction(method, observe)))


def beyond(observe: int, far: int = 320) -> Accuracies:
    models_ = prediction("relex", observe, far), prediction("relex", observe), REAL
    return Accuracies(points, models_)


def skill(method: str, observe: int, null: float = np.nan) -> OverTensors:
    where = {"method": method, "observe": observe, "step": FINAL}
    return OverTensors(column("forecast", "skill", **where), median=True, null=null)


@dataclass(frozen=True)
class WeightLines:
    """A score of the single weights that a selection keeps, and the higher of its two nulls."""

    score: str
    selection: str

    def of(self, run: Stored) -> Expected:
        row = run.table("weight_lines", selection=self.selection).iloc[0]
        nulls = [row[f"{walk}{self.score}_null_mean"] for walk in ("", "optimizer_")]
        ends = [row[f"r2_{end}"] if self.score == "r2" else np.nan for end in ("low", "high")]
        return Expected(row[self.score], *ends, n=row["weights"], null=max(nulls))


def without_window() -> dict[str, object]:
    """Claims that are about no window, or about one of 40 %."""
    rank1 = f"rank1_recovery__{REAL}"

    def first(run: Stored) -> pd.DataFrame:
        return of_first(run).assign(
            value=run.table("trajectory_svd", index=1)["explained_variance"]
        )

    return {
        "P0": Accuracies(points, (REAL, "base")),
        "A1": Accuracies(ratio, (rank1, REAL), RANDOM),
        "A1b": Accuracies(gain, (rank1, REAL, "base"), RANDOM),
        "A2": LeftVectors("r2", ("r2_null_high", "r2_walk_mean")),
        **{
            f"A3{mark}": HigherControl(ratio, (prediction(f"alpharl{name}", 80), REAL))
            for mark, name in (("", ""), ("r", "_released"), ("c", "_chosen"))
        },
        **{
            f"A3i{mark}-40": Accuracies(
                points, (prediction(f"alpharl{name}", 80), "step_80"), "rank1_recovery__step_80"
            )
            for mark, name in (("", ""), ("r", "_released"), ("c", "_chosen"))
        },
        "B1": OverTensors(first),
        "B2": ShareAbove("r2", "step"),
        "B2p": ShareAbove("r2", "path"),
        "B2h": ShareAbove("heldout_r2", "step"),
        "B2hp": ShareAbove("heldout_r2", "path"),
        "P1": Accuracies(points, ("step_160", REAL)),
    }


def windowed(observe: int, end: str = "") -> dict[str, object]:
    """The claims that stand for two windows; `end` is that of their ids."""
    return {
        f"B3{end}": early(observe),
        f"B3o{end}": early(observe, "out_of_domain"),
        f"B4{end}": beyond(observe),
        f"B5{end}": beside("relex_raw", observe),
        f"B6{end}": skill("relex", observe, 0.0),
        f"B7{end}": OverTensors(held_cosine_gain(observe), median=True, null=0.0),
    }


def of_a_window(observe: int) -> dict[str, object]:
    """The other claims, where the paper's window is `observe`."""
    real, matrix = {"method": "relex", "observe": observe, "step": FINAL}, {"step": FINAL}
    stages = tuple(f"step_{step}" for step in (40, 80, 110))
    window = [f"rank1_r2_window_{place}__{REAL}" for place in (1, 7)]
    others = [f"subspace_{place}__{REAL}" for place in (2, 3, 5)]

    def norm_share(rank: str) -> OverTensors:
        def times(run: Stored) -> pd.DataFrame:
            table = run.table("rank_shares", rank=rank, **matrix)
            return pd.DataFrame({"value": table["norm_share"] / table["norm_share_null"]})

        return OverTensors(times, null=1.0)

    return {
        "A1p": Accuracies(ratio, (f"recovery_1_percent__{REAL}", REAL), RANDOM),
        "A1t": Accuracies(
            lambda m: 100 / 3 * (m[0] + m[1] + m[2] - m[3] - m[4] - m[5]),
            (*(f"rank1_recovery__{name}" for name in stages), *stages),
        ),
        "A2h": LeftVectors("loo_r2"),
        "A2s": BeyondTheStep(beyond_the_step),
        "A2m": MlpAboveAttention(column("pls", "r2")),
        "A3i-10": Accuracies(points, (prediction("alpharl", 20), "step_20")),
        "A3e": HigherControl(lambda m: 1 - abs(m[0] / m[1] - 1), (prediction("alpharl", 80), REAL)),
        "A4": Accuracies(
            lambda m: 100 * (m[0] - np.max(m[1:], axis=0)), (f"rank1_recovery__{REAL}", *others)
        ),
        "A5": Accuracies(points, (f"rank1_scaled_0_7__{REAL}", f"rank1_recovery__{REAL}")),
        "A6": norm_share("1"),
        "A6p": norm_share("1%"),
        "A7": Accuracies(points, (window[0], window[1])),
        "B1f": OverTensors(of_five),
        "B3x10": early(20),
        "B3x20": early(10),
        "B8r5": beside("relex_rank5", observe),
        "B8r10": beside("relex_rank10", observe),
        "B8p": beside("relex_polynomial", observe),
        "B8s": beside("relex_sinusoid", observe),
        "B8n": beside("neural", observe),
        "B9w": beside("weight_extrapolation", observe),
        "B9e": beside("expo", observe),
        "B9a": beside("alpharl", observe),
        "B10": Accuracies(points, (f"trajectory_oracle__{REAL}", REAL), RANDOM),
        "B11": OverTensors(column("forecast", "cosine", **real), median=True),
        "B12": OverTensors(column("forecast", "magnitude_ratio", **real), median=True),
        "B6p": skill("relex_path", observe, 0.0),
        "B7p": OverTensors(held_cosine_gain(observe, "relex_path"), median=True, null=0.0),
        "B13": OverTensors(column("oracle", "cosine", rank=1, **matrix), median=True),
        "F1": OverTensors(kept_weights),
        "F2": OverTensors(used_rank),
        "F3": OverTensors(principal),
        "F4": Accuracies(points, (prediction("weight_extrapolation", observe), REAL)),
        "F4p": Accuracies(points, (prediction("weight_extrapolation_path", observe), REAL)),
        "F5": Accuracies(points, (prediction("expo", observe), f"step_{observe}")),
        "F6": Accuracies(points, (prediction("first_update", observe), REAL)),
        "F7": skill("momentum", observe),
        "F9": OverTensors(held_out_below_zero),
        "F11": WeightLines("above_share", "paper"),
        "F11m": WeightLines("r2", "paper"),
        "F11q": WeightLines("above_share", "half"),
        "O1": Accuracies(points, (f"borrowed_direction__{REAL}", REAL), RANDOM),
    }


ELSEWHERE = {"A8", "A9", "A10", "A11", "A12", "A13", "A14", "B3r", "B9l", "F8", "F10"}
ELSEWHERE |= {claim.id for claim in acceleration.CLAIMS}
"""Claims about other runs or other tables, with tests of their own."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("ledger") / "run", uneven=True)


@pytest.fixture(scope="module")
def ledger(folder) -> pd.DataFrame:
    return run_ledger(folder)


def check(row: pd.Series, wanted: Expected) -> None:
    assert row["ours"] == pytest.approx(wanted.value, rel=1e-8)
    assert row["n"] == wanted.n
    assert row["null"] == pytest.approx(wanted.null, rel=1e-8, abs=1e-12, nan_ok=True)
    room = wanted.slack * (wanted.high - wanted.low)
    assert row["ci_low"] == pytest.approx(wanted.low, abs=room, nan_ok=True)
    assert row["ci_high"] == pytest.approx(wanted.high, abs=room, nan_ok=True)


EXPECTED = {**without_window(), **windowed(30), **windowed(60, "-30"), **of_a_window(30)}


@pytest.mark.parametrize("id", EXPECTED)
def test_claim(folder, ledger, id):
    check(ledger.loc[id], EXPECTED[id].of(Stored(folder)))


def test_every_claim_has_a_reference(ledger):
    measured = ledger[ledger["kind"] == "measured here"]
    assert set(measured.index) == {*EXPECTED, *ELSEWHERE}
