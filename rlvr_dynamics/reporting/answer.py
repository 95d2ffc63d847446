"""The answer of a page: one sentence, made by rule from the verdicts of its ledger.

The same rules serve a run, a study and checkpoints that were trained elsewhere. A clause stands
only where its claim was measured; `inconclusive` is said as such. Numbers stay in the rest of the
page.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from rlvr_dynamics.claims import acceleration
from rlvr_dynamics.claims.in_words import IN_WORDS
from rlvr_dynamics.claims.judge import (
    CONTROL_PASSES,
    DEPENDS,
    FAILS,
    HOLDS,
    INCONCLUSIVE,
    NO_GAIN,
    NOT_LEVEL,
    NOT_MEASURED,
    NULL_PASSES,
)
from rlvr_dynamics.claims.ledger import BY_ID, MEASURED_HERE
from rlvr_dynamics.reporting.outcome import Outcome

MOST_CLAUSES = 3
LINE = "a straight line through two checkpoints"
LIFTED = "RL lifted the accuracy"
RATES = "as many real steps at a higher learning rate"
ACCURACY_FIGURES = ("regime_map", "method_accuracy", "reward_and_accuracy")
WEIGHT_FIGURES = ("regime_map", "null_bands", "coefficients")
GAIN_FIGURES = ("reward_and_accuracy", "regime_map")
JUMP_FIGURES = ("acceleration", "reward_and_accuracy")


@dataclass(frozen=True)
class Answer:
    """The first thing that a page says.

    Attributes:
        sentence: One sentence.
        figures: Names of the figures that show it, the best first.
    """

    sentence: str
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Clause:
    words: str
    figures: tuple[str, ...]


Ledger = Callable[[str], Outcome]


def answer(claims: pd.DataFrame, lacking: Sequence[str] = ()) -> Answer:
    """Compose the sentence.

    Args:
        claims: The result of `ledger_of_run` or `build_ledger`.
        lacking: Stages that have not run; named where nothing was measured.
    """
    rows = {str(row["id"]): row for row in claims.to_dict("records")}

    def of(id: str) -> Outcome:
        return Outcome(rows.get(id))

    measured = [
        row
        for row in rows.values()
        if row["kind"] == MEASURED_HERE and row["verdict"] != NOT_MEASURED
    ]
    chosen = [*_accuracy(of), *_jumps(of), *_weights(of)]
    if len(chosen) > 1 and chosen[0].words == LIFTED:  # what follows says more
        chosen = chosen[1:]
    chosen = chosen or [
        _Clause(f"“{row['claim'].rstrip('.')}” {IN_WORDS[row['verdict']][0]}", ACCURACY_FIGURES)
        for row in measured[:2]
    ]
    if not chosen:
        why = f": {', '.join(lacking)} {_have(lacking)} not run" if lacking else ""
        return Answer(f"Nothing that the papers claim has been measured here yet{why}.")
    chosen = chosen[:MOST_CLAUSES]
    first, *others = [clause.words for clause in chosen]
    first = f"W{first[1:]} here" if first.startswith("whether") else f"Here {first}"
    joined = "; ".join(others[:1]) + (f", and {others[1]}" if others[1:] else "")
    return Answer(f"{first}{'; ' if joined else ''}{joined}.", chosen[0].figures)


def _have(stages: Sequence[str]) -> str:
    return "has" if len(stages) == 1 else "have"


def _accuracy(of: Ledger) -> Iterator[_Clause]:
    """Yield what accuracies say: predictions first, then the rank-1 update."""
    lifted = of("P0").verdict
    about = [of(id).verdict for id in ("B3", "F4", "A3", "A1b")]
    if NO_GAIN in about or not {*about} - {NOT_MEASURED}:
        words = {
            HOLDS: LIFTED,
            FAILS: "RL did not lift the accuracy, so there is no gain to predict",
            DEPENDS: f"RL lifted the accuracy {of('P0').where}",
            CONTROL_PASSES: "the accuracy rose, but so it did in runs without a signal",
            INCONCLUSIVE: "whether RL lifted the accuracy is inconclusive",
            NOT_MEASURED: NO_GAIN if NO_GAIN in about else "",
        }.get(lifted)
        if words:
            yield _Clause(words, GAIN_FIGURES)
    relex, line = of("B3"), of("F4")
    who = f"RELEX from {relex.window}"
    same = relex.verdict == line.verdict
    if same and relex.verdict == INCONCLUSIVE:
        yield _reach(f"{who} or {LINE}", relex)
        relex = line = Outcome(None)
    if relex.says:
        yield _reach(who, relex)
    if line.says:
        yield _beside(line, relex)
    yield from _of_each(
        of("B3r"),
        {
            HOLDS: f"RELEX is more accurate than {RATES}",
            FAILS: f"{RATES} get at least as far",
            DEPENDS: f"RELEX is more accurate than {RATES} {of('B3r').where}",
            INCONCLUSIVE: f"whether {RATES} get further is inconclusive",
        },
        ACCURACY_FIGURES,
    )
    if not relex.says:
        alpharl = of("A3")
        yield from _of_each(
            alpharl, _kept("AlphaRL from 40 % of the steps", "96 % of the accuracy", alpharl)
        )
    rank1 = of("A1b")
    yield from _of_each(rank1, _kept("the rank-1 part of the update", "99 % of the gain", rank1))


def _reach(who: str, row: Outcome) -> _Clause:
    words = {
        HOLDS: f"{who} reaches the trained accuracy",
        FAILS: f"{who} does not reach the trained accuracy",
        DEPENDS: f"{who} reaches the trained accuracy {row.where}",
        NULL_PASSES: f"{who} reaches the trained accuracy, but so does the checkpoint it stops at",
        NOT_LEVEL: f"{who} comes as far as the last checkpoint, but training had not levelled off",
        INCONCLUSIVE: f"whether {who} reaches the trained accuracy is inconclusive",
    }
    return _Clause(words.get(row.verdict, words[INCONCLUSIVE]), ACCURACY_FIGURES)


def _beside(line: Outcome, relex: Outcome) -> _Clause:
    """Say what becomes of the line, in few words where the clause before is about RELEX."""
    short = {
        (HOLDS, HOLDS): f"so does {LINE}",
        (FAILS, FAILS): f"neither does {LINE}",
        (HOLDS, FAILS): f"{LINE} does not",
        (FAILS, HOLDS): f"{LINE} does",
        (NOT_LEVEL, NOT_LEVEL): f"so does {LINE}",
    }
    words = short.get((relex.verdict, line.verdict))
    if relex.verdict == line.verdict == DEPENDS and relex.where == line.where:
        words = f"so does {LINE}"
    return _Clause(words, ACCURACY_FIGURES) if words else _reach(LINE, line)


def _kept(who: str, what: str, row: Outcome) -> dict[str, str]:
    return {
        HOLDS: f"{who} keeps {what}",
        FAILS: f"{who} does not keep {what}",
        DEPENDS: f"{who} keeps {what} {row.where}",
        NULL_PASSES: f"{who} keeps {what}, but so does its control",
        NOT_LEVEL: f"{who} keeps {what}, but training had not levelled off",
        INCONCLUSIVE: f"whether {who} keeps {what} is inconclusive",
    }


def _of_each(
    row: Outcome, words: dict[str, str], figures: tuple[str, ...] = ACCURACY_FIGURES
) -> Iterator[_Clause]:
    if row.says:
        yield _Clause(words.get(row.verdict, words[INCONCLUSIVE]), figures)


def _jumps(of: Ledger) -> Iterator[_Clause]:
    """Yield whether jumps of the weights save what their papers say, and what the gate costs."""
    papers = [claim.id for claim in acceleration.CLAIMS if claim.paper != "ours"]
    found = [(id, of(id).verdict) for id in papers if of(id).verdict != NOT_MEASURED]
    holding = [id for id, outcome in found if outcome == HOLDS]
    failing = [id for id, outcome in found if outcome == FAILS]
    if found:
        counts = {
            len(holding): "every jump of the weights saves as much training as its paper says",
            len(failing): "no jump of the weights saves as much training as its paper says",
        }
        what, some = "as much training as papers say", f"of {len(found)} jumps of the weights"
        if holding:
            mixed = f"{len(holding)} {some} {'saves' if len(holding) == 1 else 'save'} {what}"
        elif failing:
            mixed = f"{len(failing)} {some} {'does' if len(failing) == 1 else 'do'} not save {what}"
        else:
            mixed = f"whether jumps of the weights save {what} is {INCONCLUSIVE}"
        yield _Clause(counts.get(len(found)) or mixed, JUMP_FIGURES)
    tuned = [row for id in papers if (row := of(f"{id}t").fields) and of(f"{id}t").says]
    if tuned and all(float(row.get("ci_high", math.nan)) < 1 for row in tuned):
        words = "plain steps at the rate chosen on validation problems are cheaper than all of them"
        yield _Clause(words, JUMP_FIGURES)
    gated = of("O2")
    yield from _of_each(
        gated,
        {
            HOLDS: "jumping behind the gate costs no accuracy",
            FAILS: "jumping behind the gate costs accuracy",
            INCONCLUSIVE: "whether jumping behind the gate costs accuracy is inconclusive",
        },
        JUMP_FIGURES,
    )


def _weights(of: Ledger) -> Iterator[_Clause]:
    """Yield what the weights alone say."""
    nearer = of("B6")
    who = "RELEX" if of("B3").says else f"RELEX from {nearer.window}"
    than = "the last weights than the checkpoint it stops at"
    yield from _of_each(
        nearer,
        {
            HOLDS: f"{who} is closer to {than}",
            FAILS: f"{who} is no closer to {than}",
            DEPENDS: f"{who} is closer to {than} {nearer.where}",
            INCONCLUSIVE: f"whether {who} is closer to {than} is inconclusive",
        },
        WEIGHT_FIGURES,
    )
    one = of("B1")
    most = "one direction carries most of the path of the weights"
    # It fails in two ways: too small a share, or no more than noise has.
    enough = one.fields is not None and BY_ID["B1"].threshold.met(one.fields["ours"])
    yield from _of_each(
        one,
        {
            HOLDS: f"{most}, more than noise gives it",
            FAILS: f"{most}, but no more than noise gives it"
            if enough
            else "one direction carries less of the path of the weights than the paper says",
            DEPENDS: f"{most} {one.where}",
            CONTROL_PASSES: f"{most}, but so it does without a signal",
            INCONCLUSIVE: f"whether {most} is inconclusive",
        },
        WEIGHT_FIGURES,
    )
    ahead = of("B2h")
    path = "that path" if one.says else "the path of the weights"
    line = f"a line through the first half of {path}"
    yield from _of_each(
        ahead,
        {
            HOLDS: f"{line} predicts the second",
            FAILS: f"{line} does not predict the second",
            DEPENDS: f"{line} predicts the second {ahead.where}",
            NULL_PASSES: f"{line} predicts the second, but so it does for noise",
            CONTROL_PASSES: f"{line} predicts the second, but so it does without a signal",
            INCONCLUSIVE: f"whether {line} predicts the second is inconclusive",
        },
        WEIGHT_FIGURES,
    )
