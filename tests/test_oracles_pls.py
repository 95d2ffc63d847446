"""Agreement of PLS with what AlphaRL's released code answers on a tiny trajectory.

The reference answers lie in a folder beside the checkout; without it these tests are skipped.
Their decomposition is in float32: their u1 is good to 1e-7 over the relative gap of the first two
singular values (0.01 and more), and the R² moves by as much as 1.3e-5 with it.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.dynamics import feature_kernel, fit_pls, pls_r2

ORACLES = Path(__file__).resolve().parents[2] / "shared" / "oracles"
pytestmark = pytest.mark.skipif(
    not ORACLES.is_dir(), reason=f"reference answers not found in {ORACLES}"
)


@pytest.fixture(scope="module")
def trajectory():
    return Trajectory.open(ORACLES / "trajectory" / "base", ORACLES / "trajectory")


@pytest.fixture(scope="module")
def alpharl():
    return json.loads((ORACLES / "alpharl_expected.json").read_text())


def name_of(key):
    """Turn `layer_0_self_attn_q_proj.weight` into the checkpoint's tensor name."""
    _, layer, module = key.split("_", 2)
    block = "self_attn" if module.startswith("self_attn") else "mlp"
    return f"model.layers.{layer}.{block}.{module.removeprefix(block + '_')}"


def aligned_leading_vectors(trajectory, name, steps):
    """Return σ1, shape (T,), and u1, shape (T, m), aligned from the last step to the first."""
    base = trajectory.tensor(0, name).float()
    sigma, vectors = [], []
    for step in steps:
        delta = (trajectory.tensor(step, name).float() - base).double()
        u, values, _ = torch.linalg.svd(delta, full_matrices=False)
        sigma.append(float(values[0]))
        vectors.append(u[:, 0].numpy())
    for row in range(len(steps) - 2, -1, -1):
        if vectors[row] @ vectors[row + 1] < 0:
            vectors[row] = -vectors[row]
    return np.array(sigma), np.array(vectors)


def test_in_sample_r2(trajectory, alpharl):
    accuracy = np.array(alpharl["accuracy"])
    assert {name_of(key) for key in alpharl["pls"]} == set(trajectory.block_matrices)
    for key, expected in alpharl["pls"].items():
        _, u = aligned_leading_vectors(trajectory, name_of(key), range(1, 13))
        r2 = expected["pls_r2_u_steps1_12"]
        assert fit_pls(u, accuracy).r2 == pytest.approx(r2, abs=3e-5), key
        assert pls_r2(feature_kernel(u), accuracy) == pytest.approx(r2, abs=3e-5), key


def test_predicted_update_at_full_accuracy(trajectory, alpharl):
    accuracy = np.array(alpharl["accuracy"])[:5]
    for key, expected in alpharl["pls"].items():
        sigma, u = aligned_leading_vectors(trajectory, name_of(key), range(1, 6))
        predicted = fit_pls(sigma[:, None] * u, accuracy).invert(1.0)
        norm = expected["predicted_scaled_u_norm_steps1_5_y1"]
        assert np.linalg.norm(predicted) == pytest.approx(norm, rel=1e-5), key
