"""Tables about function space: fixed answers under every checkpoint of the training."""

import pandas as pd

from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import DASH, general, integer, interval, number, percent
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.tables import FUNCTION_NULLS

MISSING = "Not measured: it needs the run's command with stages=[behaviour,report]."
CLOCKS = {"step": "training step", "path": "length of the path"}
WHOSE = {"base": "base's answers", "trained": "trained model's answers"}
NULL_NAMES = {"walk": "random walk", "optimizer": "optimizer's noise"}


def token_lines_table(results: Results) -> Table:
    """R² of token log-probabilities: the run and each null, all tokens and selected ones."""
    title = "Lines through the log-probability of a token"
    lines = results.behaviour("token_lines")
    if lines is None:
        return Table("token_lines", title, "", None, missing=MISSING)
    rows = []
    for line in lines.to_dict("records"):
        about = {
            "answers of": line["writer"],
            "clock": CLOCKS[line["clock"]],
            "tokens": f"moved by > 0.2 ({integer(line['tokens'])})"
            if line["selected"]
            else f"all ({integer(line['tokens'])})",
        }
        rows.append(about | {"series": "the run"} | _scores(line, ""))
        rows += [
            about | {"series": f"null: {NULL_NAMES[name]}"} | _scores(line, null.prefix)
            for name, null in FUNCTION_NULLS.items()
        ]
    path = set(lines["clock"]) == {"step"}
    note = " No path clock: steps without norms, with gaps, or that did not move." if path else ""
    return Table(
        "token_lines",
        title,
        "Medians over tokens; the same greedy answers under every checkpoint read. Kept: the share "
        "of tokens that the selection of arXiv 2601.04537 keeps, |last − first| > 0.2 nats, of the "
        "run and of the null alike; a walk that went far looks like a line, so the selection "
        "raises R² by itself. Random walk: the run's own increments with random signs. Optimizer's "
        "noise: the same, correlated as Adam's steps on noise are. From, to: of the run a "
        "bootstrap over answers, of a null the central 95 % of single walks. Held out: fitted to "
        "the first half of the checkpoints, judged on the second." + note,
        pd.DataFrame(rows),
        {
            **dict.fromkeys(["R²", "from", "to", "held-out R²"], number),
            **dict.fromkeys(["kept", "R² > 0.7"], percent),
        },
    )


def _scores(line: dict, prefix: str) -> dict[str, object]:
    return {
        "kept": line[f"{prefix}kept_share"],
        "R²": line[f"{prefix}r2"],
        "from": line[f"{prefix}r2_low"],
        "to": line[f"{prefix}r2_high"],
        "R² > 0.7": line[f"{prefix}above_share"],
        "held-out R²": line[f"{prefix}heldout_r2"],
    }


def function_table(results: Results) -> Table:
    """Log-probability, divergence from the base and entropy at the checkpoints that were read."""
    title = "Fixed answers under the checkpoints"
    table = results.behaviour("function")
    if table is None:
        return Table("function", title, "", None, missing=MISSING)
    rows = [
        {
            "answers of": writer,
            "step": row["step"],
            "log-probability": _with_interval(row, "log_prob"),
            "KL to the base": _divergence(row) if row["step"] else DASH,
            "entropy": _with_interval(row, "entropy"),
        }
        for writer in WHOSE
        for row in equal(table, writer=writer).to_dict("records")
    ]
    return Table(
        "function",
        title,
        "Means per token, nats, with a 95 % bootstrap over answers. KL and entropy: over the whole "
        "vocabulary at each position of the answers.",
        pd.DataFrame(rows),
        {"step": integer},
    )


def _with_interval(row: dict, name: str) -> str:
    span = interval(row[f"{name}_low"], row[f"{name}_high"], 4)
    return f"{number(row[name], 4)} {span}"


def _divergence(row: dict) -> str:
    """In significant digits: the first steps are within 1e-5 of the base."""
    low, high = general(row["kl_to_base_low"], 2), general(row["kl_to_base_high"], 2)
    return f"{general(row['kl_to_base'], 2)} [{low}, {high}]"
