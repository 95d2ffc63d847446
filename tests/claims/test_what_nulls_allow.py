"""What a run cannot show decides nothing: noise above the nulls, runs that stand still or decay."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.claims.alpharl_left_vectors import CLAIMS as LEFT
from rlvr_dynamics.claims.judge import FAILS, HOLDS, INCONCLUSIVE, NOT_MEASURED, judge
from rlvr_dynamics.claims.ledger import CLAIMS
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import Cell
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.schema.tables import TABLES

BY_ID = {claim.id: claim for claim in (*CLAIMS, *LEFT)}


def cell(name: str, reward: str = "exact", **tables: pd.DataFrame) -> Cell:
    config = RecordedConfig.model_validate({"data": {"reward": reward}})
    return Cell(name, Results(Path(name), config, {}, dict.fromkeys(TABLES) | tables))


def pls(**columns: float) -> pd.DataFrame:
    rows = 12
    fitted = {"r2": 0.92, "loo_r2": 0.9, "r2_null_high": 0.2, "r2_walk_mean": 0.3}
    noise = {"r2_ceiling": 1.0, "r2_ceiling_low": 1.0, "r2_ceiling_high": 1.0, "r2_error": 0.0}
    partial = {"partial_r2": 0.1, "partial_r2_null_high": 0.2, "partial_r2_walk_mean": 0.1}
    row = fitted | noise | partial | {"r2_walk_high": 0.4, "partial_r2_walk_high": 0.2}
    row |= {"step_r2": 0.5, "step_loo_r2": 0.5, "noise_sd": 0.05, "noise_source": "counted"}
    row |= columns
    row["r2_corrected"] = row["r2"] / row["r2_ceiling"]
    row["loo_r2_corrected"] = row["loo_r2"] / row["r2_ceiling"]
    return pd.DataFrame({"tensor": [f"t{i}" for i in range(rows)], "module": "q_proj", **row})


@pytest.mark.parametrize(
    ("ceiling", "a2", "a2s"),
    [
        (1.0, HOLDS, FAILS),
        (0.38, INCONCLUSIVE, INCONCLUSIVE),  # below the walks' 0.4, and below what steps explain
    ],
)
def test_noise_that_hides_even_a_perfect_relation_fails_nobody(ceiling, a2, a2s):
    noisy = {f"r2_ceiling{end}": ceiling for end in ("", "_low", "_high")}
    run = cell("run", pls=pls(**noisy, r2=0.92 * ceiling, loo_r2=0.9 * ceiling))
    assert judge(BY_ID["A2"], [run]).verdict == a2
    assert judge(BY_ID["A2s"], [run]).verdict == a2s


def components(variance: float, null: float) -> pd.DataFrame:
    rows = [
        {"tensor": name, "index": place, "sigma": sigma, "explained_variance": variance}
        for name in ("a", "b")
        for place, sigma in enumerate((9.0, 1.0, 1.0, 1.0, 1.0), 1)
    ]
    return pd.DataFrame(rows).assign(null_mean=null, null_high=null, dtype="float32")


def test_where_nothing_moved_no_null_is_the_highest():
    still = cell("still", trajectory_svd=components(0.9, math.nan))
    found = judge(BY_ID["B1f"], [still])
    assert math.isnan(found.null) and found.value.value == pytest.approx(81 / 85)


@pytest.mark.parametrize(("reward", "verdict"), [("constant", HOLDS), ("random", INCONCLUSIVE)])
def test_weight_decay_alone_is_no_control(reward, verdict):
    run = cell("run", trajectory_svd=components(0.95, 0.8))
    control = cell("control", reward, trajectory_svd=components(0.999, 0.8))
    assert control.control == f"{reward}_rewards"
    assert judge(BY_ID["B1"], [run], [control]).verdict == verdict
    assert np.isnan(judge(BY_ID["B1"], [run], [control]).control) == (reward == "constant")


def weight_lines(**of_papers: object) -> pd.DataFrame:
    row = {"clock": "step", "points": 31, "sampled": 900, "largest": 2.9e-5, "dtype": "float32"}
    row |= {"r2": 0.8, "r2_low": 0.6, "r2_high": 0.9, "heldout_r2": 0.1, "kept_share": 0.5}
    row |= {"above_share": 0.75, "weights": 400, "r2_null_mean": 0.5, "above_share_null_mean": 0.3}
    papers = row | {"selection": "paper"} | of_papers
    return pd.DataFrame([row | {"selection": "half"}, papers])


def test_where_no_weight_moved_as_far_as_the_paper_asks_the_row_says_so():
    nothing = {"weights": 0, "kept_share": 0.0, "r2": math.nan, "above_share": math.nan}
    run = cell("small", weight_lines=weight_lines(**nothing))
    for id in ("F11", "F11m"):
        found = judge(BY_ID[id], [run])
        assert found.verdict == NOT_MEASURED
        assert found.notes == (
            "no sampled weight moved more than 1e-4 and took 4 values: of 900 the farthest moved "
            "2.9e−5",
        )
    assert judge(BY_ID["F11q"], [run]).value.value == 0.75
    before = judge(BY_ID["F11"], [cell("before")])
    assert before.verdict == NOT_MEASURED and "weight_lines.parquet" in before.notes[0]


@pytest.mark.parametrize(("optimizer", "verdict"), [(0.6, HOLDS), (0.8, INCONCLUSIVE)])
def test_weights_that_noise_draws_as_straight_show_nothing(optimizer, verdict):
    run = cell("run", weight_lines=weight_lines(optimizer_above_share_null_mean=optimizer))
    found = judge(BY_ID["F11"], [run])
    assert found.verdict == verdict and found.null == optimizer


@pytest.mark.parametrize(("above", "verdict"), [(3, HOLDS), (2, INCONCLUSIVE), (None, HOLDS)])
def test_a_share_of_the_norm_counts_only_above_what_gaussian_matrices_scatter_to(above, verdict):
    """Five matrices of 1.2 times chance, of which some have a null that reaches 1.3 times."""
    shares = {"step": 9, "rank": "1", "norm_share": 0.12, "norm_share_null": 0.1}
    rows = pd.DataFrame([{"tensor": f"t{i}", "module": "q_proj", **shares} for i in range(5)])
    if above is not None:
        rows["norm_share_null_high"] = [0.11] * above + [0.13] * (5 - above)
    found = judge(BY_ID["A6"], [cell("run", rank_shares=rows)])
    assert found.value.value == pytest.approx(1.2) and found.verdict == verdict
    counted = f"{above} of 5 matrices lie above their null's band" in found.notes
    assert counted == (above is not None)
