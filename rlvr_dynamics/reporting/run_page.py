"""The page of one run: its claims, figures, tables, answers and provenance."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from rlvr_dynamics.reporting.answer import answer
from rlvr_dynamics.reporting.build import Built
from rlvr_dynamics.reporting.in_numbers import in_numbers
from rlvr_dynamics.reporting.ledger_view import ledger_view
from rlvr_dynamics.reporting.page import (
    entry,
    methods_section,
    picture,
    plain_entry,
    section,
    write_page,
)
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import DASH, general, number, text
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.rounding import released_relex_in_words
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.stretch import stretch_in_words
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.schema.overrides import changed, value_at
from rlvr_dynamics.schema.types import STAGES
from rlvr_dynamics.system.sealed import read_parquet

NAMES = {
    "grpo": "GRPO",
    "ppo": "PPO",
    "dr_grpo": "Dr.GRPO",
    "rloo": "RLOO",
    "dapo": "DAPO",
    "gspo": "GSPO",
    "reinforce_pp": "REINFORCE++",
}
LONGEST_ANSWER = 600
NEEDS_TASK = {"score", "behaviour"}  # stages that ask questions, which `prepare` writes
CLAIMS_ABOUT = Markup(
    "A claim <b>holds</b> when the whole 95 % interval of our value meets its threshold and "
    "the null or control does not meet it as well; it <b>fails</b> when none of the "
    "interval does; otherwise it is <b>inconclusive</b>. Intervals: paired bootstrap over "
    "questions for accuracies, never narrower than two imaginary questions allow (one won, one "
    "lost). A number over the tensors of this run is no sample: it is exact for this run, its "
    "value decides, and the quartiles beside it are a spread. Every claim is judged by itself; "
    "below the ledger stands how many verdicts chance alone may have turned."
)
FIGURES_ABOUT = "What the tables of this run hold, drawn; each figure as a file for a paper."
TABLES_ABOUT = "The same numbers; csv files have all digits."


def title(results: Results) -> str:
    """Return `model x algorithm`, as far as the configuration names them."""
    model, source = results.config.model.name or "unnamed model", results.config.source
    if source.checkpoints:
        return f"Checkpoints of {source.checkpoints}"
    if source.published:
        return f"Published checkpoints of {source.published.repo} ({model})"
    algorithm = results.config.algorithm.name or "unnamed algorithm"
    return f"{model} × {NAMES.get(algorithm, algorithm)}"


def write_run_page(
    results: Results,
    claims: pd.DataFrame,
    figures: Sequence[Built],
    tables: Sequence[Built],
    path: Path,
) -> None:
    """Write the page of a run.

    Args:
        results: The run.
        claims: The ledger.
        figures: Figures, in order.
        tables: Tables, in order: the ledger first, the meaning of the columns last.
        path: Output file.
    """
    ledger, *shown, columns = [entry(item, f"table-{item.artefact.name}") for item in tables]
    said = answer(claims, unfinished(results))
    lead = picture(figures, said.figures)
    ordered = [*([lead] if lead else []), *(item for item in figures if item is not lead)]
    drawn = [
        entry(item, f"figure-{item.artefact.name}", number=f"Figure {place}")
        for place, item in enumerate(ordered, start=1)
    ]
    write_page(
        path,
        title=title(results),
        base=text(results.provenance.get("base") or ""),
        answer=said.sentence,
        lead=drawn[0] if lead else None,
        sections=[
            section(
                "claims",
                "Claims ledger",
                CLAIMS_ABOUT,
                ledger=ledger_view(
                    claims,
                    files=ledger["files"],
                    notes=[stretch_in_words(results), released_relex_in_words([results])],
                ),
            ),
            section("numbers", "In numbers", points=in_numbers(results, claims)),
            section("figures", "Figures", FIGURES_ABOUT, drawn[1 if lead else 0 :]),
            section("tables", "Tables", TABLES_ABOUT, shown),
            *methods_section([results]),
            section("columns", "Columns", entries=[columns]),
            _examples(results),
            _provenance(results.provenance),
        ],
        next_command=next_command(results),
    )


def _examples(results: Results) -> dict[str, Any]:
    """Show the models' answers to the first in-domain question (by id, not hand-picked)."""
    heading = "What the models wrote"
    final, benchmarks = results.final_step, results.benchmarks("in_domain")
    models = {}
    if benchmarks and final is not None:
        models = {
            ModelId.base(): "base",
            ModelId.checkpoint(final): f"real checkpoint of step {final}",
            ModelId("rank1_recovery", 0, final): results.method_name("rank1_recovery"),
        }
        models |= {
            ModelId("relex", observe, final): f"RELEX from the first {observe} steps"
            for observe in results.windows
        }
    question, passages = None, []
    for model, name in models.items():
        path = results.sample_path(str(model), benchmarks[0])
        if not path.exists():
            continue
        samples = read_parquet(path).sort_values(["question_id", "protocol", "sample"])
        if question is None:
            question = samples.iloc[0]
        for sample in (
            equal(samples, question_id=question["question_id"]).head(1).to_dict("records")
        ):
            read = f"{text(sample.get('status'))} (read as {text(sample.get('answer'))})"
            passages.append((f"{name}: {read}", _clip(sample.get("response"))))
    if question is None:
        missing = "Not measured: needs scores/samples (stage score)."
        return section("examples", heading, missing=missing)
    about = Markup(
        "The first question of “{}” by id, {} answers; expected: <code>{}</code>."
    ).format(
        results.benchmark_title(benchmarks[0]),
        text(question.get("protocol")),
        text(question.get("gold")),
    )
    return section(
        "examples", heading, about, passages=[("", _clip(question.get("prompt"))), *passages]
    )


def _clip(value: Any) -> str:
    shown = text(value)
    return shown if len(shown) <= LONGEST_ANSWER else shown[:LONGEST_ANSWER] + " …"


def _provenance(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Build the section with each stage's time and key, commands, versions and hardware."""
    if not provenance:
        missing = "Not recorded: provenance.json is missing."
        return section("provenance", "Provenance", missing=missing)
    times = pd.DataFrame(_stages(provenance), columns=["stage", "time", "content key"])
    recorded = _flatten(provenance, leave_out=("stages", "base"))
    rest = pd.DataFrame(recorded, columns=["name", "value"])
    tables = [
        Table("stages", "Time per stage", "", times),
        Table("recorded", "Commands, versions, hardware", "", rest),
    ]
    return section("provenance", "Provenance", entries=[plain_entry(table) for table in tables])


def _stages(provenance: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, time and key of each stage, and the total."""
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
    """Flatten a nested mapping into (dotted name, value) rows, in order."""
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


def next_command(results: Results, taken: Collection[int] = ()) -> tuple[str, str]:
    """Suggest a command that does something new, and why.

    It finishes what is missing; then checkpoints that were trained elsewhere are compared in their
    answers, and a training is repeated with another seed.

    Args:
        results: The run.
        taken: Seeds that other runs of its kind have.
    """
    command, config = results.provenance.get("command"), results.config
    if not command:
        return "python -m rlvr_dynamics.run +exp=demo", "runs the demo"
    given, missing = config.source.is_given, unfinished(results)
    if given and not missing and results.behaviour("tokens") is None:
        missing = ["behaviour"]
    if missing:
        again = _with_stages(command, results, missing)
        return again, f"goes on with the stages that have not run ({', '.join(missing)})"
    if given:
        folder = config.run_dir
        return (
            shlex.join(["python", "-m", "analysis", f"run_dirs=[{folder}]"]),
            "shows it in the papers' tables and figures; add the folders of other runs",
        )
    own = f"_seed{results.seed}"
    seed = max({results.seed, *taken}) + 1
    name, folder = config.name or "", config.run_dir.rstrip("/")
    values = {
        "seed": seed,
        "run_dir": f"{folder.removesuffix(own)}_seed{seed}",
        **{"stages": None, "reuse": None},
    }
    if name.endswith(own):
        values["name"] = f"{name.removesuffix(own)}_seed{seed}"
    return (
        changed(command, values),
        "repeats the run with another seed: one run cannot show how much of this is chance",
    )


def unfinished(results: Results) -> list[str]:
    """Return the stages that a run still lacks.

    Checkpoints trained elsewhere need no training, and a stage may have had nothing to do.
    """
    recorded = results.provenance.get("stages") or {}
    done = {name for name, stage in recorded.items() if stage.get("key")}
    if results.config.source.is_given:
        done.add("train")
    return [stage for stage in results.missing_stages if stage not in done]


def _with_stages(command: str, results: Results, missing: Sequence[str]) -> str:
    """Return a command that runs missing stages, also where its experiment leaves them out."""
    planned = results.config.stages
    if not planned or {*missing} <= {*planned}:
        return command
    if not results.config.source.is_given and value_at(shlex.split(command), "stages"):
        return changed(command, {"stages": None})
    task = ["prepare"] if NEEDS_TASK & {*missing} else []
    wanted = {*planned, *missing, *task, "report"}
    return changed(command, {"stages": f"[{','.join(name for name in STAGES if name in wanted)}]"})
