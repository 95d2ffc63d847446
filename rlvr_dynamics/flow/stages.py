"""The stages of the flow, in order."""

from rlvr_dynamics.flow import extrapolate, measure, prepare, report, score, train

ALL = [
    prepare.STAGE,
    train.STAGE,
    measure.STAGE,
    extrapolate.STAGE,
    score.STAGE,
    report.STAGE,
]
