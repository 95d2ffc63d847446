"""Which value of a method's grid was chosen on the validation problems."""

from collections import Counter

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import integer, percent
from rlvr_dynamics.results.methods import method_rank
from rlvr_dynamics.results.run import Results


def selection_table(results: Results) -> Table:
    """Every candidate of every grid with its accuracy on the validation problems."""
    title = "Grids, decided on validation problems"
    selection = results.tables["selection"]
    if selection is None:
        return absent("selection", title, "selection")
    places = [method_rank(str(method)) for method in selection["candidate_of"]]
    frame = selection.assign(order=places).sort_values(["order", "observe", "step"], kind="stable")
    shown = ["candidate_of", "observe", "step", "method", "questions", "samples"]
    frame = frame.filter(items=[*shown, "accuracy", "ci_low", "ci_high", "chosen"])
    for column in ("candidate_of", "method"):
        frame[column] = [results.method_name(str(method)) for method in frame[column]]
    frame["chosen"] = ["chosen" if chosen else "" for chosen in frame["chosen"]]
    groups = Counter(zip(frame["candidate_of"], frame["observe"], frame["step"], strict=True))
    return Table(
        "selection",
        title,
        f"Problems held out of training; up to {max(groups.values())} candidates for each method, "
        "window and target. The most accurate is chosen, the first of equals, and it alone meets "
        "the benchmarks, so the choice does not flatter its accuracy there. Here it does: the "
        "intervals are not corrected for it.",
        frame.reset_index(drop=True),
        {
            **dict.fromkeys(["observe", "step", "questions", "samples"], integer),
            **dict.fromkeys(["accuracy", "ci_low", "ci_high"], percent),
        },
        {
            "candidate_of": "method",
            "observe": "observed to",
            "method": "candidate",
            "ci_low": "from",
            "ci_high": "to",
        },
    )
