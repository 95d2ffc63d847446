"""Publish the checkpoints of a running verl job, one ordinary Hugging Face folder per step."""

import os
import shutil
import zipfile
from pathlib import Path

from rlvr_dynamics.atomic import full_disk_is_a_user_error, write_text
from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.errors import StageFailed, UserError

LATEST = "latest_checkpointed_iteration.txt"


class VerlRun:
    """verl's own checkpoint folder (`global_step_N`) beside the published one (`step_N`)."""

    def __init__(self, verl: Path, published: Path, base: Path, keep_states: int) -> None:
        """Name the two folders; `keep_states` optimizer states stay for a resume."""
        self.verl, self.published, self.keep_states = verl, published, keep_states
        self._shapes = _shapes(base)
        self._ingested = 0

    def saved_step(self) -> int:
        """Newest step that verl has finished saving; 0 when there is none."""
        try:
            return int((self.verl / LATEST).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def published_steps(self) -> list[int]:
        """Steps with a published folder, ascending."""
        return sorted(int(folder.name[5:]) for folder in self.published.glob("step_*"))

    def ingest(self) -> list[int]:
        """Publish every step that verl has finished; returns the new ones.

        The folder moves by one rename after its content has reached the disk, so a step is there
        whole or not at all. Optimizer states older than the newest `keep_states` are removed.

        Raises:
            StageFailed: verl wrote tensors that are not the base model's.
            UserError: The disk is full.
        """
        new: list[int] = []
        saved = self.saved_step()
        if saved == self._ingested:
            return new
        for step in range(1, saved + 1):
            folder = self.verl / f"global_step_{step}" / "actor" / "huggingface"
            target = self.published / f"step_{step}"
            if not folder.is_dir():
                continue
            if target.exists():  # saved once more after a resume from an earlier step
                shutil.rmtree(folder)
                continue
            if _shapes(folder) != self._shapes:
                raise StageFailed(f"step {step}: verl saved other tensors than the base has")
            with full_disk_is_a_user_error(target):
                write_manifest(folder, step, "verl")
                for file in folder.iterdir():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
                self.published.mkdir(parents=True, exist_ok=True)
                folder.rename(target)
            new.append(step)
        for step in range(1, saved - self.keep_states + 1):
            shutil.rmtree(self.verl / f"global_step_{step}", ignore_errors=True)
        self._ingested = saved
        return new

    def prepare_resume(self) -> int:
        """Find the step to continue from and point verl at it.

        Returns:
            The newest step whose training state is whole; 0 for a fresh start. Published steps
            after it are dropped: training will reach them again, on another path.

        Raises:
            UserError: Checkpoints were published but no training state is left to go on from.
        """
        self.ingest()
        saved = self.saved_step()
        candidates = [step for step in range(saved, 0, -1) if self._state_is_whole(step)]
        published = self.published_steps()
        if not candidates and published:
            raise UserError(
                f"cannot resume: {len(published)} checkpoints are published but verl's training "
                "state is gone",
                where=str(self.verl),
                way_out="choose another run_dir, or move this one's train/ folder away",
            )
        step = candidates[0] if candidates else 0
        if step != saved:
            self.verl.mkdir(parents=True, exist_ok=True)
            write_text(self.verl / LATEST, str(step)) if step else (self.verl / LATEST).unlink()
        for later in (other for other in published if other > step):
            shutil.rmtree(self.published / f"step_{later}")
        return step

    def _state_is_whole(self, step: int) -> bool:
        states = list((self.verl / f"global_step_{step}" / "actor").glob("*.pt"))
        return bool(states) and all(zipfile.is_zipfile(state) for state in states)


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    layout = read_layout(folder)
    return {name: tuple(layout.entry(name).shape) for name in layout.names}
