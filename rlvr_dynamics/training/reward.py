"""The verifiable reward computed by verl's workers, with the same grader as scoring."""

from typing import Any

from rlvr_dynamics.grading.grade import grade_finished

# Kind of answer by data source; all other sources are mathematics.
KINDS = {"arithmetic": "integer", "reasoning_gym": "reasoning_gym"}


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: dict[str, Any] | None = None,
    **_kwargs: Any,
) -> dict[str, float]:
    """Grade one rollout (the signature is verl's ``reward.custom_reward_function``).

    As in scoring, a response cut off by the token limit before its answer counts as truncated and
    scores 0.

    Args:
        data_source: Column of the training table; determines the kind of answer.
        solution_str: The decoded response.
        ground_truth: The gold answer; for a reasoning-gym task, its entry as JSON.
        extra_info: Column of the training table, to which `reward_managers` adds ``cut_at_limit``
            (whether the response was cut off) and ``question`` (the prompt).

    Returns:
        ``score`` and ``acc`` (1.0 for a correct answer, else 0.0; `acc` is the name that DAPO's
        group filter reads), ``answered`` (1.0 where an answer was found) and ``truncated``.
    """
    known = extra_info or {}
    kind = KINDS.get(data_source, "math")
    reason = "length" if known.get("cut_at_limit") else "stop"
    question = known.get("question")
    questions = [question] if isinstance(question, str) and kind == "math" else None
    verdict = grade_finished([(ground_truth, solution_str)], [reason], kind, questions)[0]
    correct = float(verdict.status == "correct")
    return {
        "score": correct,
        "acc": correct,
        "answered": float(verdict.status in ("correct", "incorrect")),
        "truncated": float(verdict.status == "truncated"),
    }
