"""RELEX: extrapolate the coefficients of the trajectory's leading directions.

W(t) = W_0 + Σ_i c_i(t) v_i, with v_i and c_i from the trajectory SVD of the observed steps and
each c_i continued by a least-squares line (or polynomial) in the step number.
Source: arXiv 2605.21468. Released code: github.com/weizhepei/RELEX, which fits on the position in
the window; on evenly spaced steps the two are the same.

Legend: T observed steps, r rank.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator, Parameter, Window
from rlvr_dynamics.extrapolation.fits import polynomial_smoother


def fit_degree(parameters: Mapping[str, Any]) -> int:
    """Return the degree of the fitted polynomial."""
    return 1 if parameters["fit"] == "linear" else int(parameters["degree"])


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T).

    When reconstructing, a target that was observed keeps its own coefficients (the projection on
    the leading directions); one between observed steps gets the fitted ones.
    """
    import torch

    from rlvr_dynamics.dynamics import svd_of_gram

    svd = svd_of_gram(torch.from_numpy(window.gram), int(parameters["rank"]), window.steps)
    smoother = polynomial_smoother(window.steps, targets, fit_degree(parameters))
    if reconstruct:
        smoother = np.where(
            np.isin(targets, window.steps)[:, None],
            targets[:, None] == window.steps[None, :],
            smoother,
        )
    return smoother @ svd.coefficients @ svd.rows_to_directions


RELEX = Extrapolator(
    name="relex",
    paper="https://arxiv.org/abs/2605.21468",
    summary="trajectory SVD of the observed steps, coefficients continued by a fitted line",
    row_weights=row_weights,
    needs_gram=True,
    fewest_steps=lambda parameters: fit_degree(parameters) + 1,
    parameters={
        "rank": Parameter(default=1, minimum=1, summary="directions kept; at most T exist"),
        "fit": Parameter(
            default="linear", choices=("linear", "polynomial"), summary="curve through c(t)"
        ),
        "degree": Parameter(default=2, minimum=1, summary="degree of the polynomial fit"),
    },
)
