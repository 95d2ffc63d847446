"""The arms of the acceleration bench: what each changes of plain training, and what it controls.

All start from one base and, with one seed, draw the same problems in the same order. Steps of jumps
are the papers' shares of the training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.errors import UserError, did_you_mean

from .study import rate_name

STEPS = 60  # as in configs/exp/acceleration.yaml
BASE_SEED = 0
RATE = 1.0e-5
REGROUNDING = "arXiv 2601.04537"
ALPHARL, RELEX = "arXiv 2510.00553", "arXiv 2605.21468"
NEXT, EFFOPD = "arXiv 2604.11446", "arXiv 2605.11739"
RISE = "arXiv 2609.05295"


@dataclass(frozen=True)
class Arm:
    """What is done to a training.

    Attributes:
        name: Its name, and the first part of its cells'.
        overrides: Beside those of the bench.
        controls: What it shows, or what it is the control of.
        paper: Where it is described; empty for controls and ours.
        rate: Learning rate, in those that the bench is asked for. Such arms are plain training,
            and one training serves all that come to the same rate.
    """

    name: str
    overrides: tuple[str, ...]
    controls: str
    paper: str = ""
    rate: float = 1.0


def _plain(times: int, controls: str) -> Arm:
    return Arm(f"plain_x{times}" if times > 1 else "plain", (), controls, rate=float(times))


def _every(name: str, *changes: str) -> tuple[str, ...]:
    return (f"acceleration={name}", *(f"acceleration.{change}" for change in changes))


def _once(name: str, share: float, *further: str) -> tuple[str, ...]:
    return (f"acceleration={name}", f"acceleration.when.steps=[{round(share * STEPS)}]", *further)


def _regrounding(m: int, n: int) -> list[Arm]:
    name = f"regrounding_{m}_{n}"
    about = f"{m} steps, then {n} more along their change"
    return [
        Arm(name, _every(name), f"{about}; Adam kept", REGROUNDING),
        Arm(
            f"{name}_restart",
            _every(name, "optimizer=restart"),
            f"{about}; Adam restarted, as released",
            REGROUNDING,
        ),
    ]


_RELEASED = "+acceleration.parameters.variant=released"
# NExt observes 150 of 400 steps at every 10th and adds 1.5 times the change over the next 50.
_NEXT = (
    "acceleration=momentum",
    "acceleration.method=next",
    "acceleration.when.every=null",
    f"acceleration.when.steps=[{round(150 / 400 * STEPS)}]",
    f"acceleration.how_far.horizon={round(50 / 400 * STEPS)}",
    "+acceleration.parameters.spacing=2",
)
ARMS = {
    arm.name: arm
    for arm in (
        _plain(1, "what all others are compared with"),
        _plain(3, "a larger rate; the displacement of 10+20"),
        _plain(10, "a larger rate"),
        _plain(30, "a larger rate"),
        _plain(2, "the displacement of 10+10"),
        _plain(6, "the displacement of 5+25"),
        Arm("two_passes", ("trainer.passes=2",), "more updates of the same rollouts", RISE),
        Arm(
            "restart",
            _every("regrounding_10_20", "method=none", "optimizer=restart"),
            "re-grounding 10+20 without its jumps: the restart of Adam alone",
        ),
        Arm(
            "rolled_back",
            _every("regrounding_10_20", "roll_back=always"),
            "what jumps cost: each is undone",
        ),
        Arm(
            "random",
            _every("regrounding_10_20", "method=random"),
            "re-grounding 10+20 in random directions of the same length",
        ),
        Arm("alpharl_10", _once("alpharl_once", 0.1), "once, after 10 %", ALPHARL),
        Arm("alpharl_40", _once("alpharl_once", 0.4), "once, after 40 %", ALPHARL),
        Arm(
            "alpharl_released_10",
            _once("alpharl_once", 0.1, _RELEASED),
            "the released code's form, after 10 %",
            ALPHARL,
        ),
        Arm(
            "alpharl_released_40",
            _once("alpharl_once", 0.4, _RELEASED),
            "the released code's form, after 40 %",
            ALPHARL,
        ),
        Arm("relex_15", _once("relex_once", 0.15), "once, after 15 %", RELEX),
        Arm(
            "relex_15_path",
            _once("relex_once", 0.15, "acceleration.clock=path"),
            "the same against the length of the path: ours",
            RELEX,
        ),
        *_regrounding(10, 10),
        *_regrounding(10, 20),
        *_regrounding(5, 25),
        Arm("effopd", _every("effopd"), "a line search at powers of two", EFFOPD),
        Arm("momentum", _every("momentum"), "the last step's change, ten times, at every tenth"),
        Arm("next", _NEXT, "once, after 37.5 %; signs aligned, which is ours", NEXT),
        Arm(
            "next_unaligned",
            (*_NEXT, "+acceleration.parameters.align=false"),
            "the same with signs as they come, as released",
            NEXT,
        ),
        Arm(
            "gated",
            _every("gated", "gate.samples=1"),
            "ours: a backtest, then validation, decide on each jump",
        ),
    )
}
# One of each kind, in the time that a default may take; the others by name.
DEFAULT = (
    *("plain", "plain_x3", "plain_x10", "plain_x30", "gated", "two_passes", "restart", "random"),
    *("regrounding_10_20", "regrounding_10_20_restart", "regrounding_5_25", "effopd"),
    *("alpharl_40", "relex_15", "relex_15_path", "momentum", "next"),
)
ALL = "all"


@dataclass(frozen=True)
class ArmCell:
    """One run of an arm.

    Attributes:
        arm: What is done.
        learning_rate: The policy's.
        seed: Of training and sampling; base and problems have `BASE_SEED`.
    """

    arm: Arm
    learning_rate: float
    seed: int

    @property
    def name(self) -> str:
        """Name of the run directory; plain arms are told apart by their rate alone."""
        kind = self.arm.name if self.arm.overrides else "plain"
        return f"{kind}_{rate_name(self.learning_rate)}_seed{self.seed}"

    @property
    def preparation(self) -> int:
        """All share one base and its problems."""
        return BASE_SEED

    def overrides(self, runs: Path) -> list[str]:
        """The arguments of `python -m rlvr_dynamics.run`."""
        return [
            "+exp=acceleration",
            *self.arm.overrides,
            f"algorithm.learning_rate={self.learning_rate}",
            f"seed={self.seed}",
            f"base_seed={BASE_SEED}",
            f"name={self.name}",
            f"run_dir={runs / self.name}",
        ]

    def taken_from(self, runs: Path) -> list[str]:
        """Nothing: the arms share their preparation alone."""
        return []


def arm_cells(
    arms: Sequence[str] = DEFAULT, rates: Sequence[float] = (RATE,), seeds: Sequence[int] = (0,)
) -> list[ArmCell]:
    """Return the cells of arms, without repeats: all of a seed before the next.

    Args:
        arms: Names of arms; `ALL` stands for every one.
        rates: Learning rates.
        seeds: Seeds of the training.

    Raises:
        UserError: There is no such arm.
    """
    names = [name for each in arms for name in (ARMS if each == ALL else (each,))]
    for name in names:
        if name not in ARMS:
            raise UserError(
                f"no arm is called {name!r}",
                way_out=f"{did_you_mean(name, ARMS)}one of {', '.join(ARMS)}, or {ALL}",
            )
    found = [
        ArmCell(ARMS[name], float(f"{rate * ARMS[name].rate:.6g}"), seed)
        for seed in seeds
        for rate in rates
        for name in dict.fromkeys(names)
    ]
    return list({cell.name: cell for cell in reversed(found)}.values())[::-1]
