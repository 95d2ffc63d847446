"""A run a little above every threshold, one a little below, and one whose controls pass too."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress
from scipy.stats import t as student

from rlvr_dynamics.claims import acceleration
from rlvr_dynamics.claims.judge import FAILS, HOLDS, INCONCLUSIVE, NOT_MEASURED
from rlvr_dynamics.results.frames import on_clock
from tests.support.irregular_weights import FINAL, MLP
from tests.support.ledger_outputs import run_ledger, study_ledger
from tests.support.levels_run import QUESTIONS, write_behaviour, write_levels

HOLD, FAIL, OPEN, NONE = HOLDS, FAILS, INCONCLUSIVE, NOT_MEASURED
REAL = f"step_{FINAL}"
BASE, FULL = 1_200, 3_200
NEAR = 24  # questions of 4,000, 0.6 points: a difference that is seen
WORSE, MUCH_WORSE = 56, 104  # 1.4 and 2.6 points, on the two sides of the margin of 2
UNMEASURED = ["A8", "A9", "B3r", *(claim.id for claim in acceleration.CLAIMS)]
CONTRAST = {"source": {"published": {"repo": "a/DeepSeek-R1-Distill-Qwen-7B"}}}


def right(sign: int, **other: int) -> dict[str, int]:
    """Right answers of every model, such that every claim holds (sign 1) or fails (-1).

    Controls lie just below the thresholds.
    """
    margin = WORSE if sign > 0 else MUCH_WORSE
    rank1 = FULL - 1 if sign > 0 else 3_152
    # Neither in order nor the best at the end: 10 steps' accuracy is above that of 20.
    held = {
        10: 3_110,
        20: 3_104,
        30: 3_108,
        40: 3_090,
        60: 3_112,
        80: 3_030 if sign > 0 else 3_080,
        110: 3_070,
    }
    relex = FULL - (30 if sign > 0 else 150)  # room for other methods on both sides of it
    found = {
        **{"base": BASE, REAL: FULL, "step_150": FULL - WORSE},  # levelled off, by the margin
        **{f"step_{step}": count for step, count in held.items()},
        f"rank1_recovery__{REAL}": rank1,
        f"random_update__{REAL}": 3_100,
        f"borrowed_direction__{REAL}": FULL - margin,
        f"recovery_1_percent__{REAL}": rank1,
        **{f"rank1_recovery__step_{step}": held[step] - margin for step in (40, 110)},
        f"subspace_2__{REAL}": rank1 - sign * NEAR,
        f"subspace_3__{REAL}": rank1 - 400,
        f"rank1_scaled_0_7__{REAL}": rank1 - margin,
        f"rank1_scaled_0_4__{REAL}": 1_500,
        f"trajectory_oracle__{REAL}": FULL - margin,
        f"rank1_r2_window_1__{REAL}": 2_000 + sign * NEAR,
        f"rank1_r2_window_7__{REAL}": 2_000,
        f"alpharl__observe_20__{REAL}": held[20] + sign * NEAR,
        **{
            f"{name}__observe_80__{REAL}": 3_104 if sign > 0 else 3_044
            for name in ("alpharl", "alpharl_released", "alpharl_chosen")
        },
        "rank1_recovery__step_80": held[80] - margin,
        "relex__observe_30__step_250": relex - sign * 2 * NEAR,
        "relex__observe_30__step_300": relex + sign * NEAR,
        "relex__observe_60__step_300": FULL - margin + sign * NEAR,
    }
    for observe in (10, 20, 30, 60):
        reached = relex if observe == 30 else FULL - margin
        found[f"relex__observe_{observe}__{REAL}"] = reached
        found[f"relex_raw__observe_{observe}__{REAL}"] = reached - sign * NEAR
    at = f"__observe_30__{REAL}"
    for method in ("relex_rank5", "relex_rank10", "relex_polynomial", "relex_sinusoid", "neural"):
        found[f"{method}{at}"] = relex + margin
    found[f"weight_extrapolation_path{at}"] = FULL - margin
    for method in ("weight_extrapolation", "alpharl", "logits_extrapolation"):
        found[f"{method}{at}"] = relex - sign * NEAR
    found["logits_extrapolation__observe_200__step_300"] = FULL + sign * NEAR
    found[f"first_update{at}"] = FULL - margin
    # ExPO is compared with the held checkpoint and with RELEX.
    found[f"expo{at}"] = held[30] + NEAR if sign > 0 else relex + 30
    return found | other


def columns(sign: int) -> dict[str, float]:
    """Levels of the weights' tables, such that every claim holds or fails; nulls just below."""

    def near(threshold: float, by: float) -> float:
        return threshold + sign * by

    return {
        **{"explained_variance": near(0.814, 0.006), "null_mean": 0.813, "null_high": 0.805},
        **{"optimizer_null_mean": 0.8135, "optimizer_null_high": 0.8065},
        **{f"optimizer_{name}_null_mean": 0.9796 for name in ("r2", "heldout_r2")},
        **{f"optimizer_{name}_null_high": 0.976 for name in ("r2", "heldout_r2")},
        **{"sigma1": np.sqrt(near(0.814, 0.001) / (1 - near(0.814, 0.001))), "sigma_rest": 1.0},
        **{"r2": near(0.98, 0.001), "r2_null_mean": 0.9795, "r2_null_high": 0.975},
        **{"heldout_r2": near(0.98, 0.001), "heldout_r2_null_mean": 0.9795},
        "heldout_r2_null_high": 0.975,
        **{"pls_r2_mlp": near(0.9, 0.006), "pls_r2_attention": near(0.9, 0.004)},
        **{"pls_null_high": 0.893, "walk_mean": 0.8935, "walk_high": 0.895},
        **{"pls_loo_r2": near(0.9, 0.005), "ceiling": 1.0, "ceiling_spread": 0.0, "r2_error": 0.0},
        **{"partial": near(0.3, 0.01), "partial_null": 0.295, "partial_walk_high": 0.299},
        **{"share_1": near(0.193, 0.001), "share_1_null": 0.1754},
        **{"share_1%": near(0.365, 0.001), "share_1%_null": 0.3318},
        **{"norm_share": near(0.193, 0.001), "norm_share_null": 0.0328},
        **{"skill_relex": near(0, 0.01), "skill_momentum": near(0, 0.01)},
        "skill_relex_path": near(0, 0.01),
        **{"weights_above": near(0.7, 0.004), "weights_r2": near(0.7, 0.003)},
        "weights_null": 0.698,
        **{"cosine": near(0.35, 0.01), "held_cosine": 0.35, "magnitude_ratio": near(1, 0.01)},
        **{"oracle_1": near(0.9, 0.005), "oracle_3": 0.9 - sign * 0.3},
        **{"changed_share": 0.3 - sign * 0.005, "rank_used": near(0.9, 0.005)},
        **{"base_cosine_left": 0.3, "base_cosine_left_null": near(0.3, 0.03)},
        **{"base_cosine_right": 0.31, "base_cosine_right_null": 0.31 - sign * 0.01},
    }


def behaviour(sign: int) -> dict[str, float]:
    found = {"agreement": 0.9 + sign * 0.005, "perplexity": 0.9 + sign * 0.005}
    found |= {"guided": 0.9 + sign * 0.005, "alone": 0.898, "embedding": 0.99 + sign * 0.001}
    return found | {"early": sign * 0.01, "lines": 0.7 + sign * 0.005, "noise": 0.698}


def spread_sigmas(run: Path) -> None:
    """Components 2 to 5 share what component 1 leaves, and two more are no part of five."""
    path = run / "measure" / "trajectory_svd.parquet"
    table = pd.read_parquet(path)
    moved = table["sigma"] > 0
    table.loc[moved & table["index"].between(2, 5), "sigma"] = 0.5
    table.loc[moved & (table["index"] > 5), "sigma"] = 0.4
    table.to_parquet(path)


def write(folder: Path, sign: int, levels: dict[str, float] | None = None, **config) -> Path:
    run = write_levels(folder, right(sign), columns(sign) | (levels or {}), **config)
    spread_sigmas(run)
    write_behaviour(run, behaviour(sign))
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("levels")


@pytest.fixture(scope="module")
def above(place) -> Path:
    return write(place / "above", 1)


@pytest.fixture(scope="module")
def below(place) -> Path:
    return write(place / "below", -1)


def verdicts(run: Path, out: Path) -> pd.Series:
    """The verdicts on a run, which its report and a study of it alone share."""
    study = study_ledger([run], out).query("kind == 'measured here'")["verdict"]
    assert study.to_dict() == run_ledger(run)["verdict"].loc[study.index].to_dict()
    return study


def test_a_little_above_every_threshold_every_claim_holds(above, tmp_path):
    found = verdicts(above, tmp_path / "out")
    expected = dict.fromkeys(UNMEASURED, NONE) | {"A2m": OPEN}
    expected["F9"] = FAIL  # it says the opposite of B2h: there the line does not forecast
    assert found[found != HOLD].to_dict() == expected


def test_a_little_below_every_threshold_every_claim_fails(below, tmp_path):
    found = verdicts(below, tmp_path / "out")
    # A ratio between the bars of A3 and A3e, which are close to each other.
    expected = dict.fromkeys(UNMEASURED, NONE) | {"A2m": OPEN, "A3e": OPEN}
    expected |= {"P0": HOLD, "P1": HOLD}
    assert found[found != FAIL].to_dict() == expected


def test_an_error_of_six_per_cent_is_above_five(place, tmp_path):
    right_ = {"base": BASE, REAL: FULL, f"alpharl__observe_80__{REAL}": 3_008}
    run = write_levels(place / "error", right_, {})
    assert study_ledger([run], tmp_path / "out").loc["A3e", "verdict"] == FAIL


# Where the controls reach the thresholds too, nothing is shown


PASSED = {
    f"random_update__{REAL}": FULL - 4,
    "step_80": 3_112,
    "step_30": FULL - 60,
    "step_20": FULL - 60,
    "step_10": FULL - 60,
    "step_60": FULL - 60,
}
NULLS = {
    **{"null_mean": 0.8145, "r2_null_mean": 0.9805, "r2_null_high": 0.9808},
    **{"heldout_r2_null_mean": 0.9805, "heldout_r2_null_high": 0.9808},
    **{"walk_mean": 0.9005, "walk_high": 0.902, "weights_null": 0.701},
}
BESIDE_A_CONTROL = {"A1", "A1b", "A1p", "A2", "A3", "A3e", "A12", "B10", "F8", "B2p", "B2hp"}
BESIDE_A_CONTROL |= {"A3r", "A3c", "F11", "F11m", "F11q"}
BESIDE_A_CONTROL |= {"A2m"}  # of one run it always is
BESIDE_A_CONTROL |= {"B1f", "B2", "B2h", "B3", "B3o", "B3-30", "B3o-30", "B3x10", "B3x20", "O1"}


def test_where_its_control_passes_too_a_claim_is_open(place, tmp_path):
    others = {f"alpharl__observe_20__{REAL}": PASSED["step_20"] + NEAR}
    forms = ("alpharl", "alpharl_released", "alpharl_chosen")
    others |= {f"{name}__observe_80__{REAL}": PASSED["step_80"] + NEAR for name in forms}
    others |= {"rank1_recovery__step_80": PASSED["step_80"] - WORSE}
    others |= {f"expo__observe_30__{REAL}": PASSED["step_30"] + NEAR}
    others |= {f"relex__observe_30__{REAL}": FULL}
    others |= {"relex__observe_30__step_300": FULL + NEAR}
    run = write_levels(
        place / "passed",
        right(1, **PASSED, **others),
        columns(1) | NULLS,
    )
    spread_sigmas(run)
    write_behaviour(run, behaviour(1) | {"alone": 0.902, "noise": 0.702})
    found = verdicts(run, tmp_path / "out").drop("F9")
    assert set(found[found == OPEN].index) == BESIDE_A_CONTROL
    assert set(found[found != OPEN]) == {HOLD, NONE}


def test_without_a_gain_no_claim_about_accuracy_holds(place, tmp_path):
    """What they measure is there all the same, and claims about weights are judged as ever."""
    run = write_levels(place / "lost", right(1, base=FULL + NEAR), columns(1))
    spread_sigmas(run)
    found = verdicts(run, tmp_path / "out")
    weights = {"A2", "A2h", "A2s", "A6", "A6p", "B1", "B1f", "B2", "B2h", "B6", "B6-30", "B6p"}
    weights |= {"B7", "B7-30", "B7p", "B11", "B12", "B13", "F1", "F2", "F3", "F7"}
    weights |= {"B2p", "B2hp", "P1", "F11", "F11m", "F11q"}
    assert set(found[found == HOLD].index) == weights
    accuracy = ["A1", "A1b", "A3", "B3", "B3o", "B3-30", "B4", "B4-30", "B5", "B5-30"]
    assert set(found[accuracy]) == {OPEN}
    assert found["P0"] == FAIL
    reasons = run_ledger(run).loc[accuracy, "note"]
    assert reasons.str.contains("no gain to recover").all()


def test_where_training_goes_on_no_claim_about_its_end_holds(place, tmp_path):
    run = write_levels(place / "rising", right(1, step_150=FULL - MUCH_WORSE), columns(1))
    spread_sigmas(run)
    found = verdicts(run, tmp_path / "out")
    about_the_end = {"B3", "B3o", "B3-30", "B3o-30", "B3x10", "B3x20", "B4", "B4-30", "F4", "F6"}
    about_the_end |= {"A3", "A3r", "A3c", "A3e", "F4p", "F10"}
    assert set(found[found == OPEN].index) == about_the_end | {"A2m"} and found["P1"] == FAIL
    note = run_ledger(run).loc["B3", "note"]
    assert "training had not levelled off: its last quarter gained +2.6 points [+2.1, +3.1]" in note
    # What does not even match a training that goes on fails all the same.
    worse = write_levels(place / "worse", right(-1, step_150=FULL - MUCH_WORSE), columns(1))
    found = run_ledger(worse).loc[sorted(about_the_end), "verdict"]
    assert dict(found[found != FAIL]) == {"A3e": OPEN}  # its bar lies below that of A3


@pytest.mark.parametrize(
    ("a_step", "verdict"), [(0.0, HOLD), (0.00039, OPEN), (0.00041, OPEN), (0.004, FAIL)]
)
def test_without_a_checkpoint_the_line_of_the_accuracies_tells_whether_it_rose(
    place, a_step, verdict
):
    """Rising by 0, 1.95, 2.05 and 20 points in the last quarter (50 steps), ± 0.5 of noise."""
    run = write_levels(place / f"y{a_step}", {"base": BASE, REAL: FULL}, {})
    step = np.arange(1, FINAL + 1)
    accuracy = np.where(step < 150, 0.1, 0.5 + a_step * step + 0.005 * (-1.0) ** step)
    (run / "train").mkdir()
    pd.DataFrame({"step": step, "rollouts/acc_exact": accuracy}).to_parquet(
        run / "train" / "metrics.parquet"
    )
    row = run_ledger(run).loc["P1"]
    assert row["verdict"] == verdict and row["n"] == 51 and row["n_unit"] == "steps"
    fitted = linregress(step[149:], 100 * accuracy[149:])
    half = student.ppf(0.975, 49) * fitted.stderr * 50
    assert row["ours"] == pytest.approx(-50 * fitted.slope)
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * half)


def test_old_tables_are_judged_by_the_null_that_they_have(above, tmp_path):
    """Before the optimizer's null, random walks alone were the null, and the row says so."""
    for name in ("linearity", "trajectory_svd"):
        (tmp_path / "measure").mkdir(exist_ok=True)
        table = pd.read_parquet(above / "measure" / f"{name}.parquet")
        old = [column for column in table if not str(column).startswith("optimizer")]
        table[old].to_parquet(tmp_path / "measure" / f"{name}.parquet")
    rows = run_ledger(tmp_path).loc[["B1", "B1f", "B2", "B2p", "B2h", "B2hp"]]
    assert set(rows["verdict"]) == {HOLD}
    assert rows["note"].str.contains("random walks alone are the null").all()
    assert not run_ledger(above).loc[rows.index, "note"].str.contains("walks alone").any()


@pytest.mark.parametrize("higher", ["walk", "optimizer"])
def test_the_higher_null_counts(place, tmp_path, higher):
    start = "" if higher == "walk" else "optimizer_"
    nulls = {f"{start}null_mean": 0.8145, f"{start}null_high": 0.9}
    nulls |= {f"{start}{name}_null_mean": 0.9805 for name in ("r2", "heldout_r2")}
    nulls |= {f"{start}{name}_null_high": 0.99 for name in ("r2", "heldout_r2")}
    run = write_levels(place / f"null of {higher}", {"base": BASE}, columns(1) | nulls)
    spread_sigmas(run)
    rows = run_ledger(run).loc[["B1", "B1f", "B2", "B2p", "B2h", "B2hp"]]
    assert rows["null"].tolist() == pytest.approx([0.8145, 0.8145, 1, 1, 1, 1])
    # B1 asks that most tensors lie above the band itself, so inside it the claim fails.
    assert rows["verdict"].tolist() == [FAIL, *[OPEN] * 5]


def test_a_gain_of_a_few_questions_is_one(place):
    run = write_levels(place / "few", {"base": FULL - NEAR, REAL: FULL}, {})
    row = run_ledger(run).loc["P0"]
    assert row["verdict"] == HOLD and row["n"] == QUESTIONS
    assert row["ours"] == pytest.approx(100 * NEAR / QUESTIONS)


@pytest.mark.parametrize(("sign", "verdict"), [(1, FAIL), (-1, HOLD)])
def test_claims_about_other_training_are_judged_from_the_other_side(place, tmp_path, sign, verdict):
    """A8 and A9 say that rank 1 is less there, by the same bars."""
    run = write(place / f"contrast{sign}", sign, **CONTRAST)
    table = study_ledger([run], tmp_path / "out")
    assert list(table.loc[["A8", "A9"], "verdict"]) == [verdict] * 2
    assert table.loc["A8", "ours"] == pytest.approx(
        1 - right(sign)[f"rank1_recovery__{REAL}"] / FULL
    )
    assert table.loc["A9", "ours"] == pytest.approx(-sign * 0.001 / 0.0328)
    assert table.loc["A8", "n"] == QUESTIONS and table.loc["A9", "n"] == 21
    assert set(table.loc[["A1", "A6", "B3"], "verdict"]) == {NONE}


def test_behaviour_is_measured_as_said(above, tmp_path):
    ids = ["A10", "A11", "A12", "A13", "A14", "F8"]
    table = study_ledger([above], tmp_path / "out").loc[ids]
    assert table["ours"].tolist() == pytest.approx([0.905, 0.905, 0.905, 0.991, 0.01, 0.705])
    assert table["n"].tolist() == [70, 70, 60, 2, 70, 41]
    # 1 - high, 1 - low; two logarithms apart; as stored; of two tokens; minus the null.
    own, other = (
        np.log(2.715 + np.array([-0.001, 0, 0.002])),
        np.log(3 + np.array([-0.001, 0, 0.002])),
    )
    below = np.hypot(own[1] - own[0], other[2] - other[1])
    beyond = np.hypot(own[2] - own[1], other[1] - other[0])
    ratio = 0.905 * np.exp([-below, beyond])
    low = [0.903, ratio[0], 0.903, 0.99095, 0.009, 0.704]
    high = [0.906, ratio[1], 0.908, 0.99105, 0.012, 0.707]
    assert table["ci_low"].tolist() == pytest.approx(low)
    assert table["ci_high"].tolist() == pytest.approx(high)
    assert table.loc[["A12", "F8"], "null"].tolist() == pytest.approx([0.898, 0.698])
    assert table["null"].drop(["A12", "F8"]).isna().all()


@pytest.mark.parametrize(("count", "verdict"), [(12, HOLD), (11, FAIL)])
@pytest.mark.parametrize(("id", "name"), [("B2", "r2"), ("B2h", "heldout_r2")])
def test_most_tensors_are_more_than_half(tmp_path, above, id, name, count, verdict):
    """The tensors of a run are all there are: 12 of 23 are most of them."""
    (tmp_path / "measure").mkdir()
    table = on_clock(pd.read_parquet(above / "measure" / "linearity.parquet"))
    table[name] = np.where(np.arange(len(table)) < count, 0.981, 0.979)
    table[f"{name}_null_mean"] = np.where(np.arange(len(table)) < 9, 0.981, 0.9)
    table[f"{name}_null_high"] = 0.97
    table.to_parquet(tmp_path / "measure" / "linearity.parquet")
    row = run_ledger(tmp_path).loc[id]
    assert row["ours"] == pytest.approx(count / 23) and row["null"] == pytest.approx(9 / 23)
    assert row["verdict"] == verdict
    table[f"{name}_null_mean"] = np.where(np.arange(len(table)) < 12, 0.981, 0.9)
    table.to_parquet(tmp_path / "measure" / "linearity.parquet")
    assert run_ledger(tmp_path).loc[id, "verdict"] == (OPEN if verdict == HOLD else verdict)


def test_mlp_is_told_from_attention(above):
    table = pd.read_parquet(above / "measure" / "pls.parquet")
    assert set(table.loc[table["module"].isin(MLP), "r2"].dropna().round(9)) == {0.906}


@pytest.mark.parametrize(
    ("raw", "ceiling", "spread", "error", "verdict"),
    [
        (0.86, 0.89, 0.01, 0.01, HOLD),  # 0.966 without the noise, which alone forbids 0.9
        (0.86, 0.89, 0.1, 0.01, OPEN),  # or 0.87, if the noise is as small as it may be
        (0.86, 0.89, 0.01, 0.04, OPEN),  # or the noise happened to follow u1
        (0.86, 1.0, 0.0, 0.01, FAIL),
        (0.5, -0.2, 0.1, 0.1, OPEN),  # nothing but noise to explain
    ],
)
def test_linearity_with_accuracy_is_judged_without_the_noise_of_the_accuracies(
    above, tmp_path, raw, ceiling, spread, error, verdict
):
    (tmp_path / "measure").mkdir()
    table = pd.read_parquet(above / "measure" / "pls.parquet").assign(
        r2=raw,
        r2_null_high=raw - 0.1,
        r2_walk_mean=raw - 0.1,
        r2_walk_high=raw - 0.05,
        r2_ceiling=ceiling,
        r2_ceiling_low=ceiling - spread,
        r2_ceiling_high=ceiling + spread,
        r2_error=error,
        r2_corrected=raw / ceiling if ceiling > 0 else np.nan,
    )
    table.to_parquet(tmp_path / "measure" / "pls.parquet")
    row = run_ledger(tmp_path).loc["A2"]
    assert row["verdict"] == verdict
    assert f"R² {raw:.3f}" in row["note"] or ceiling < 0
    assert ("below 0.9 before the correction" in row["note"]) is (ceiling < 0.9)
    # A table of an earlier version has no noise, and says so.
    old = table[[name for name in table if "ceiling" not in name and "corrected" not in name]]
    old.to_parquet(tmp_path / "measure" / "pls.parquet")
    row = run_ledger(tmp_path).loc["A2"]
    assert row["ours"] == pytest.approx(raw) and "noise of y(t) is unknown" in row["note"]


def test_the_control_of_alpharl_is_the_better_of_two(place):
    counts = {"base": BASE, REAL: FULL, f"alpharl__observe_80__{REAL}": FULL - 10}
    counts |= {"step_80": 2_900, "rank1_recovery__step_80": 3_000}
    rows = run_ledger(write_levels(place / "two", counts, {})).loc[["A3", "A3e", "A3i-40"]]
    assert rows["null"].tolist() == pytest.approx([3_000 / FULL, 3_000 / FULL, 2.5])
    said = "controls: real checkpoint of step 80 0.906, rank-1 update, rescaled of step 80 0.938"
    assert rows.loc["A3", "note"].count(said) == 1
    counts |= {f"alpharl__observe_80__{REAL}": 3_010}
    alone = write_levels(place / "one", {**counts, "rank1_recovery__step_110": 1}, {})
    assert run_ledger(alone).loc["A3i-40", "verdict"] == HOLD
