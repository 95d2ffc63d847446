"""RELEX: extrapolate the coefficients of the trajectory's leading directions.

W(t) = W_0 + Σ_i c_i(t) v_i, with v_i and c_i from the trajectory SVD of the observed steps and
each c_i continued by a least-squares line, a polynomial or a sinusoid in the step number, or (ours)
in the length of the path or the sum of the learning rates.
Source: arXiv 2605.21468. Released code: github.com/weizhepei/RELEX. That code fits on the position
in the window, which is equivalent for evenly spaced steps. Its `--window` restricts only the fit
and keeps the SVD on all steps; ours restricts both. Between two refits (`autoregressive` above 1)
it repeats one value; ours follows the curve.

Legend: T observed steps, r rank.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.fits import continue_series, polynomial_continuation, sinusoid
from rlvr_dynamics.extrapolation.on_clock import CLOCK, fewest_on_clock, on_clock
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.system.palette import VERMILLION

_SINUSOID_PARAMETERS = 4

RANK = Parameter(default=1, minimum=1, summary="directions kept; at most T exist")
DEGREE = Parameter(default=2, minimum=1, summary="degree of the polynomial fit")
WINDOW = Parameter(default=0, minimum=0, summary="use only the last so many steps; 0 for all")


def fit_degree(parameters: Mapping[str, Any]) -> int:
    """Return the degree of the fitted polynomial."""
    return 1 if parameters["fit"] == "linear" else int(parameters["degree"])


def fewest_steps(parameters: Mapping[str, Any]) -> int:
    """Return the number of observed steps that the curve and the clock need."""
    sinusoidal = parameters["fit"] == "sinusoid"
    curve = _SINUSOID_PARAMETERS if sinusoidal else fit_degree(parameters) + 1
    return fewest_on_clock(parameters, curve)


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T).

    When reconstructing, an observed target keeps its own coefficients (the projection on the
    leading directions); a target between observed steps gets the fitted ones.
    """
    import torch

    from rlvr_dynamics.dynamics import svd_of_gram

    svd = svd_of_gram(torch.from_numpy(window.gram), int(parameters["rank"]), window.steps)
    continued = _continued(window, targets, parameters, svd.coefficients)
    if reconstruct:
        for row, target in enumerate(targets):
            if target in window.steps:
                continued[row] = svd.coefficients[list(window.steps).index(target)]
    return continued @ svd.rows_to_directions


def _continued(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], coefficients: np.ndarray
) -> np.ndarray:
    """Return the coefficients at the targets, shape (targets, r)."""
    refit_after = int(parameters.get("autoregressive", 0))
    positions, ahead = on_clock(window, targets, parameters)
    if parameters["fit"] != "sinusoid":
        degree = fit_degree(parameters)
        known, wanted = tuple(positions.tolist()), tuple(ahead.tolist())
        return polynomial_continuation(known, wanted, degree, refit_after) @ coefficients

    def evaluate(steps: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return sinusoid(steps, values, wanted, window.remarks)

    return continue_series(positions, coefficients, ahead, evaluate, refit_after)


RELEX = Extrapolator(
    name="relex",
    title="RELEX",
    paper="https://arxiv.org/abs/2605.21468",
    summary="trajectory SVD of the observed steps, coefficients continued by a fitted curve",
    look=Look(VERMILLION, "^"),
    labels={
        r"relex_rank(\d+)": "RELEX, rank {}",
        "relex_polynomial": "RELEX, polynomial",
        "relex_sinusoid": "RELEX, sinusoid",
        "relex_path": "RELEX, path clock",
        "relex_optimizer": "RELEX, optimizer time",
    },
    principal=True,
    row_weights=row_weights,
    needs_gram=lambda parameters: True,
    fewest_steps=fewest_steps,
    last_steps=lambda parameters: int(parameters["window"]),
    parameters={
        "rank": RANK,
        "fit": Parameter(
            default="linear",
            choices=("linear", "polynomial", "sinusoid"),
            summary="curve through c(t)",
        ),
        "degree": DEGREE,
        "window": WINDOW,
        "autoregressive": Parameter(
            default=0, minimum=0, summary="refit after every so many predicted steps; 0 for never"
        ),
        **CLOCK,
    },
)
