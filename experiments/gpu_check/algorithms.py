"""Step 6: DAPO samples until groups are mixed, and PPO trains a critic."""

import numpy as np
from numpy.typing import NDArray

from rlvr_dynamics.results.frames import numbers

from . import demo
from .bench import Bench, Command, Commands, batch, tiny
from .finding import Finding, above, holds, noted
from .product import later_steps, run, table

NAME = "algorithms"
STEPS = 3
EVICTED = "filter_groups/evicted_samples"


def commands(bench: Bench) -> Commands:
    """Return a run of DAPO and one of PPO, from the base of the demo."""
    common = (
        *tiny(bench),
        f"trainer.steps={STEPS}",
        f"algorithm.learning_rate={demo.LEARNING_RATE}",
        "algorithm.warmup_steps=0",
        "stages=[prepare,train]",
        f"reuse={demo.commands(bench)[demo.RUN].folder}",
    )
    # Groups of four often agree, so there is something to sample again.
    dapo = ("algorithm=dapo", *batch(bench, prompts=8, updates=1, group=4))
    ppo = ("algorithm=ppo", *batch(bench, prompts=8, updates=1), "algorithm.critic.warmup_steps=0")
    return {
        name: Command(bench.folder(NAME) / name, (*common, *own))
        for name, own in (("dapo", dapo), ("ppo", ppo))
    }


def work(bench: Bench) -> list[Finding]:
    """Train both for a few steps and read verl's own numbers."""
    chosen = commands(bench)
    for command in chosen.values():
        run(command)
    dapo, ppo = (table(chosen[name], "metrics") for name in ("dapo", "ppo"))
    evicted = dapo.filter(like=EVICTED)
    critic = sorted((chosen["ppo"].folder / "train" / "verl").glob("**/critic/*.pt"))
    losses, norms = (numbers(ppo, name) for name in ("critic/vf_loss", "critic/grad_norm"))
    values = numbers(ppo, "critic/values/mean")
    return [
        above("DAPO: answers of groups that agree, sampled again", float(evicted.sum().sum()), 0),
        _steps("DAPO", len(dapo)),
        _steps("PPO", len(ppo)),
        holds("PPO: smallest loss of the critic", _least(losses), _least(losses) > 0, "above 0"),
        holds("PPO: smallest gradient of the critic", _least(norms), _least(norms) > 0, "above 0"),
        holds(
            "PPO: distinct mean values of the critic",
            len(set(values)),
            len(set(values)) == STEPS,
            str(STEPS),
        ),
        above("PPO: files of the critic's state", len(critic), 0),
        *(
            noted(f"{name}: a training step", later_steps(metrics, "timing_s/step"), "s")
            for name, metrics in (("DAPO", dapo), ("PPO", ppo))
        ),
    ]


def _steps(name: str, count: int) -> Finding:
    return holds(f"{name}: steps trained", count, count == STEPS, str(STEPS))


def _least(found: NDArray[np.float64]) -> float:
    return float(found.min()) if len(found) else float("nan")
