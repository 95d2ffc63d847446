"""Predicting later weights from earlier ones, and the reconstructions they are judged against.

An extrapolator sees the first steps only. A reconstruction sees the step it rebuilds, and says so.
Importing this package needs no torch: the registries can be listed and checked without it.
"""

from rlvr_dynamics.extrapolation.alpharl import ALPHARL
from rlvr_dynamics.extrapolation.base import Extrapolator, Window
from rlvr_dynamics.extrapolation.expo import EXPO
from rlvr_dynamics.extrapolation.first_update import FIRST_UPDATE
from rlvr_dynamics.extrapolation.hold_last import HOLD_LAST
from rlvr_dynamics.extrapolation.momentum import MOMENTUM
from rlvr_dynamics.extrapolation.neural import NEURAL
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.reconstruction import Reconstruction
from rlvr_dynamics.extrapolation.recovery import RANDOM_UPDATE, RANK1_RECOVERY, RANK_RECOVERY
from rlvr_dynamics.extrapolation.relex import RELEX
from rlvr_dynamics.extrapolation.relex_raw import RELEX_RAW
from rlvr_dynamics.extrapolation.shrunk_relex import SHRUNK_RELEX
from rlvr_dynamics.extrapolation.stored import Prediction
from rlvr_dynamics.extrapolation.trajectory_oracle import TRAJECTORY_ORACLE
from rlvr_dynamics.extrapolation.weight_extrapolation import WEIGHT_EXTRAPOLATION

EXTRAPOLATORS: dict[str, Extrapolator] = {
    "relex": RELEX,
    "relex_raw": RELEX_RAW,
    "shrunk_relex": SHRUNK_RELEX,
    "neural": NEURAL,
    "alpharl": ALPHARL,
    "weight_extrapolation": WEIGHT_EXTRAPOLATION,
    "expo": EXPO,
    "hold_last": HOLD_LAST,
    "momentum": MOMENTUM,
    "first_update": FIRST_UPDATE,
}

RECONSTRUCTIONS: dict[str, Reconstruction] = {
    "rank1_recovery": RANK1_RECOVERY,
    "rank_recovery": RANK_RECOVERY,
    "random_update": RANDOM_UPDATE,
    "trajectory_oracle": TRAJECTORY_ORACLE,
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
