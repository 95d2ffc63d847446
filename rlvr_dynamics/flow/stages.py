"""The stages of the flow, in order."""

from rlvr_dynamics.flow import behaviour, extrapolate, measure, prepare, report, score, train

ALL = [
    prepare.STAGE,
    train.STAGE,
    measure.STAGE,
    extrapolate.STAGE,
    score.STAGE,
    behaviour.STAGE,
    report.STAGE,
]
