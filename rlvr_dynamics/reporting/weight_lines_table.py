"""Lines through single weights, of the run and of every null, by selection."""

import pandas as pd

from rlvr_dynamics.reporting.clock_table import CLOCKS, NULL_NAMES
from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import Formatter, integer, number, percent
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.tables import LINEAR_SCORES, NULL_WALKS, PAPERS_MOVE, WEIGHT_NULLS

KEPT = {
    "all": "all that changed",
    "paper": f"moved by > {PAPERS_MOVE:g}, 4 values",
    "half": "the half that moved most",
}
HEADINGS = dict(zip(LINEAR_SCORES, ("kept", "R²", "R² > 0.7", "held-out R²"), strict=True))


def weight_lines_table(results: Results) -> Table:
    """R² of single weights against every clock, beside noise that is selected alike."""
    title = "Are single weights linear in the step?"
    lines = results.tables["weight_lines"]
    if lines is None:
        return absent("weight_lines", title, "weight_lines")
    rows = []
    for line in lines.to_dict("records"):
        about = {
            "clock": CLOCKS[line["clock"]],
            "weights": KEPT[line["selection"]],
        }
        scores = {heading: line[score] for score, heading in HEADINGS.items()}
        ends = {"from": line["r2_low"], "to": line["r2_high"]}
        rows.append(about | {"series": "the run", "n": line["weights"]} | scores | ends)
        for walk in WEIGHT_NULLS:
            of = {score: NULL_WALKS[walk].of_score(score) for score in LINEAR_SCORES}
            scores = {heading: line[f"{of[score]}_mean"] for score, heading in HEADINGS.items()}
            ends = {end: line[f"{of['r2']}_{place}"] for end, place in BAND.items()}
            rows.append(about | {"series": f"null: {NULL_NAMES[walk]}"} | scores | ends)
    formats: dict[str, Formatter] = dict.fromkeys(["R²", "from", "to", "held-out R²"], number)
    first = lines.iloc[0]
    return Table(
        "weight_lines",
        title,
        f"Medians over {integer(first['sampled'])} weights of {integer(first['tensors'])} tensors, "
        f"{integer(first['points'])} points with the base, read as {first['dtype']}; at most 500 "
        "of a tensor, which count for the 0.1 % of it that arXiv 2601.04537 samples. The paper "
        "keeps the weights that moved by more than 1e-4 and took 4 values; a walk that went far "
        "looks like a line, so the selection raises R² by itself, and the nulls are selected "
        "alike. "
        "Independent steps: every weight's own increments with random signs. Optimizer's noise: "
        "the same, correlated as the optimizer's steps on noise are. "
        "From, to: of the run the quartiles over weights, of a null the central 95 % of the "
        "medians of single walks. Held out: fitted to the first half of the points, judged on the "
        "second.",
        pd.DataFrame(rows),
        formats | {"n": integer} | dict.fromkeys(["kept", "R² > 0.7"], percent),
    )


BAND = {"from": "low", "to": "high"}
