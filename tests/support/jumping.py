"""A training of one small matrix, in this process, around the real driver and worker of jumps."""

from functools import lru_cache

import numpy as np
import torch

from rlvr_dynamics.config import load
from rlvr_dynamics.training.jump_driver import JumpDriver
from rlvr_dynamics.training.jump_plan import plan_of
from rlvr_dynamics.training.jump_trainer import Answers, Trainer
from rlvr_dynamics.training.jump_worker import JumpWorker

STEPS = 12
PROBLEMS = 64
ROWS = 2000
GOAL = 30.0  # distance along the direction at which the most problems are solved


@lru_cache
def configuration(overrides):
    """Load a configuration once, of 128 answers a step; Hydra takes a second."""
    size = [f"trainer.{key}=16" for key in ("prompts_per_step", "mini_batch_prompts")]
    size.append("trainer.micro_batch_samples=128")
    return load(["run_dir=none", f"trainer.steps={STEPS}", *size, *overrides])


class Killed(Exception):
    """The process ends here."""


class Training:
    """Steps of one length along one direction, with noise; solved problems rise towards a goal.

    Args:
        folder: The train/ folder.
        overrides: Of the configuration, the name of the plan among them.
        noise: Length of every step's noise beside its own length of 1.
        goal: Distance along the direction at which the most problems are solved.
        killed: Kill at this call of the engine.
    """

    def __init__(self, folder, overrides, *, noise=0.1, goal=GOAL, killed=None):
        self.config = configuration(tuple(overrides))
        generator = torch.Generator().manual_seed(3)
        self.direction = torch.randn(ROWS, 1, generator=generator)
        self.direction /= self.direction.norm()
        self.noise, self.goal, self.killed = noise, goal, killed
        self.weight = torch.nn.Parameter(torch.zeros(ROWS, 1))
        self.adam = torch.optim.AdamW([self.weight], lr=0.0)
        self.folder, self.asked, self.synced = folder, 0, 0
        self.plan = plan_of(self.config, folder)
        self.worker = JumpWorker(
            self.plan,
            lambda: [("model.layers.0.mlp.up_proj.weight", self.weight)],
            lambda: self.adam,
        )
        self.driver = JumpDriver(
            self.plan,
            Trainer(
                workers=lambda what, **given: getattr(self.worker, what)(**given),
                sync=self.sync,
                problems=lambda: PROBLEMS,
                answer=self.answer,
                accuracy=lambda: self.rewards,
                base="none",
            ),
        )
        self.rewards, self.step = {0: 0.1}, 0

    def position(self):
        """Distance along the direction."""
        return float((self.weight.detach() * self.direction).sum())

    def sync(self):
        self.synced += 1

    def answer(self, step, places):
        self.asked += 1
        if self.asked == self.killed:
            raise Killed
        share = max(0.05, 0.9 - 0.85 * abs(self.position() - self.goal) / self.goal)
        # The same numbers before and after.
        drawn = np.random.default_rng(step).random((PROBLEMS, self.plan.acceleration.gate.samples))
        return Answers((drawn[places] < share).astype(float), 100)

    def update(self):
        """Make one step, save a state at its end, and let the driver decide."""
        self.step += 1
        generator = torch.Generator().manual_seed(100 + self.step)
        around = torch.randn(ROWS, 1, generator=generator)
        with torch.no_grad():
            self.weight += self.direction + self.noise / ROWS**0.5 * around
        self.weight.grad = torch.ones_like(self.weight)
        self.adam.step()
        self.rewards[self.step] = 0.1 + 0.01 * self.step
        self.state = self.save()
        return self.driver.after_step(self.step)

    def save(self):
        place = self.folder / f"state_{self.step}"
        self.worker.write_anchor(place)
        return {"weight": self.weight.detach().clone(), "place": place, "adam": self.moments()}

    def moments(self):
        state = self.adam.state[self.weight]
        return {name: state[name].clone() for name in ("step", "exp_avg", "exp_avg_sq")}

    def run(self, to=STEPS):
        """Train from the base."""
        self.driver.begin(0, None)
        return [self.update() for _ in range(to)]

    def resume(self, step, state):
        """Go on from a state, as a new process does."""
        self.step = step
        self.driver.records.forget_after(step)
        self.rewards |= {each: 0.1 + 0.01 * each for each in range(1, step + 1)}
        with torch.no_grad():
            self.weight.copy_(state["weight"])
        self.weight.grad = torch.ones_like(self.weight)
        self.adam.step()
        with torch.no_grad():
            self.weight.copy_(state["weight"])
        for name, value in state["adam"].items():
            self.adam.state[self.weight][name].copy_(value)
        self.driver.begin(step, str(state["place"]))
