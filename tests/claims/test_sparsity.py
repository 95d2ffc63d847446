"""F1 on bfloat16 weights, by arXiv 2505.11711's own rule; and what a run measured earlier gives."""

import pandas as pd
import pytest

from rlvr_dynamics.claims.follow_up import CLAIMS
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.schema.tables import TABLES

SPARSITY = next(claim for claim in CLAIMS if claim.id == "F1")
SIZES = {"embed": 900, "norm": 100}


def measured(norms, sizes=None, dtype="float32"):
    last = pd.DataFrame({"tensor": list(SIZES), "step": 9, **norms})
    early = last.assign(step=4, **dict.fromkeys(norms, 0.0))
    svd = pd.DataFrame({"tensor": list(SIZES), "index": 1, "dtype": dtype})
    if sizes:
        svd["d"] = list(sizes.values())
    tables = dict.fromkeys(TABLES) | {"norms": pd.concat([last, early]), "trajectory_svd": svd}
    found = SPARSITY.of(Results("run", RecordedConfig(), {}, tables))
    return found


def test_it_is_the_share_of_all_weights_by_the_papers_rule():
    shares = {"changed_share": [1.0, 0.8], "bfloat16_changed_share": [0.1, 0.5]}
    found = measured(shares | {"bfloat16_differing_share": [0.2, 0.5]}, SIZES)
    assert found.value.value == pytest.approx(1 - (900 * 0.1 + 100 * 0.5) / 1000)
    # Half of the weights, not of the tensors, lies between the ends.
    assert found.value[1:] == pytest.approx((0.9, 0.9))
    assert (found.n, found.n_unit) == (2, "tensors")
    assert found.facts == (
        "2.0 % equal the base's in float32",
        "77.0 % equal it in bfloat16, without the tolerance",
    )


def test_a_run_measured_before_has_the_share_as_stored_and_says_so():
    assert measured({"changed_share": [0.9, 0.7]}) is None  # float32 hides nothing
    found = measured({"changed_share": [0.9, 0.7]}, dtype="bfloat16")
    assert found.value.value == pytest.approx(1 - 0.8)
    assert found.facts == (
        "in bfloat16, as stored and without the tolerance, which was not measured",
        "mean over tensors, whose sizes are not on record",
    )
