"""The first sentence of a page: which clauses the verdicts of a ledger give, and which picture."""

import pandas as pd
import pytest

from rlvr_dynamics.claims.judge import (
    DEPENDS,
    FAILS,
    HOLDS,
    INCONCLUSIVE,
    NO_GAIN,
    NOT_LEVEL,
    NOT_MEASURED,
    NULL_PASSES,
)
from rlvr_dynamics.claims.ledger import CLAIMS, MEASURED_HERE
from rlvr_dynamics.reporting.answer import answer

WINDOW = "step 9 of 60 (first 15 %)"
RELEX = "Here RELEX from the first 15 % of the steps"
RATES = (
    "lr 1e-05 x 60 steps: holds, −0.7 (3 runs); lr 3e-05 x 60 steps: inconclusive, −1.5 (3 runs); "
    "lr 1e-04 x 60 steps: fails, −62.0 (3 runs)"
)


def ledger(**given: object) -> pd.DataFrame:
    """Return a ledger in which every claim is unmeasured but the given ones.

    A value is a verdict, or a verdict with a note, and the ends of the interval where they matter.
    """
    rows = []
    for claim in CLAIMS:
        found = given.get(claim.id.replace("-", "_"), NOT_MEASURED)
        verdict, note, low, regimes = (*((found,) if isinstance(found, str) else found), *[""] * 3)[
            :4
        ]
        low = claim.threshold.value + 1 if low == "" else low
        rows.append(
            {
                "id": claim.id,
                "kind": MEASURED_HERE,
                "claim": claim.words,
                "verdict": verdict,
                "note": f"{WINDOW}; {note}" if note else WINDOW,
                "ours": claim.threshold.value + 2,
                "ci_low": low,
                "interval_over": "questions of the one run",
                "by_learning_rate": regimes,
            }
        )
    return pd.DataFrame(rows)


def said(**given: object) -> str:
    return answer(ledger(**given)).sentence


def test_relex_the_line_and_the_rate_in_one_sentence():
    assert said(P0=HOLDS, B3=HOLDS, F4=HOLDS, B3r=FAILS) == (
        f"{RELEX} reaches the trained accuracy; so does a straight line through two checkpoints, "
        "and as many real steps at a higher learning rate get at least as far."
    )
    assert said(P0=HOLDS, B3=FAILS, F4=FAILS) == (
        f"{RELEX} does not reach the trained accuracy; neither does a straight line through two "
        "checkpoints."
    )
    assert "; a straight line through two checkpoints does." in said(B3=FAILS, F4=HOLDS)


def test_what_was_not_measured_is_not_said():
    assert said(P0=HOLDS, B3=HOLDS) == f"{RELEX} reaches the trained accuracy."
    assert said(P0=HOLDS) == "Here RL lifted the accuracy."
    empty = answer(ledger(), ["measure", "score"])
    assert empty.sentence == (
        "Nothing that the papers claim has been measured here yet: measure, score have not run."
    )
    assert empty.figures == ()


def test_inconclusive_is_said_and_its_reason_where_the_judge_has_one():
    assert said(B3=INCONCLUSIVE, F4=INCONCLUSIVE) == (
        "Whether RELEX from the first 15 % of the steps or a straight line through two checkpoints "
        "reaches the trained accuracy is inconclusive here."
    )
    assert "but so does the checkpoint it stops at" in said(B3=(INCONCLUSIVE, NULL_PASSES))
    risen = f"{NOT_LEVEL}: its last quarter gained +5.0 points"
    assert "but training had not levelled off" in said(B3=(INCONCLUSIVE, risen))
    # A reason that lowers a claim says nothing where the claim did not hold in the first place.
    assert "is inconclusive here" in said(B3=(INCONCLUSIVE, risen, -3.0))


def test_without_a_gain_nothing_is_said_of_predictions():
    lost = (INCONCLUSIVE, NO_GAIN)
    found = said(P0=FAILS, B3=lost, F4=lost, A1b=lost, B2h=FAILS)
    assert found == (
        "Here RL did not lift the accuracy, so there is no gain to predict; a line through the "
        "first half of the path of the weights does not predict the second."
    )
    # Runs of a study that were left out for it are no reason.
    left_out = (HOLDS, f"1 run left out: {NO_GAIN}")
    assert said(B3=left_out) == f"{RELEX} reaches the trained accuracy."


def test_regimes_that_differ_are_named_by_the_rate_that_divides_them():
    both = (INCONCLUSIVE, DEPENDS, "", RATES)
    assert said(B3=both, F4=both) == (
        f"{RELEX} reaches the trained accuracy up to a learning rate of 1e-05 and not from 1e-04 "
        "on; so does a straight line through two checkpoints."
    )
    mixed = RATES.replace("1e-04", "1e-06")
    assert "in some regimes and not in others" in said(B3=(INCONCLUSIVE, DEPENDS, "", mixed))


def test_checkpoints_without_scores_are_judged_by_their_weights():
    found = answer(ledger(B6=FAILS, B1=FAILS, B2h=(INCONCLUSIVE, NULL_PASSES)))
    assert found.sentence == (
        f"{RELEX} is no closer to the last weights than the checkpoint it stops at; one direction "
        "carries most of the path of the weights, but no more than noise gives it, and a line "
        "through the first half of that path predicts the second, but so it does for noise."
    )
    assert found.figures[0] != "method_accuracy"
    assert answer(ledger(P0=HOLDS, B3=HOLDS, B1=HOLDS)).figures[1] == "method_accuracy"


@pytest.mark.parametrize(("high", "said_so"), [(0.9, True), (1.1, False), (float("nan"), False)])
def test_jumps_beside_the_tuned_rate(high, said_so):
    found = answer(ledger(B14=FAILS, B14t=FAILS).assign(ci_high=high)).sentence
    assert ("are cheaper than all of them" in found) == said_so


def test_jumps_are_counted_and_other_claims_quoted():
    assert said(B14=FAILS, F12=FAILS, O2=HOLDS) == (
        "Here no jump of the weights saves as much training as its paper says; jumping behind the "
        "gate costs no accuracy."
    )
    assert said(B14=FAILS, F12=HOLDS).startswith(
        "Here 1 of 2 jumps of the weights saves as much training as papers say"
    )
    assert said(B14=INCONCLUSIVE, F12=FAILS, F13=FAILS).startswith(
        "Here 2 of 3 jumps of the weights do not save as much training as papers say"
    )
    assert answer(ledger(P0=HOLDS, B14=FAILS)).figures[0] == "acceleration"
    quoted = said(A8=HOLDS)
    assert quoted.startswith("Here “After fine-tuning, distillation") and quoted.endswith(
        "” holds."
    )


@pytest.mark.parametrize("verdict", [HOLDS, FAILS, INCONCLUSIVE])
def test_every_claim_alone_makes_one_sentence_without_an_interval(verdict):
    for claim in CLAIMS:
        found = said(**{claim.id.replace("-", "_"): verdict})
        assert found.endswith(".") and "[" not in found and "not measured" not in found
