"""Logits extrapolation: a line through the logits of two checkpoints, followed while decoding.

l = l_0 + (t / s) (l_s - l_0), from the base and the last observed checkpoint s. It has no weights
of its own: `scoring.extrapolated_logits` asks for it, and the stage that scores runs both models.
Source: arXiv 2601.04537. Released code: github.com/Miaow-Lab/RLVR-Linearity.
"""

from rlvr_dynamics.extrapolation.declaration import Declaration, Look
from rlvr_dynamics.schema.model_id import LOGITS
from rlvr_dynamics.system.palette import SKY

LOGITS_EXTRAPOLATION = Declaration(
    name=LOGITS,
    title="extrapolated logits",
    paper="https://arxiv.org/abs/2601.04537",
    summary="the line through the logits of base and last observed checkpoint, two models a token",
    look=Look(SKY, ">"),
)
