"""What a run's tables say about the updates of a step and about its clips."""

import math

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.reporting.update_tables import clips_table, updates_table
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.updates import clips_of_run, moved
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.schema.tables import TABLES

RATE, STEPS = 1e-5, 6
LABELS = {"module": "q_proj", "layer": 0}
ALGORITHM = {
    "learning_rate": RATE, "loss_mode": "vanilla", "clip_ratio_low": 0.2, "clip_ratio_high": 0.28,
    "clip_ratio_c": 10.0, "critic": {"learning_rate": 1e-5},
}  # fmt: skip
TRAINER = {"prompts_per_step": 16, "mini_batch_prompts": 16, "critic_mini_batch_prompts": 4}


def results(config=None, **tables) -> Results:
    given = {"algorithm": ALGORITHM, "trainer": TRAINER} | (config or {})
    whole = dict.fromkeys(TABLES) | tables
    return Results(None, RecordedConfig.model_validate(given), {}, whole)  # pyright: ignore


def weights(bits, norms, shares):
    """Tables of two matrices, of 100 and 300 weights, and of an embedding that is left out."""
    sizes = {"a": 100, "b": 300}
    exponents = [
        {"tensor": name, **LABELS, "exponent": -4, "count": size, "bits": bits}
        for name, size in sizes.items()
    ]
    rows = [
        {"tensor": name, **LABELS, "step": step}
        | {"step_norm": norms.get(name, 9.0), "step_changed_share": shares.get(name, 1.0)}
        for name in (*sizes, "embedding")
        for step in range(1, STEPS + 1)
    ]
    return {"norms": pd.DataFrame(rows), "exponents": pd.DataFrame(exponents)}


def test_float32_files_tell_by_the_distance():
    # Every weight of both moves by four learning rates in each step.
    far = {"a": 4 * RATE * math.sqrt(100), "b": 4 * RATE * math.sqrt(300)}
    found = moved(results(**weights(23, far, {})))
    assert not found.by_share and found.declared == 1
    np.testing.assert_allclose(found.observed, 4.0)
    assert found.low == pytest.approx(4.0, rel=0.02) and found.high > 16


def test_coarser_files_tell_by_the_share_of_all_weights():
    found = moved(results(**weights(7, {}, {"a": 0.5, "b": 0.1})))
    assert found.by_share and found.bits == 7
    np.testing.assert_allclose(found.observed, 0.2)
    # An ulp of 2^-11 is 49 learning rates: the first update of one direction never crosses half.
    assert (found.coherent[0] == 0.0).all() and found.coherent[-1].sum() == STEPS
    assert 1 < found.low < found.high


def test_a_warm_up_of_the_run_is_part_of_what_adam_would_do():
    far = {"a": RATE * math.sqrt(100), "b": RATE * math.sqrt(300)}
    ramp = moved(results({"algorithm": ALGORITHM | {"warmup_steps": 4}}, **weights(23, far, {})))
    np.testing.assert_allclose(ramp.coherent[0], [0.0, 0.25, 0.5, 0.75, 1.0, 1.0])


def test_a_foreign_trajectory_needs_a_learning_rate():
    far = {"a": 4 * RATE * math.sqrt(100), "b": 4 * RATE * math.sqrt(300)}
    foreign = {"base": "somewhere", "checkpoints": "elsewhere"}
    unknown = results({"source": foreign}, **weights(23, far, {}))
    assert moved(unknown) is None and clips_of_run(unknown) == ()
    assert "source.learning_rate" in updates_table(unknown).missing
    given = results({"source": foreign | {"learning_rate": 2 * RATE}}, **weights(23, far, {}))
    assert moved(given).declared is None
    (row,) = updates_table(given).frame.to_dict("records")
    assert row["configured"] is None
    assert (row["at least"], row["observed"]) == pytest.approx((2.0, 2.0), rel=0.02)
    assert updates_table(results()).missing.startswith("Not measured: needs measure/norms.parquet")


def test_each_clip_has_its_count_and_whether_it_could_act():
    counts = {"actor/pg_clipfrac": [0.0, 0.0], "actor/pg_clipfrac_lower": [0.0, 0.0]}
    metrics = pd.DataFrame({"step": [1, 2], **counts, "critic/vf_clipfrac": [0.0, 0.25]})
    rows = clips_table(results(metrics=metrics)).frame.set_index("clip")
    assert list(rows["can act"].str[:2]) == ["no", "no", "no", "ye"]
    value = rows.loc["a value that moved by more than 0.5"]
    assert (value["mean"], value["highest"]) == (0.125, 0.25)
    # Metrics that verl does not write for a loss are missing, not 0.
    bare = clips_table(results(metrics=metrics[["step"]])).frame
    assert bare["mean"].isna().all()
    # A run of before the settings were recorded says nothing about its clips.
    assert clips_table(results({"trainer": {}}, metrics=metrics)).frame is None
