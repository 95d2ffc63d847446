"""Which of an algorithm's clips can act, and the metric in which verl counts them.

A clip bounds the ratio of a probability to that of the policy that answered, which verl computes
again before the first update of a step. So at the first update every ratio is 1 (up to the
rounding of two passes), and a clip can act from the second update of a step on; likewise the clip
of PPO's value model. verl's counts are means over all updates of a step, the first included.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rlvr_dynamics.schema.overrides import value_at
from rlvr_dynamics.schema.training import Algorithm, Trainer

POLICY_CLIPPED = "actor/pg_clipfrac"
DUAL_CLIPPED = "actor/pg_clipfrac_lower"
VALUE_CLIPPED = "critic/vf_clipfrac"
VALUE_RANGE_KEY, VALUE_RANGE = "critic.cliprange_value", "0.5"  # verl's key and its default
ONE_UPDATE = "one update a rollout"
_BOUNDED = {"gspo": ("sequence", "an answer's ratio"), "cispo": ("weight", "a token's weight")}


@dataclass(frozen=True)
class Clip:
    """One clip of an algorithm.

    Attributes:
        name: Its name in tables and JSON.
        bound: What it bounds, in words.
        why_not: Why it cannot act; empty if it can.
        metric: The column of `train/metrics.parquet` that counts it, with others of its kind.
    """

    name: str
    bound: str
    why_not: str
    metric: str

    @property
    def acts(self) -> bool:
        """Whether it can act."""
        return not self.why_not


def clips(
    *,
    loss_mode: str,
    low: float,
    high: float,
    dual: float,
    updates: int,
    critic_updates: int | None,
    value_range: str = VALUE_RANGE,
) -> tuple[Clip, ...]:
    """Return the clips that a loss reads; further settings of an algorithm are never read.

    Source: verl 0.9.1, `trainer/ppo/core_algos.py`; the dual clip is arXiv 1912.09729, the ratio
    of whole answers arXiv 2507.18071, the clipped weight arXiv 2506.13585.

    Args:
        loss_mode: `algorithm.loss_mode`.
        low: `algorithm.clip_ratio_low`.
        high: `algorithm.clip_ratio_high`.
        dual: `algorithm.clip_ratio_c`.
        updates: Updates of the policy from one step's answers.
        critic_updates: Updates of the value model; None without one.
        value_range: How far verl lets a value move.
    """
    name, what = _BOUNDED.get(loss_mode, ("ratio", "a token's ratio"))
    once = _once(updates)
    never = "no ratio is below 0" if low >= 1.0 else ""
    found = [
        Clip(f"{name}_low", f"{what} below {1.0 - low:g}", never or once, POLICY_CLIPPED),
        Clip(f"{name}_high", f"{what} above {1.0 + high:g}", once, POLICY_CLIPPED),
    ]
    if loss_mode == "vanilla":
        bound = f"a token's ratio above {dual:g} where the advantage is negative"
        found.append(Clip("dual", bound, once, DUAL_CLIPPED))
    if critic_updates is not None:
        bound = f"a value that moved by more than {value_range}"
        found.append(Clip("value", bound, _once(critic_updates), VALUE_CLIPPED))
    return tuple(found)


def clips_of(algorithm: Algorithm, trainer: Trainer) -> tuple[Clip, ...]:
    """Return the clips of a configuration, see `clips`."""
    return clips(
        loss_mode=algorithm.loss_mode,
        low=algorithm.clip_ratio_low,
        high=algorithm.clip_ratio_high,
        dual=algorithm.clip_ratio_c,
        updates=trainer.updates_per_rollout,
        critic_updates=trainer.critic_updates_per_rollout if algorithm.critic else None,
        value_range=value_range(trainer.verl_overrides),
    )


def value_range(overrides: Iterable[str]) -> str:
    """Return how far verl lets a value move: by an override of a run, or by default."""
    return value_at(overrides, VALUE_RANGE_KEY) or VALUE_RANGE


def in_words(found: tuple[Clip, ...]) -> list[str]:
    """Return which clips can act, and for every reason which cannot, each as one text."""
    texts = []
    if acting := [clip.bound for clip in found if clip.acts]:
        texts.append("clips that can act: " + "; ".join(acting))
    for reason in dict.fromkeys(clip.why_not for clip in found if not clip.acts):
        idle = [clip.bound for clip in found if clip.why_not == reason]
        texts.append(f"clips that cannot act ({reason}): " + "; ".join(idle))
    return texts


def _once(updates: int) -> str:
    return "" if updates > 1 else ONE_UPDATE
