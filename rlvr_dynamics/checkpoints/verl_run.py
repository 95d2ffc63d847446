"""Publish the checkpoints of a running verl job, one ordinary Hugging Face folder per step."""

import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.cast import (
    cast_checkpoint,
    first_not_finite,
    stored_bytes,
    stores_head_twice,
    take_companions,
)
from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.checkpoints.layout import ITEM_BYTES, Layout
from rlvr_dynamics.checkpoints.merge import write_merged
from rlvr_dynamics.checkpoints.published_steps import Folders
from rlvr_dynamics.checkpoints.shards import read_layout, read_shard
from rlvr_dynamics.checkpoints.tying import vocabulary_of
from rlvr_dynamics.checkpoints.weight_files import ADAPTER, holds_adapter
from rlvr_dynamics.errors import StageFailed, UserError
from rlvr_dynamics.system.atomic import full_disk_is_a_user_error, write_text
from rlvr_dynamics.system.hardware import free_bytes

LATEST = "latest_checkpointed_iteration.txt"
GATHERED_DTYPE = "float32"
ASSUMED_BYTES_PER_SECOND = 200e6  # of verifying and hashing, until measured
STATE_COPIES = 3  # a model's weights and Adam's two moments
_STATE = re.compile(r"(?:model|optim|extra_state)_world_size_(\d+)_rank_\d+\.pt")


class VerlRun:
    """verl's own checkpoint folder (`global_step_N`) and the published one (`step_N`)."""

    def __init__(
        self,
        verl: Path,
        published: Folders,
        base: Path,
        keep_states: int,
        *,
        dtype: str,
        critic: bool,
        steps: int,
        state_every: int = 1,
        anchors: str | None = None,
        jump_before: Callable[[int], Mapping[str, Any] | None] | None = None,
        adapters: int = 0,
    ) -> None:
        """Name the folders and read the base's layout.

        Args:
            verl: verl's checkpoint folder.
            published: Where the steps appear.
            base: Folder of step 0; every step gets its config and tokenizer.
            keep_states: Number of optimizer states to keep for a resume.
            dtype: Dtype of the published steps, float32 or bfloat16.
            critic: Whether the run trains a value model, whose state a resume also needs.
            steps: Number of the last step.
            state_every: verl saves what a resume needs at multiples of it, the model at every step.
            anchors: Name of a file beside the actor's state that a resume also needs, with
                `{world}` and `{rank}`.
            jump_before: Returns what a step's manifest is to say of a jump of the weights between
                the step before and it; None without one.
            adapters: Elements of LoRA's adapters, which verl then saves in place of the model; they
                are published merged into the base. 0 without LoRA.

        Raises:
            UserError: The base is not stored in `dtype`.
        """
        self.verl, self.published, self.keep_states = verl, published, keep_states
        self.base, self.dtype, self.critic = read_layout(base), dtype, critic
        self.steps, self.state_every, self.adapters = steps, state_every, adapters
        self._anchors, self._jump_before = anchors, jump_before
        if self.base.dtype != dtype:
            raise UserError(
                f"the base is stored in {self.base.dtype}, its checkpoints would be in {dtype}",
                where=str(base),
                way_out="run the prepare stage again, or set trainer.checkpoint_dtype to the "
                "base's dtype",
            )
        self._ingested = 0
        self._slowest = stored_bytes(self.base, GATHERED_DTYPE) / ASSUMED_BYTES_PER_SECOND

    def saved_step(self) -> int:
        """Newest step that verl has finished saving; 0 if there is none."""
        try:
            return int((self.verl / LATEST).read_text())
        except FileNotFoundError:
            return 0
        except ValueError:
            # verl truncates and rewrites this file last; a kill or a full disk can leave it empty.
            whole = (step for step in self._saved_steps() if self._state_is_whole(step))
            return next(whole, 0)

    def published_steps(self) -> list[int]:
        """Steps with a published folder, ascending."""
        return self.published.steps()

    def ingest(self, deadline: float | None = None) -> list[int]:
        """Verify and publish every step that verl has finished; returns the new ones.

        A step is compared with the base (names, shapes, dtype), checked for values that are not
        finite, hashed, flushed to disk and published atomically by one rename. Of verl's folders
        only the newest `keep_states` with a training state are kept.

        Args:
            deadline: Time (`time.monotonic`) by which the call must return; a step that would miss
                it, judged by the slowest step so far, is left for the next call.

        Raises:
            StageFailed: verl wrote tensors that differ from the base's, or non-finite values.
            UserError: The disk is full.
        """
        new: list[int] = []
        saved = self.saved_step()
        if saved == self._ingested:
            return new
        known = set(self.published.steps())
        for step in range(1, saved + 1):
            folder = self._state(step) / "actor" / "huggingface"
            target = self.published.place(step)
            if step in known or target.exists():  # perhaps saved again after a resume
                shutil.rmtree(folder, ignore_errors=True)
                self._take(step, target)
                continue
            if not folder.is_dir():
                if self._state(step).is_dir():
                    raise StageFailed(f"step {step}: verl saved no model in {folder}")
                continue  # verl was configured to save fewer steps
            begin = time.monotonic()
            if deadline is not None and begin + self._slowest > deadline:
                return new
            self._publish(step, folder, target)
            self._take(step, target)
            self._slowest = max(self._slowest, time.monotonic() - begin)
            new.append(step)
        kept = list(self._with_state())[: self.keep_states]
        for step in self._saved_steps():
            if step <= saved and step not in kept:
                shutil.rmtree(self._state(step), ignore_errors=True)
        self._ingested = saved
        return new

    def check_room(self) -> None:
        """Check that the next save fits on the disk.

        The training state is assumed as large as the last one; the gathered weights follow from
        the base, or from the number of adapters. What verl has already written of the next save is
        not counted again.

        Raises:
            UserError: It does not fit.
        """
        saved, free = self.saved_step(), free_bytes(self.verl)
        need = self.next_save_bytes(saved) - _bytes_below(self._state(saved + 1))
        if need > free:
            raise UserError(
                f"the disk is nearly full: the checkpoint of step {saved + 1} needs {need:,} "
                f"bytes, {free:,} are free",
                where=str(self.verl),
                way_out="free some space, then run the same command again: training goes on from "
                f"step {next(self._with_state(), 0)}",
            )

    def next_save_bytes(self, saved: int) -> int:
        """Bytes needed by the save after step `saved`, before anything older is removed."""
        whole = stored_bytes(self.base, GATHERED_DTYPE)
        gathered = self.adapters * ITEM_BYTES[GATHERED_DTYPE] or whole
        as_saved = self.dtype == GATHERED_DTYPE and not self.adapters
        rewritten = 0 if as_saved else stored_bytes(self.base, self.dtype)
        trained = gathered + (whole if self.critic else 0)
        state = 0 if (saved + 1) % self.state_every else self._state_bytes(trained)
        return state + gathered + rewritten

    def prepare_resume(self, logged: Collection[int]) -> int:
        """Find the step to continue from and point verl at it.

        verl writes a step's metrics after its checkpoint. If it was ended between the two, the step
        is trained again from an earlier state, unless none is kept.

        Args:
            logged: Steps whose metrics verl has written.

        Returns:
            The newest step with a complete training state and metrics; 0 for a fresh start; the
            last step if all are published. Published steps after it are removed: training will
            reach them again, on a different path.

        Raises:
            UserError: Checkpoints were published but no training state is left to resume from.
        """
        self.ingest()
        saved = self.saved_step()
        candidates = [step for step in range(saved, 0, -1) if self._state_is_whole(step)]
        published = self.published_steps()
        told = [step for step in candidates if step in logged]
        complete = published == list(range(1, self.steps + 1))
        if complete and (self.steps in logged or not told):
            return self.steps
        if not candidates and published and published[-1] >= self.state_every:
            raise UserError(
                f"cannot resume: {len(published)} checkpoints are published but verl's training "
                "state is gone",
                where=str(self.verl),
                way_out="choose another run_dir, or move this one's train/ folder away",
            )
        step = next(iter([*told, *candidates]), 0)
        if not step:
            (self.verl / LATEST).unlink(missing_ok=True)
        elif (self.verl / LATEST).read_text() != str(step):
            write_text(self.verl / LATEST, str(step))
        self.published.remove_after(step)
        for later in self._saved_steps():  # incomplete, or from the abandoned path
            if later > step:
                shutil.rmtree(self._state(later))
        self._ingested = step
        return step

    def _state(self, step: int) -> Path:
        return self.verl / f"global_step_{step}"

    def _saved_steps(self) -> list[int]:
        """Steps of which verl has a folder, the newest first."""
        found = (folder.name[12:] for folder in self.verl.glob("global_step_*"))
        return sorted((int(step) for step in found if step.isdigit()), reverse=True)

    def _holds_state(self, step: int) -> bool:
        return any(_STATE.fullmatch(file.name) for file in (self._state(step) / "actor").glob("*"))

    def _with_state(self) -> Iterator[int]:
        """Steps whose state verl has finished saving, the newest first."""
        saved = self.saved_step()
        return (step for step in self._saved_steps() if step <= saved and self._holds_state(step))

    def _state_bytes(self, trained: int) -> int:
        """Bytes of the newest state; before the first one, from those of the trained weights."""
        newest = next(self._with_state(), None)
        if newest is None:
            return STATE_COPIES * trained
        folder = self._state(newest)
        # The gathered weights are counted separately, whether published or not.
        return _bytes_below(folder) - _bytes_below(folder / "actor" / "huggingface")

    def _state_is_whole(self, step: int) -> bool:
        """Whether every rank's actor and critic files and the data loader's position exist."""
        parts = ("actor", "critic") if self.critic else ("actor",)
        needed = [self._state(step) / "data.pt"]
        for part in parts:
            folder = self._state(step) / part
            found = [_STATE.fullmatch(file.name) for file in folder.glob("*.pt")]
            worlds = {int(match.group(1)) for match in found if match}
            if len(worlds) != 1:
                return False
            world = worlds.pop()
            needed += [
                folder / f"{kind}_world_size_{world}_rank_{rank}.pt"
                for kind in ("model", "optim", "extra_state")
                for rank in range(world)
            ]
            if part == "actor" and self._anchors is not None:
                names = (self._anchors.format(world=world, rank=rank) for rank in range(world))
                if not all((folder / name).is_file() for name in names):
                    return False
        return all(zipfile.is_zipfile(file) for file in needed)

    def _publish(self, step: int, folder: Path, target: Path) -> None:
        jump = self._jump_before(step) if self._jump_before is not None else None
        if holds_adapter(folder):
            shard = read_shard(folder / ADAPTER)
            self._check_finite(
                step, Layout(folder, {ADAPTER: shard}, dict.fromkeys(shard.entries, ADAPTER))
            )
            with full_disk_is_a_user_error(target):
                write_merged(
                    self.base, folder, target, step=step, origin="verl, LoRA merged", jump=jump
                )
                shutil.rmtree(folder)
            return
        layout = read_layout(folder)
        self._check(step, layout)
        with full_disk_is_a_user_error(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if layout.dtype != self.dtype or stores_head_twice(layout):
                cast_checkpoint(
                    folder,
                    target,
                    self.dtype,
                    step=step,
                    origin="verl",
                    companions=self.base.folder,
                    jump=jump,
                )
                shutil.rmtree(folder)
                return
            take_companions(folder, self.base.folder, self.dtype)
            write_manifest(folder, step, "verl", original_dtype=layout.dtype, jump=jump)
            for file in (file for file in folder.rglob("*") if file.is_file()):
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
            folder.rename(target)

    def _take(self, step: int, target: Path) -> None:
        if target.exists():
            with full_disk_is_a_user_error(target):
                self.published.take(step)

    def _check(self, step: int, layout: Layout) -> None:
        vocabulary = vocabulary_of({0: self.base, step: layout}, HashCache(None))
        theirs, ours = (_shapes(vocabulary.apply(each)) for each in (layout, self.base))
        if theirs != ours:
            odd = sorted(dict(theirs.items() ^ ours.items()))
            raise StageFailed(
                f"step {step}: verl saved other tensors than the base has: {', '.join(odd[:3])}"
            )
        if layout.dtype not in (GATHERED_DTYPE, self.dtype):
            raise StageFailed(
                f"step {step}: verl saved {layout.dtype}, from which {self.dtype} cannot be had; "
                "leave actor.fsdp_config.model_dtype at fp32, or set trainer.checkpoint_dtype"
            )
        self._check_finite(step, layout)

    def _check_finite(self, step: int, layout: Layout) -> None:
        bad = first_not_finite(layout)
        if bad is not None:
            raise StageFailed(
                f"step {step}: training diverged, {bad} has values that are not finite; choose a "
                "smaller learning rate and another run_dir"
            )


def _shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    return {name: tuple(layout.entry(name).shape) for name in layout.names}


def _bytes_below(folder: Path) -> int:
    """Bytes on disk of a folder's files, tolerating concurrent writes; 0 without a folder."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.stat(Path(place, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total
