"""The page: one HTML file that opens from disk and asks nothing of the network."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from rlvr_dynamics.claims.run_ledger import format_interval, format_value
from rlvr_dynamics.reporting.answer import answer, title
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import DASH, general, integer, number, text
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.system.foreign_text import shown
from rlvr_dynamics.system.sealed import read_parquet

LONGEST_ANSWER = 600
MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "not measured": DASH}


def render_page(
    results: Results, claims: pd.DataFrame, figures: Sequence[Any], tables: Sequence[Table]
) -> str:
    """The page as text.

    Args:
        results: What the run holds.
        claims: The ledger.
        figures: `figures.Drawn`, in order.
        tables: In order; the ledger's own table is left out here.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html").render(
        title=title(results),
        base=results.provenance.get("base"),
        answer=answer(results, claims),
        claims=[_claim(row) for row in claims.to_dict("records")],
        figures=figures,
        tables=[table for table in tables if table.name != "claims"],
        examples=example_answers(results),
        stages=_stages(results.provenance),
        provenance=_flatten(results.provenance, leave_out=("stages", "base")),
        next_command=next_command(results),
        seed=results.seed,
    )


def visible(value: Any) -> Any:
    """Write out the control characters of a text that goes into a page."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _claim(row: dict[Any, Any]) -> dict[str, Any]:
    threshold = str(row["threshold"])
    return {
        **{key: text(row[key]) for key in ("id", "claim", "statistic", "n_unit", "verdict")},
        "note": row["note"] if isinstance(row["note"], str) else "",
        "threshold": threshold,
        "source": link_papers(str(row["source"])),
        "mark": MARKS[row["verdict"]],
        "kind": str(row["verdict"]).replace(" ", "-"),
        "ours": format_value(row["ours"], threshold),
        "interval": format_interval(row["ci_low"], row["ci_high"], threshold),
        "null": format_value(row["null"], threshold),
        "n": integer(row["n"]),
    }


def link_papers(source: str) -> Markup:
    """The source with arXiv numbers as links, the only addresses on the page."""
    return Markup(  # noqa: S704 - escaped before the links go in
        re.sub(
            r"arXiv (\d{4}\.\d{4,5})",
            r'<a href="https://arxiv.org/abs/\1">arXiv \1</a>',
            str(escape(shown(source))),
        )
    )


def example_answers(results: Results) -> dict[str, Any] | None:
    """The first in-domain question (by id, not by taste) as the models answered it."""
    final, benchmarks = results.final_step, results.benchmarks("in_domain")
    if not benchmarks or final is None:
        return None
    models = {
        ModelId.base(): "base",
        ModelId.checkpoint(final): f"real checkpoint of step {final}",
        ModelId("rank1_recovery", 0, final): results.method_name("rank1_recovery"),
    }
    models |= {
        ModelId("relex", observe, final): f"RELEX from the first {observe} steps"
        for observe in results.windows
    }
    question, answers = None, []
    for model, name in models.items():
        path = results.sample_path(str(model), benchmarks[0])
        if not path.exists():
            continue
        samples = read_parquet(path).sort_values(["question_id", "protocol", "sample"])
        if question is None:
            question = samples.iloc[0]
        same = samples[samples["question_id"] == question["question_id"]]
        if len(same):
            answers.append({"model": name, **_example(same.iloc[0])})
    if question is None:
        return None
    return {
        "benchmark": results.benchmark_title(benchmarks[0]),
        "prompt": _clip(question.get("prompt")),
        "gold": text(question.get("gold")),
        "protocol": text(question.get("protocol")),
        "answers": answers,
    }


def _example(sample: pd.Series) -> dict[str, str]:
    return {
        "response": _clip(sample.get("response")),
        "status": text(sample.get("status")),
        "answer": text(sample.get("answer")),
    }


def _clip(value: Any) -> str:
    shown = text(value)
    return shown if len(shown) <= LONGEST_ANSWER else shown[:LONGEST_ANSWER] + " …"


def _stages(provenance: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, time and key of each stage, and the total."""
    stages = provenance.get("stages") or {}
    order = ["prepare", "train", "measure", "extrapolate", "score", "report"]
    names = sorted(stages, key=lambda name: (order.index(name) if name in order else 9, name))
    rows = [
        (name, _duration(stages[name].get("seconds")), text(stages[name].get("key")))
        for name in names
    ]
    known = [stages[name]["seconds"] for name in names if stages[name].get("seconds") is not None]
    return [*rows, ("together", _duration(sum(known)), "")] if known else rows


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return DASH
    if seconds < 120:
        return f"{number(seconds, 1)} s"
    return f"{number(seconds / 60, 1)} min" if seconds < 7200 else f"{number(seconds / 3600, 1)} h"


def _flatten(
    values: Mapping[str, Any], prefix: str = "", leave_out: tuple[str, ...] = ()
) -> list[tuple[str, str]]:
    """A nested mapping as (dotted name, value) rows, in the order it was written."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if key in leave_out:
            continue
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{name}.")
        elif isinstance(value, list | tuple):
            rows.append((name, ", ".join(str(item) for item in value) or "none"))
        else:
            rows.append((name, general(value, 10) if isinstance(value, float) else text(value)))
    return rows


def next_command(results: Results) -> tuple[str, str]:
    """What to type next, and why: finish what is missing, else another seed."""
    command = results.provenance.get("command")
    if not command:
        return "python -m rlvr_dynamics.run +exp=demo", "runs the demo"
    if results.missing_stages:
        parts = [part for part in shlex.split(command) if not part.startswith("stages=")]
        return shlex.join(parts), "goes on with the stages that have not run"
    dropped = ("seed=", "run_dir=", "stages=", "reuse=")
    seed = results.seed + 1
    parts = [
        re.sub(r"(?<=_seed)\d+$", str(seed), part) if part.startswith("name=") else part
        for part in shlex.split(command)
        if not part.startswith(dropped)
    ]
    folder = str(results.config.get("run_dir", "outputs/run")).rstrip("/")
    folder = re.sub(r"_seed\d+$", "", folder)
    return (
        shlex.join([*parts, f"seed={seed}", f"run_dir={folder}_seed{seed}"]),
        "repeats the run with another seed: one run cannot show how much of this is chance",
    )
