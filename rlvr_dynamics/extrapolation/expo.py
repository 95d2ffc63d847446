"""ExPO: amplify the last observed update, W_s + α (W_s - W_0), whatever the target step.

α is chosen on a validation split, which is not done here: ask for one prediction per α of
`ALPHAS`, each under its own label, and keep the one that scores best there.
Source: arXiv 2404.16792. Released code: github.com/chujiezheng/LLM-Extrapolation.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator, Window
from rlvr_dynamics.extrapolation.parameters import Parameter

ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 2.0, 4.0)
"""0.1 to 0.5 suit a fully trained model (the authors advise 0.3 or 0.5). The larger ones are for
an early window: a window of a fifth of the training would need 4 to reach its end in a line."""


def label_of(alpha: float) -> str:
    """Return the label under which the prediction with an α is stored."""
    return f"expo_{alpha:g}"


def row_weights(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A with prediction = W_0 + A M, shape (targets, T): 1 + α in the last column."""
    weights = np.zeros((len(targets), len(window.steps)))
    weights[:, -1] = 1.0 + parameters["alpha"]
    return weights


EXPO = Extrapolator(
    name="expo",
    paper="https://arxiv.org/abs/2404.16792",
    summary="the last observed update, amplified by a factor chosen on a validation split",
    row_weights=row_weights,
    parameters={
        "alpha": Parameter(default=0.5, minimum=0.0, summary="how much is added, in updates")
    },
)
