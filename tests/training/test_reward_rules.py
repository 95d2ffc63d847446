"""What is paid under each rule of the data, against verl's own scorer."""

import numpy as np
import pytest

from rlvr_dynamics.training.reward import compute_score

math_dapo = pytest.importorskip("verl.utils.reward_score.math_dapo")

LONG = "We add the numbers once more. " * 12  # more than the 300 characters that the scorer reads
# Responses to a problem whose answer is 34.
RENDERINGS = [
    "Answer: 34",
    "So it is 34.\nAnswer: 34",
    "answer : $34$",
    "Answer: $\\boxed{34}$",
    "Answer: \\boxed{34}.",
    "Answer: 34 dollars",
    "Answer: x = 34",
    "Answer: 034",
    "Answer: 34.0",
    "Answer: 33\nAnswer: 34",
    "Answer: 34\nAnswer: 33",
    "\\boxed{33}\nAnswer: 34",
    "\\boxed{34}\nAnswer: 33",
    "The answer is 34",
    "2 + 32 = 34",
    "Answer:\n34",
    "Answer: 34\n" + LONG,
    LONG + "Answer: 34",
    "**Answer:** 34",
    "",
]
BOXED = ["So \\boxed{34}", "\\boxed{34}\n" + LONG, LONG + "\\boxed{34}", "\\boxed{33}"]


@pytest.mark.parametrize("text", [*RENDERINGS, *BOXED])
def test_dapo_pays_what_verls_scorer_pays(text):
    paid, verls = (
        compute_score("math", text, "34", rule="dapo"),
        math_dapo.compute_score(text, "34"),
    )
    assert (paid["score"], paid["acc"]) == (verls["score"], float(verls["acc"]))


@pytest.mark.parametrize("text", RENDERINGS)
def test_the_older_rule_differs_in_nothing_but_the_box(text):
    assert compute_score("math", text, "34", rule="dapo_2025") == compute_score(
        "math", text, "34", rule="dapo"
    )


def test_a_box_without_the_answer_line_earned_nothing_in_2025():
    rules = ("exact", "dapo", "dapo_2025")
    scores = {rule: compute_score("math", BOXED[0], "34", rule=rule)["score"] for rule in rules}
    assert scores == {"exact": 1.0, "dapo": 1.0, "dapo_2025": -1.0}


def test_the_graders_verdict_stands_beside_whatever_is_paid():
    # Response and whether it was cut: what the rule says, what the grader says.
    cases = {
        ("The answer is 34", False): (0.0, 1.0),
        ("\\boxed{34}\nAnswer: 33", False): (0.0, 1.0),
        ("\\boxed{33}\nAnswer: 34", False): (1.0, 0.0),
        ("Answer: 34", False): (1.0, 1.0),
        ("2 + 32 is 34", True): (0.0, 0.0),
    }
    for (text, cut), (rule, grader) in cases.items():
        exact = compute_score("math", text, "34", {"cut_at_limit": cut})
        dapo = compute_score("math", text, "34", {"cut_at_limit": cut}, rule="dapo")
        assert (dapo["acc"], dapo["acc_exact"]) == (rule, grader), text
        assert dapo["score"] == 2 * rule - 1
        assert exact["score"] == exact["acc"] == exact["acc_exact"] == grader
        assert exact["truncated"] == dapo["truncated"] == float(cut)


def rollouts(steps, problems=8, answers=8):
    for step in range(1, steps + 1):
        for index in range(problems):
            for place in range(answers):
                named = {"split": "train", "index": index}
                yield {**named, "global_steps": step, "session_id": place}


def test_a_coin_pays_half_of_the_rollouts_whatever_they_say_and_the_same_again():
    def paid(text, seed):
        return [
            compute_score("math", text, "34", named, rule="random", seed=seed)["score"]
            for named in rollouts(10)
        ]

    right = np.array(paid("Answer: 34", 3))
    # 640 fair coins: a standard deviation of 0.02.
    assert abs(right.mean() - 0.5) < 0.06
    assert paid("Answer: 33", 3) == right.tolist()
    other = np.array(paid("Answer: 34", 4))
    assert abs((right == other).mean() - 0.5) < 0.06
    # Answers to one problem differ, so that groups are no constant; so do neighbouring steps.
    groups = right.reshape(10, 8, 8)
    assert (groups.std(axis=2) > 0).mean() > 0.9
    assert abs((groups[1:] == groups[:-1]).mean() - 0.5) < 0.06


def test_rewards_without_a_signal_leave_the_graders_verdict():
    named = next(rollouts(1))
    for rule in ("random", "constant"):
        verdicts = [
            compute_score("math", text, "34", named, rule=rule) for text in ("34", "33", "no")
        ]
        assert [each["acc_exact"] for each in verdicts] == [1.0, 0.0, 0.0]
        assert len({each["score"] for each in verdicts}) == 1
        assert all(each["score"] == each["acc"] for each in verdicts)
    assert compute_score("math", "no", "34", rule="constant")["score"] == 1.0
