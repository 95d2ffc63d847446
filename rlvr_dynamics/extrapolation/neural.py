"""RELEX with a small neural network instead of a line: c(t) from a multilayer perceptron.

An ablation of arXiv 2605.21468, whose network is neither described nor in the released code. Ours
has one hidden ReLU layer, so it extrapolates linearly beyond the last observed step. Steps and
coefficients are standardised. Equal seeds give equal networks.

Legend: T observed steps, r rank.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.relex import RANK, WINDOW
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import ORANGE


def network_values(
    steps: np.ndarray, coefficients: np.ndarray, targets: np.ndarray, hidden: int, seed: int
) -> np.ndarray:
    """Fit a network from step number to coefficients and evaluate it.

    Args:
        steps: Step numbers, shape (T,), at least two.
        coefficients: Shape (T, r); constant ones stay constant.
        targets: Step numbers to evaluate at, shape (targets,).
        hidden: Units in the hidden layer.
        seed: Seed of the initial weights.

    Returns:
        Shape (targets, r), float64.
    """
    from sklearn.neural_network import MLPRegressor

    mean, spread = coefficients.mean(axis=0), coefficients.std(axis=0)
    moving = spread > 1e-12 * np.abs(coefficients).max(axis=0, initial=0.0)
    result = np.tile(mean, (len(targets), 1))
    if not moving.any():
        return result
    network = MLPRegressor(
        hidden_layer_sizes=(hidden,),
        activation="relu",
        solver="lbfgs",
        alpha=1e-4,
        max_iter=500,
        tol=1e-5,
        random_state=seed,
    )
    scaled = (coefficients - mean)[:, moving] / spread[moving]
    centre, width = steps.mean(), steps.std()
    # scikit-learn expects a single series without a second axis.
    network.fit(((steps - centre) / width)[:, None], scaled if moving.sum() > 1 else scaled[:, 0])
    found = np.asarray(network.predict(((targets - centre) / width)[:, None]))
    result[:, moving] = mean[moving] + spread[moving] * found.reshape(len(targets), -1)
    return result


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T).

    When reconstructing, a target inside the window gets the network's value there.
    """
    import torch

    from rlvr_dynamics.dynamics import svd_of_gram

    svd = svd_of_gram(torch.from_numpy(window.gram), int(parameters["rank"]), window.steps)
    hidden, seed = int(parameters["hidden"]), int(parameters["seed"])
    found = network_values(window.steps, svd.coefficients, targets, hidden, seed)
    return found @ svd.rows_to_directions


NEURAL = Extrapolator(
    name="neural",
    title="RELEX, neural network",
    paper="https://arxiv.org/abs/2605.21468",
    summary="trajectory SVD of the observed steps, coefficients continued by a small network",
    look=Look(ORANGE, "p"),
    row_weights=row_weights,
    needs_gram=lambda parameters: True,
    fewest_steps=lambda parameters: 3,
    last_steps=lambda parameters: int(parameters["window"]),
    parameters={
        "rank": RANK,
        "hidden": Parameter(default=16, minimum=1, summary="units of the hidden layer"),
        "seed": Parameter(default=0, minimum=0, summary="seed of the network's start"),
        "window": WINDOW,
    },
)
