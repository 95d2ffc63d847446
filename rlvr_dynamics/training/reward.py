"""The verifiable reward computed by verl's workers, beside the verdict of the scores' grader."""

import hashlib
from typing import Any

from rlvr_dynamics.grading.grade import grade_finished

# Kind of answer by data source; all other sources are mathematics.
KINDS = {"arithmetic": "integer", "reasoning_gym": "reasoning_gym"}
# What names a rollout to the coin: its problem, the step, and which of the problem's answers it is.
STEP, PLACE = "global_steps", "session_id"
ROLLOUT = ("split", "index", STEP, PLACE)
# verl's scorer for DAPO-Math reads this many characters, from the end.
READ = 300


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any] | None = None,
    rule: str = "exact",
    seed: int = 0,
    **_kwargs: Any,
) -> dict[str, float]:
    """Grade one rollout (the signature is verl's ``reward.custom_reward_function``).

    For the grader, as in scoring, a response cut off by the token limit before its answer counts
    as truncated and scores 0.

    Args:
        data_source: Column of the training table; determines the kind of answer.
        solution_str: The decoded response.
        ground_truth: The gold answer; for a reasoning-gym task, its entry as JSON.
        extra_info: Column of the training table, to which `reward_managers` adds ``cut_at_limit``
            (whether the response was cut off), ``question`` (the prompt), and verl's step and place
            of the rollout among its problem's.
        rule: What is paid (`data.reward`). ``exact``: 1 for what the grader calls correct, else 0.
            ``dapo``: +1 or -1 as verl's scorer for DAPO-Math decides. ``dapo_2025``: the same
            without the box that verl has accepted since August 2026 where the answer line is
            missing, as when the papers trained (arXiv 2503.14476, 2510.00553). ``random``: 1 or 0
            by a fair coin that does not see the answer; a resumed run tosses the same.
            ``constant``: 1.
        seed: Of the coin.

    Returns:
        ``score``, the reward; ``acc``, 1.0 where the rule pays for the answer, else 0.0 (DAPO's
        group filter reads it); ``acc_exact``, the same for the grader; ``answered``, 1.0 where the
        grader found an answer; ``truncated``.
    """
    known = extra_info or {}
    kind = KINDS.get(data_source, "math")
    reason = "length" if known.get("cut_at_limit") else "stop"
    question = known.get("question")
    questions = [question] if isinstance(question, str) and kind == "math" else None
    verdict = grade_finished([(ground_truth, solution_str)], [reason], kind, questions)[0]
    exact = float(verdict.status == "correct")
    if rule in ("dapo", "dapo_2025"):
        paid = _dapo(solution_str, ground_truth, box=rule == "dapo")
    elif rule == "random":
        paid = coin(seed, *(known[name] for name in ROLLOUT))
    else:
        paid = 1.0 if rule == "constant" else exact
    return {
        "score": 2.0 * paid - 1.0 if rule in ("dapo", "dapo_2025") else paid,
        "acc": paid,
        "acc_exact": exact,
        "answered": float(verdict.status in ("correct", "incorrect")),
        "truncated": float(verdict.status == "truncated"),
    }


def coin(*named: object) -> float:
    """Return 1.0 or 0.0, each for half of all names, always the same for one."""
    digest = hashlib.sha256("/".join(map(str, named)).encode()).digest()
    return float(digest[0] & 1)


def _dapo(solution: str, gold: str, *, box: bool) -> float:
    """Return 1.0 where verl's scorer for DAPO-Math accepts an answer, else 0.0."""
    from verl.utils.reward_score import math_dapo

    if box:
        found: Any = math_dapo.compute_score(solution, gold)  # annotated as float, but a dict
        return float(found["acc"])
    return float(math_dapo.is_correct_minerva(solution[-READ:], gold)[0])
