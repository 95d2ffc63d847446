"""Gives stages to sinks, and the training's metrics while it goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from rlvr_dynamics.errors import one_line
from rlvr_dynamics.run_directory.configuration import read_config
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.sinks.sink import NOTHING_SENT, Finished, Sink, curves, feed
from rlvr_dynamics.training.verl_metrics import (
    GrowingMetrics,
    attempts,
    logged_rows,
    trained_rows,
)

ONLINE, OFFLINE, TENSORBOARD = "wandb online", "wandb offline", "tensorboard"


def _open(name: str, finished: Finished) -> Sink:
    if name == TENSORBOARD:
        from rlvr_dynamics.sinks.tensorboard_sink import TensorboardSink

        return TensorboardSink(finished)
    from rlvr_dynamics.sinks.wandb_sink import WandbSink

    return WandbSink(finished, "online" if name == ONLINE else "offline")


class _Stream:
    """The metrics of a training that goes on, and what each sink has of them.

    The steps of an attempt that was interrupted are sent once this one has trained a step: only
    then is it known from which of them it went on.
    """

    def __init__(self, verl_folder: Path, earlier: int) -> None:
        self.sinks: dict[str, tuple[Sink, int]] = {}  # with the last step that each has
        self.given_up: set[str] = set()
        self._folder, self._earlier = verl_folder, earlier
        self._metrics, self._goes_on = GrowingMetrics(verl_folder), False

    def goes_on(self) -> bool:
        """Return whether this attempt has trained a step."""
        if not self._goes_on:
            own = attempts(self._folder)[self._earlier :]
            self._goes_on = any(trained_rows(logged_rows(file.read_bytes())) for file in own)
        return self._goes_on

    def send(self, name: str, training: Finished) -> None:
        """Give a sink the steps that it does not have."""
        if name in self.given_up:
            return
        table = self._metrics.table()
        sink, sent = self.sinks.get(name) or (_open(name, training), NOTHING_SENT)
        self.sinks[name] = sink, sent
        for step, values in curves(table, sent):
            sink.metrics(step, values)
            self.sinks[name] = sink, step


class Feeder:
    """Feeds the sinks of a run; what one of them cannot do is one line, and stops nothing.

    Args:
        folder: The run directory.
        names: The sinks; `ONLINE` falls back to `OFFLINE` if it fails.
        terminal: Stream for messages to the user.

    Attributes:
        usable: Whether every sink's package is installed, as far as is known.
    """

    def __init__(self, folder: Path, names: list[str], terminal: TextIO) -> None:
        """Read the run's configuration.

        Raises:
            UserError: It is damaged.
        """
        self._folder, self._config = folder, read_config(folder)
        self._names, self._terminal = list(names), terminal
        self._stream: _Stream | None = None
        self.usable = True

    @property
    def streams(self) -> bool:
        """Whether a training goes on, whose metrics `push` looks for."""
        return self._stream is not None

    def begin_training(self, earlier: int) -> None:
        """Expect the metrics of a training, of which there were so many attempts before."""
        self._stream = _Stream(self._folder / FOLDERS["train"] / "verl", earlier)

    def push(self) -> None:
        """Give every sink the metrics that are new since the last call."""
        stream = self._stream
        if stream is not None and stream.goes_on():
            training = self._stage("train")
            self._each("train", lambda name: stream.send(name, training))

    def finish(self, stage: str) -> None:
        """Give every sink what a stage published; one that is unfinished is skipped.

        Raises:
            UserError: The stage's record is damaged.
        """
        finished = self._stage(stage)
        if finished.record.get("finished") is not True:
            return

        def give(name: str) -> None:
            known = (
                self._stream.sinks.pop(name, None) if self._stream and stage == "train" else None
            )
            sink, sent = known or (_open(name, finished), NOTHING_SENT)
            feed(sink, finished, sent)

        self._each(stage, give)
        if stage == "train":
            self._stream = None

    def close(self) -> None:
        """Close the sinks of a training that did not finish."""
        stream = self._stream
        if stream is not None:
            self.push()
            self._each("train", lambda name: _close(stream.sinks.pop(name, None)))

    def _stage(self, stage: str) -> Finished:
        return Finished(
            self._folder, stage, self._config, read_record(self._folder / FOLDERS[stage])
        )

    def _each(self, stage: str, do: Callable[[str], None]) -> None:
        for name in (trying := list(self._names)):
            try:
                do(name)
                continue
            except ImportError as error:
                self._names.remove(name)
                self.usable = False
                line = f"no copy is made: {one_line(str(error))}"
            except Exception as error:  # noqa: BLE001 - no failure of a package may stop the run
                line = f"{stage}: {one_line(' '.join(str(error).splitlines()[:1]))}"
                if name == ONLINE:
                    line += f"; the copy lies in {self._folder / 'wandb'}, `wandb sync` sends it"
                    self._names[self._names.index(ONLINE)] = OFFLINE
                    trying.append(OFFLINE)
            if self._stream is not None:
                self._stream.given_up.add(name)
                self._stream.sinks.pop(name, None)
            print(f"{name}: {line}", file=self._terminal, flush=True)


def _close(known: tuple[Sink, int] | None) -> None:
    if known is not None:
        known[0].close(None)
