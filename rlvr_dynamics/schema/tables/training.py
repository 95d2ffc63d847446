"""Columns of the training metrics: counts of graded answers, ours, and verl's of clips."""

from rlvr_dynamics.schema.clips import DUAL_CLIPPED, POLICY_CLIPPED, VALUE_CLIPPED
from rlvr_dynamics.schema.tables.column import Column

_COUNTED = (
    ("problems", "count", "problems with graded {answers} at the step"),
    ("answers", "count", "graded {answers} at the step"),
    ("acc", "share", "{answers} that the reward's rule calls right"),
    ("acc_exact", "share", "{answers} that the grader of the scores calls right"),
    ("paid_only", "share", "{answers} right by the rule and wrong for the grader"),
    ("exact_only", "share", "{answers} right for the grader and wrong by the rule"),
    ("truncated", "share", "{answers} cut off by the token limit before an answer"),
    (
        "acc_exact_se",
        "share",
        "standard error of the share acc_exact of the {answers}: of rollouts, whose problems "
        "change, over the G problems, sqrt(G / (G − 1) Σ (r − p n)²) / N, with r right of n "
        "answers to a problem, p of all N; of a validation, over the answers to each of its "
        "problems, sqrt(Σ r (n − r) / (n − 1)) / N",
    ),
)
_OF = {
    "rollouts": "rollouts, kept or dropped, drawn from the weights of step t - 1",
    "validation": "answers to the validation problems, from the weights of step t",
}
COUNTED = tuple(
    Column(f"{prefix}/{name}", kind, formula.format(answers=answers))
    for prefix, answers in _OF.items()
    for name, kind, formula in _COUNTED
)
_OF_UPDATES = "mean over the updates of the step, at whose first no ratio differs from 1"
CLIPPED = (
    Column(
        POLICY_CLIPPED,
        "share",
        "tokens whose loss (CISPO: weight) the clip of the ratio changes, of the token or with "
        f"GSPO of the answer; {_OF_UPDATES}",
        "verl 0.9.1",
    ),
    Column(
        DUAL_CLIPPED,
        "share",
        f"tokens whose loss the dual clip changes; {_OF_UPDATES}",
        "verl 0.9.1; arXiv 1912.09729",
    ),
    Column(
        VALUE_CLIPPED,
        "share",
        "tokens whose value loss the clip of the value changes; mean over the updates of the step",
        "verl 0.9.1",
    ),
)
_JUMP = (
    ("accepted", "share", "1 if the weights jumped after the step, 0 if they stayed"),
    ("walked", "norm", "‖W − A‖, W the weights after step t and A those of the last firing"),
    ("factor", "ratio", "f of the jump to A + f (W − A); missing without one"),
    ("length", "norm", "length of the jump; missing without one"),
    ("candidates", "count", "candidates that were tried"),
    (
        "gain",
        "share",
        "accuracy of the candidate kept, or else of the last, less that before it",
    ),
    (
        "gain_lower",
        "share",
        "lower end of its one-sided interval, corrected for candidates and looks",
    ),
    ("backtest_skill", "share", "1 − SSE / SSE_hold of jumps inside the window"),
    ("rollouts", "count", "answers that the gate spent"),
    ("tokens", "count", "tokens of these answers"),
    ("sketch_seconds", "seconds", "sketch of the weights, at every step where the plan reads one"),
    ("search_seconds", "seconds", "backtest, moves and roll-backs"),
    ("validate_seconds", "seconds", "answers of the gate and their grading"),
    ("sync_seconds", "seconds", "weights sent to the rollout engine for the gate"),
    ("total_seconds", "seconds", "all of it"),
)
JUMPED = tuple(Column(f"acceleration/{name}", kind, text) for name, kind, text in _JUMP)
