"""Tables of accuracies: scores, recovery of the final model, overview with a row per model."""

import pandas as pd

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import (
    distinct_titles,
    integer,
    interval,
    number,
    percent,
    percent_interval,
)
from rlvr_dynamics.results.frames import equal, has, highest, select
from rlvr_dynamics.results.methods import method_rank
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import PROTOCOLS, paired_accuracy
from rlvr_dynamics.results.unread import STATUSES, in_brackets, unread_note
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.schema.tables import PASS_AT
from rlvr_dynamics.statistics.paired import GAIN, RATIO


def scores_table(results: Results) -> Table:
    """Accuracy with its interval, and the outcomes of the answers."""
    scores = results.tables["scores"]
    if scores is None:
        return absent("scores", "Scores", "scores")
    order = ["split", "benchmark", "protocol", "step", "order", "observe"]
    shown = ["title", "protocol", "method", "observe", "step", "questions", "samples", "accuracy"]
    votes = _with_ends(["pass_at_n", "majority"])
    ks = [f"pass_at_{k}" for k in PASS_AT if k < _most(scores) and has(scores, f"pass_at_{k}")]
    passes = _with_ends(ks)
    second = ["string_match", "graders_disagree"]
    rest = [
        "ci_low",
        "ci_high",
        *passes,
        *votes,
        *second,
        *STATUSES,
        "finish_length",
        "mean_tokens",
    ]
    rest += ["copied", "golds_as_text", "grader"]
    places = [method_rank(str(method)) for method in scores["method"]]
    titles = [results.benchmark_title(str(name)) for name in scores["benchmark"]]
    frame = scores.assign(order=places, title=titles).sort_values(order, na_position="first")
    frame = frame.filter(items=shown + rest).reset_index(drop=True)
    if "samples" in frame:
        # pass@n and majority@n depend on n, so rows with fewer answers do not compare.
        most = frame.groupby(["title", "protocol"])["samples"].transform("max")
        fewer = frame["samples"] < most
        frame = frame.assign(**{name: frame[name].mask(fewer) for name in votes if name in frame})
    frame["method"] = [results.method_name(str(method)) for method in frame["method"]]
    formats = {
        **dict.fromkeys(["observe", "step", "questions", "samples", *STATUSES], integer),
        **dict.fromkeys(["finish_length", "graders_disagree", "copied", "golds_as_text"], integer),
        **dict.fromkeys(
            ["accuracy", "ci_low", "ci_high", *passes, *votes, "string_match"], percent
        ),
        "mean_tokens": lambda value: number(value, 1),
    }
    headings = {
        "title": "benchmark",
        "observe": "observed to",
        "no_answer": "no answer",
        "ci_low": "from",
        "ci_high": "to",
        "pass_at_n": "pass@n",
        "majority": "majority@n",
        **{name: f"pass@{name.removeprefix('pass_at_')}" for name in ks},
        **{name: "from" for name in [*passes, *votes] if name.endswith("_low")},
        **{name: "to" for name in [*passes, *votes] if name.endswith("_high")},
        "string_match": "by spelling alone",
        "graders_disagree": "graders disagree",
        "finish_length": "at the token limit",
        "mean_tokens": "mean tokens",
        "copied": "right and in the question",
        "golds_as_text": "golds compared as text",
    }
    return Table(
        "scores",
        "Scores",
        "Accuracy (mean over the n samples of a question) with its 95 % interval (from, to): "
        "Wilson, with several samples also the bootstrap over questions. pass@k: the chance that k "
        "samples contain a correct one, unbiased, with an interval of the same kind; pass@n: "
        "questions with a correct sample; majority@n: the most frequent answer; a dash "
        "where other models gave more answers. By spelling alone: accuracy by a second grader "
        "that only compares texts, and on how many answers the two disagree. Then what became of "
        "every answer; all but the correct ones count as wrong. Right and in the question: correct "
        "answers whose text also occurs in the question, whether they were copied or worked out. "
        "Golds compared as text: reference answers of the benchmark that cannot be parsed as "
        "mathematics.",
        frame,
        formats,
        headings,
    )


def _with_ends(names: list[str]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def _most(scores: pd.DataFrame) -> int:
    """Return the largest number of samples; 1 where it is not recorded."""
    return highest(scores, "samples") if has(scores, "samples") else 1


def _in_order(scores: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return one row per model; `order` is its method's rank among the methods."""
    models = scores.drop_duplicates(["model"])
    order = [method_rank(str(method)) for method in models["method"]]
    return models.assign(order=order).sort_values(keys, na_position="first")


def accuracy_overview(results: Results) -> Table:
    """One row per model, one column per benchmark: accuracy with its interval."""
    title = "Accuracy at a glance"
    scores = results.tables["scores"]
    if scores is None:
        return absent("accuracy", title, "scores")
    found = set(scores["protocol"])
    protocol = next((name for name in PROTOCOLS if name in found), "greedy")
    rows = equal(scores, protocol=protocol).copy()
    rows["cell"] = [
        f"{percent(row['accuracy'])} {percent_interval(row.get('ci_low'), row.get('ci_high'), 0)}"
        f"{in_brackets(unread_note(results, row['model'], [row['benchmark']], protocol))}"
        for row in rows.to_dict("records")
    ]
    names = [*results.benchmarks("in_domain"), *results.benchmarks("out_of_domain")]
    models = _in_order(rows, ["step", "observe", "order"])
    cells = rows.pivot(index="model", columns="benchmark", values="cell")
    about = {
        "method": [results.method_name(str(method)) for method in models["method"]],
        "observe": models["observe"].to_numpy(),
        "step": models["step"].to_numpy(),
    }
    headings = {"observe": "observed to"}
    titles = distinct_titles(
        {name: results.benchmark_title(name) for name in names if name in cells},
        taken=[*about, *headings.values()],
    )
    columns = {
        title: cells[name].reindex(models["model"]).to_numpy() for name, title in titles.items()
    }
    frame = pd.DataFrame(about | columns)
    return Table(
        "accuracy",
        title,
        f"{protocol.capitalize()} answers, with 95 % intervals. In brackets, where there are any: "
        "responses cut at the token limit, without an answer, or given up by the grader; they "
        "count as wrong.",
        frame,
        {"observe": integer, "step": integer},
        headings,
    )


def recovery_table(results: Results) -> Table:
    """How much of the final model each stand-in reaches: plain ratio and share of the gain."""
    scores, final = results.tables["scores"], results.final_step
    if scores is None or final is None:
        return absent("recovery", "Recovery of the final model", "scores")
    full = str(ModelId.checkpoint(final))
    stand_ins = select(scores, ~scores["model"].isin([str(ModelId.base()), full]))
    models = _in_order(stand_ins, ["order", "observe", "step"])
    rows = []
    for split in ("in_domain", "out_of_domain"):
        for benchmark in results.benchmarks(split):
            for model in models.to_dict("records"):
                rows += _recovery_row(results, benchmark, model, full)
    if not rows:
        return absent("recovery", "Recovery of the final model", "scores")
    formats = {
        **dict.fromkeys(["observe", "step", "n"], integer),
        **dict.fromkeys(["accuracy", "full", "base"], percent),
        **dict.fromkeys(["ratio", "gain share"], lambda value: number(value, 3)),
    }
    return Table(
        "recovery",
        "Recovery of the final model",
        "Ratio: accuracy / accuracy of the final checkpoint (the paper's definition). Gain share: "
        "(accuracy − base) / (full − base). 95 % intervals: paired bootstrap over n questions, "
        "never narrower than two imaginary questions allow, one won and one lost. Unread: "
        "responses of the stand-in that were cut off, had no answer or stopped the grader.",
        pd.DataFrame(rows),
        formats,
        {"observe": "observed to"},
    )


def _recovery_row(
    results: Results, benchmark: str, model: dict, full: str
) -> list[dict[str, object]]:
    paired = paired_accuracy(results, [str(model["model"]), full, ModelId.base()], [benchmark])
    if paired is None:
        return []
    plain, gain = paired.compare(RATIO), paired.compare(GAIN)
    return [
        {
            "benchmark": results.benchmark_title(benchmark),
            "protocol": paired.protocol,
            "method": results.method_name(str(model["method"])),
            "observe": model["observe"],
            "step": model["step"],
            "n": paired.questions,
            "accuracy": paired.means[0],
            "unread": unread_note(results, str(model["model"]), [benchmark], paired.protocol),
            "full": paired.means[1],
            "base": paired.means[2],
            "ratio": plain.value,
            "ratio interval": interval(plain.low, plain.high),
            "gain share": gain.value,
            "gain share interval": interval(gain.low, gain.high),
        }
    ]
