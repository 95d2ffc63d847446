"""Decides about jumps in the trainer's process: when, how far, whether to try and whether to keep.

The workers hold the weights; this holds none. After step t the order is: sketch of the weights (if
a clock or a backtest reads it); if the plan fires at t, the backtest, the candidates with their
answers, and the record on disk; then the trainer sends the weights to the rollout engine. A firing
repeats from its record what it did, move by move, so that a resumed run has the same weights.
"""

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from rlvr_dynamics.acceleration.backtest import Backtest, backtest
from rlvr_dynamics.acceleration.horizon import backtest_horizon, factor_ahead
from rlvr_dynamics.acceleration.remaining import remaining_gain
from rlvr_dynamics.acceleration.schedule import fires, previous_firing
from rlvr_dynamics.acceleration.sketch import Sketch
from rlvr_dynamics.dynamics import trajectory_gram
from rlvr_dynamics.errors import TooLittle
from rlvr_dynamics.training.jump_gate import Asking, Firing
from rlvr_dynamics.training.jump_plan import JumpPlan
from rlvr_dynamics.training.jump_record import empty_record, metrics_of, number, without_nan
from rlvr_dynamics.training.jump_records import JumpRecords
from rlvr_dynamics.training.jump_trainer import Trainer


@dataclass(frozen=True)
class _Path:
    """The steps so far, by their sketches.

    Attributes:
        lengths: ‖W_s - W_{s-1}‖ of every step from the first on, without jumps, shape (step,).
        jumped: The last step after which the weights jumped, or 0.
        gram: Inner products of the changes since then, shape (step - jumped, step - jumped).
    """

    lengths: np.ndarray
    jumped: int
    gram: np.ndarray


class JumpDriver:
    """The jumps of one run.

    Args:
        plan: The run's.
        trainer: The training around it.
    """

    def __init__(self, plan: JumpPlan, trainer: Trainer) -> None:
        """Read nothing and move nothing yet."""
        self.plan, self.trainer = plan, trainer
        self.records = JumpRecords(plan.records)
        self._chosen = plan.acceleration

    def begin(self, step: int, state: str | None) -> dict[str, float]:
        """Take the anchor at the start of an attempt, and decide about the step it resumes from.

        Args:
            step: The step whose weights are loaded; 0 for the base.
            state: Folder of the saved state; None for the base.

        Returns:
            As of `after_step`.
        """
        if state is None:
            self.trainer.workers("hold")
            if self._chosen.reads_clock:
                self.records.write_sketch(0, self.trainer.workers("sketched"))
            return {}
        self.trainer.workers("read_anchor", folder=state)
        return self.after_step(step)

    def after_step(self, step: int) -> dict[str, float]:
        """Jump, decline or do nothing after a training step, before the weights are sent.

        Returns:
            Metrics of the step, empty where the plan does not fire.
        """
        begin, arrived = time.monotonic(), np.array([])
        if self._chosen.reads_clock:
            arrived = self.trainer.workers("sketched")
            self.records.write_sketch(step, arrived)
        sketching = time.monotonic() - begin
        if not fires(self._chosen.when, step, self.plan.steps):
            return {"acceleration/sketch_seconds": sketching} if self._chosen.reads_clock else {}
        record = self.records.read(step)
        if record is None:
            record = self._decide(step)
            record["seconds"] |= {"sketch": sketching, "total": time.monotonic() - begin}
            self.records.write(record)
        else:
            self._repeat(record)
        if self._chosen.reads_clock and record["accepted"]:
            self.records.write_sketch(step, arrived, self.trainer.workers("sketched"))
        return metrics_of(record)

    def _decide(self, step: int) -> dict[str, Any]:
        anchor = previous_firing(self._chosen.when, step)
        firing = Firing(empty_record(self._chosen.method, step, anchor))
        with firing.timed("search"):
            firing.record["walked"] = float(self.trainer.workers("walked"))
            path = self._path(step)
            factors = self._factors(step, anchor, path, firing)
            nearest = (self._chosen.how_far.search or factors)[0]
            tested = self._tested(step, anchor, path, nearest) if factors else None
        if tested is not None:
            firing.record["backtest"] = without_nan(dataclasses.asdict(tested))
        firing.record["remaining"] = self._remaining(step)
        declined = self._why_not(factors, tested)
        if declined:
            firing.record |= {"decision": "declined", "reason": declined}
            self.trainer.workers("hold")
        else:
            self._search(firing, step, factors)
        firing.record["seconds"] = {
            name: firing.costs[name] for name in ("search", "validate", "sync")
        }
        firing.record["rollouts"] = int(firing.costs["rollouts"])
        firing.record["tokens"] = int(firing.costs["tokens"])
        return firing.record

    def _path(self, step: int) -> _Path | None:
        """Return the path of all steps so far; None if nothing reads it, or sketches are gone."""
        held = self.records.sketches(step) if self._chosen.reads_clock else None
        if held is None:
            return None
        lengths = np.linalg.norm(held[1:, 0] - held[:-1, 1], axis=1)
        jumped = self._last_jump(step)
        since = torch.from_numpy(held[jumped + 1 :, 0] - held[jumped, 1])
        return _Path(lengths, jumped, trajectory_gram(since).numpy())

    def _last_jump(self, step: int) -> int:
        """Return the last step before this one after which the weights jumped; 0 for none."""
        return max((before for before in self.records.accepted() if before < step), default=0)

    def _tested(self, step: int, anchor: int, path: _Path | None, factor: float) -> Backtest | None:
        """Return the backtest; None if the plan has none, or there is too little to test."""
        if not self._chosen.gate.backtests or path is None or step - path.jumped < 2:
            return None
        window, history = step - anchor, step - path.jumped
        far = self._chosen.how_far
        ahead = self._ahead(step) if far.ahead else max(1, round((factor - 1.0) * window))
        ahead = max(ahead, self.plan.break_even)
        on_path = self._chosen.clock == "path" and path.jumped > 0
        return backtest(
            np.arange(path.jumped + 1, step + 1),
            path.gram,
            backtest_horizon(ahead, window, history),
            clock=self._chosen.clock,
            anchor=anchor,
            before=path.lengths[: path.jumped] if on_path else None,
            size=Sketch().size,
            level=self._chosen.gate.level,
        )

    def _why_not(self, factors: tuple[float, ...], tested: Backtest | None) -> str:
        """Say why nothing is tried; empty if it is."""
        gate = self._chosen.gate
        if not factors:
            return "no candidate goes as far as training on the gate's answers would"
        if gate.backtests and tested is None:
            return "the window is too short for a backtest"
        if gate.backtests and tested is not None and not tested.worth_trying:
            return "the window's own steps do not say that a jump would beat holding"
        spent = sum(record["rollouts"] > 0 for record in self.records.all())
        if gate.validates and gate.validations is not None and spent >= gate.validations:
            return "acceleration.gate.validations are spent"
        if gate.back_off and self.records.backs_off():
            return "the firings before this one asked and found no sure gain"
        return ""

    def _factors(
        self, step: int, anchor: int, path: _Path | None, firing: Firing
    ) -> tuple[float, ...]:
        """Return the factors of the candidates, in the order in which they are tried."""
        far = self._chosen.how_far
        if self._chosen.method == "none":
            return (1.0,)
        if far.search is not None:
            return self.plan.searched(step - anchor)
        if far.factor is not None:
            return (far.factor,)
        lengths = np.array([]) if path is None else path.lengths
        ahead = factor_ahead(
            np.arange(1, step + 1),
            lengths,
            self._ahead(step),
            "step" if path is None else self._chosen.clock,
            anchor,
        )
        firing.record["remarks"] += [ahead.remark] if ahead.remark else []
        return (ahead.factor,)

    def _ahead(self, step: int) -> int:
        return self._chosen.how_far.horizon or self.plan.steps - step

    def _search(self, firing: Firing, step: int, factors: tuple[float, ...]) -> None:
        """Try the candidates in turn; the last accepted one stands, or the weights as they were."""
        record, gate, workers = firing.record, self._chosen.gate, self.trainer.workers
        asking = Asking(self.trainer, gate, firing, step, len(factors))
        before = present = asking.first_look() if gate.validates else None
        standing: list[dict[str, Any]] = []
        for place, factor in enumerate(factors):
            with firing.timed("search"):
                tried = self._move(firing, step, factor, standing)
            if tried is None:
                break
            record["tried"].append(tried)
            if tried["finite"] and before is not None:
                compared = partial(self._compared, firing, factor, standing)
                found, after = asking.judge(before, compared, selected=bool(standing))
                tried |= {"gain": found.gain, "lower": found.lower, "accepted": found.accepted}
                tried |= {"problems": found.problems, "answered": after.problems}
                tried |= {"worse": found.worse, "after": after.mean}
                if standing:
                    standing[-1]["answered"] = before.problems
                before = after if found.accepted else before
            with firing.timed("search"):
                if not tried["accepted"]:
                    workers("come_back" if standing else "restore")
                    break
                standing.append(tried)
                if place + 1 < len(factors):
                    workers("keep")
        if present is not None:
            record |= {"before": present.mean, "answered": present.problems}
        with firing.timed("search"):
            self._settle(record, standing)

    @contextmanager
    def _compared(
        self, firing: Firing, factor: float, standing: list[dict[str, Any]]
    ) -> Iterator[None]:
        """Hold what a candidate is compared with, then the candidate again, bit for bit."""
        with firing.timed("search"):
            self.trainer.workers("come_back" if standing else "exchange")
        yield
        with firing.timed("search"):
            if standing:
                self._along(factor, standing)
            else:
                self.trainer.workers("exchange")

    def _along(self, factor: float, standing: list[dict[str, Any]]) -> tuple[float, bool]:
        """Move from what stands to a candidate that needs no checkpoints."""
        before = standing[-1]["factor"] if standing else 1.0
        method = self._chosen.method
        return self.trainer.workers("move", method=method, factor=factor, before=before)

    def _move(
        self, firing: Firing, step: int, factor: float, standing: list[dict[str, Any]]
    ) -> dict[str, Any] | None:
        """Move to a candidate; None if the extrapolator has too little to go by."""
        workers, record = self.trainer.workers, firing.record
        tried: dict[str, Any] = {"factor": factor, "gain": None, "lower": None, "after": None}
        if not self._chosen.from_checkpoints:
            length, finite = self._along(factor, standing)
        else:
            try:
                length, finite, remarks = self._predict(step)
            except TooLittle as error:
                record |= {"decision": "declined", "reason": str(error)}
                workers("hold")
                return None
            record["target"], tried["factor"] = step + self._ahead(step), None
            record["remarks"] += remarks
        return tried | {"length": number(length), "finite": finite, "accepted": finite}

    def _predict(self, step: int) -> tuple[float, bool, list[str]]:
        return self.trainer.workers(
            "predict",
            base=self.trainer.base,
            first=self._last_jump(step) + 1,
            last=step,
            target=step + self._ahead(step),
            accuracy=dict(self.trainer.accuracy()),
        )

    def _settle(self, record: dict[str, Any], standing: list[dict[str, Any]]) -> None:
        """Make what stands the next anchor, and treat the optimizer."""
        workers = self.trainer.workers
        workers("forget_kept")
        if record["decision"] == "declined":
            return
        if standing and self._chosen.roll_back == "always":
            workers("restore")
            record |= {"decision": "rolled back", "reason": "acceleration.roll_back=always"}
        elif standing:
            workers("hold")
            workers("reset_optimizer")
            record |= {
                "decision": "accepted",
                "accepted": True,
                "factor": standing[-1]["factor"],
                "length": standing[-1]["length"],
                "optimizer": self._chosen.optimizer,
            }
        else:
            last = record["tried"][-1]
            if not last["finite"]:
                reason = "the candidate is not finite"
            elif last.get("worse"):
                reason = "the candidate is surely worse"
            else:
                reason = "the gate found no sure gain"
            record |= {"decision": "rejected", "reason": reason}

    def _repeat(self, record: dict[str, Any]) -> None:
        """Do again what a record says, move by move, without asking."""
        workers = self.trainer.workers
        standing = [tried for tried in record["tried"] if tried["accepted"]]
        if record["accepted"] and self._chosen.from_checkpoints:
            self._predict(record["step"])
        elif record["accepted"]:
            before = 1.0
            for tried in standing:
                factor = tried["factor"]
                workers("move", method=self._chosen.method, factor=factor, before=before)
                before = factor
        workers("hold")
        if record["accepted"]:
            workers("reset_optimizer")

    def _remaining(self, step: int) -> dict[str, Any] | None:
        """Return what the steps that are left could gain; None if nobody asks."""
        stop = self._chosen.stop
        if stop is None:
            return None
        known, jumped = self.trainer.accuracy(), max(self.records.accepted(), default=0)
        since = [known[each] for each in sorted(known) if each >= jumped]
        found = remaining_gain(since, self.plan.steps - step)
        below = 100.0 * found.upper < stop.below
        return without_nan(found._asdict()) | {"below": below, "ends": below and stop.act}
