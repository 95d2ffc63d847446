"""Predict later weights from earlier ones, and the reconstructions to compare them with.

An extrapolator sees only the first steps. A reconstruction sees the step it rebuilds and declares
it. Importing this package does not load torch, so the registries can be listed and checked
without it.
"""

from rlvr_dynamics.extrapolation.alpharl import ALPHARL
from rlvr_dynamics.extrapolation.average import AVERAGE
from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.borrowed import BORROWED_DIRECTION
from rlvr_dynamics.extrapolation.declaration import Declaration, Look
from rlvr_dynamics.extrapolation.expo import EXPO
from rlvr_dynamics.extrapolation.first_update import FIRST_UPDATE
from rlvr_dynamics.extrapolation.hold_last import HOLD_LAST
from rlvr_dynamics.extrapolation.logits_extrapolation import LOGITS_EXTRAPOLATION
from rlvr_dynamics.extrapolation.momentum import MOMENTUM
from rlvr_dynamics.extrapolation.neural import NEURAL
from rlvr_dynamics.extrapolation.next import NEXT
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.reconstruction import Reconstruction
from rlvr_dynamics.extrapolation.recovery import RANDOM_UPDATE, RANK1_RECOVERY, RANK_RECOVERY
from rlvr_dynamics.extrapolation.reduced_rank import REDUCED_RANK
from rlvr_dynamics.extrapolation.relex import RELEX
from rlvr_dynamics.extrapolation.relex_raw import RELEX_RAW
from rlvr_dynamics.extrapolation.rule import Window
from rlvr_dynamics.extrapolation.shrunk_relex import SHRUNK_RELEX
from rlvr_dynamics.extrapolation.stored import Prediction
from rlvr_dynamics.extrapolation.trajectory_oracle import TRAJECTORY_ORACLE
from rlvr_dynamics.extrapolation.weight_extrapolation import WEIGHT_EXTRAPOLATION

METHODS: dict[str, Declaration] = {
    each.name: each
    for each in (  # in the order of tables and figures
        HOLD_LAST,
        AVERAGE,
        RANK1_RECOVERY,
        RANDOM_UPDATE,
        BORROWED_DIRECTION,
        RANK_RECOVERY,
        TRAJECTORY_ORACLE,
        RELEX,
        NEURAL,
        SHRUNK_RELEX,
        RELEX_RAW,
        WEIGHT_EXTRAPOLATION,
        LOGITS_EXTRAPOLATION,
        EXPO,
        MOMENTUM,
        REDUCED_RANK,
        FIRST_UPDATE,
        ALPHARL,
        NEXT,
    )
}
EXTRAPOLATORS = {name: each for name, each in METHODS.items() if isinstance(each, Extrapolator)}
RECONSTRUCTIONS = {name: each for name, each in METHODS.items() if isinstance(each, Reconstruction)}

__all__ = [
    "EXTRAPOLATORS",
    "METHODS",
    "RECONSTRUCTIONS",
    "Declaration",
    "Extrapolator",
    "Look",
    "Parameter",
    "Prediction",
    "Reconstruction",
    "Window",
]
