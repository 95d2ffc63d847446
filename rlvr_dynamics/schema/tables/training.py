"""The columns that this project adds to verl's training metrics: counts of graded answers."""

from rlvr_dynamics.schema.tables.column import Column

_COUNTED = (
    ("problems", "count", "problems with graded {answers} at the step"),
    ("answers", "count", "graded {answers} at the step"),
    ("acc", "share", "{answers} that the reward's rule calls right"),
    ("acc_exact", "share", "{answers} that the grader of the scores calls right"),
    ("paid_only", "share", "{answers} right by the rule and wrong for the grader"),
    ("exact_only", "share", "{answers} right for the grader and wrong by the rule"),
    ("truncated", "share", "{answers} cut off by the token limit before an answer"),
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
