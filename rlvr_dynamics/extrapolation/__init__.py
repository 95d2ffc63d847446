"""Predicting later weights from earlier ones, and the reconstructions they are judged against.

An extrapolator sees the first steps only. A reconstruction sees the step it rebuilds, and says so.
Importing this package needs no torch: the registries can be listed and checked without it.
"""

from rlvr_dynamics.extrapolation.base import Extrapolator, Parameter, Prediction, Window
from rlvr_dynamics.extrapolation.hold_last import HOLD_LAST
from rlvr_dynamics.extrapolation.recovery import RANDOM_UPDATE, RANK1_RECOVERY, Reconstruction
from rlvr_dynamics.extrapolation.relex import RELEX
from rlvr_dynamics.extrapolation.relex_raw import RELEX_RAW

EXTRAPOLATORS: dict[str, Extrapolator] = {
    "relex": RELEX,
    "relex_raw": RELEX_RAW,
    "hold_last": HOLD_LAST,
}

RECONSTRUCTIONS: dict[str, Reconstruction] = {
    "rank1_recovery": RANK1_RECOVERY,
    "random_update": RANDOM_UPDATE,
}

__all__ = [
    "EXTRAPOLATORS",
    "RECONSTRUCTIONS",
    "Extrapolator",
    "Parameter",
    "Prediction",
    "Reconstruction",
    "Window",
]
