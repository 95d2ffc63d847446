"""What a run cannot show decides nothing: noise above the nulls, runs that stand still or decay."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.claims.alpharl_left_vectors import CLAIMS as LEFT
from rlvr_dynamics.claims.judge import FAILS, HOLDS, INCONCLUSIVE, judge
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
