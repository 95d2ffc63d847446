"""A base model and the checkpoints of a training run, read lazily, tensor by tensor."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.buffers import check_buffers
from rlvr_dynamics.checkpoints.delta_names import is_store
from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.identity import read_manifest
from rlvr_dynamics.checkpoints.layout import Layout
from rlvr_dynamics.checkpoints.matching import check_match, dtype_note, working_dtypes
from rlvr_dynamics.checkpoints.proofs import Proofs
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.checkpoints.step_identities import IdentifiedSteps
from rlvr_dynamics.checkpoints.step_layouts import check_step_zero, step_layout
from rlvr_dynamics.checkpoints.steps import base_folder, check_even, find_steps, select_steps
from rlvr_dynamics.checkpoints.structure import Matrix, Structure
from rlvr_dynamics.checkpoints.tying import Vocabulary, vocabulary_of


class Trajectory(IdentifiedSteps):
    """A base (step 0) and its later checkpoints, checked to be the same model.

    Opening reads only headers; values are read on request and not kept.

    Attributes:
        steps: Step numbers, ascending, without the base.
        names: Tensor names, sorted; a tied head counts once, as the embedding.
        vocabulary: The embedding, the output head, and whether they are one tensor.
        structure: The kind of every tensor of the model.
        dtypes: The dtype in which each tensor is read: the steps', to which the base is cast, or
            `round_to`.
        dtype: The dtypes of all tensors joined: `bfloat16`, or `bfloat16+float32`.
        stored_dtype: The same of the steps' files.
        round_to: The dtype to which weights are rounded as they are read; None: as stored.
        notes: Sentences on how base and steps were reconciled.
    """

    def __init__(
        self,
        layouts: dict[int, Layout],
        cache: HashCache,
        verified: set[int],
        vocabulary: Vocabulary,
        dtypes: dict[str, str] | None = None,
        proofs: Proofs | None = None,
        structure: Structure | None = None,
        round_to: str | None = None,
    ) -> None:
        """Take layouts that were checked against each other; use `Trajectory.open` instead."""
        stored = working_dtypes(layouts) if dtypes is None else dtypes
        dtypes = dict.fromkeys(stored, round_to) if round_to else stored
        proofs = Proofs() if proofs is None else proofs
        super().__init__(layouts, dtypes, proofs, cache, verified)
        self.round_to, self._stored_dtypes = round_to, stored
        base = layouts[0]
        self.names: tuple[str, ...] = tuple(base.names)
        self.vocabulary = vocabulary
        self.structure = structure or Structure({n: base.entry(n).shape for n in base.names})
        self.dtype = "+".join(sorted(set(dtypes.values())))
        self.stored_dtype = "+".join(sorted(set(stored.values())))
        self.notes: tuple[str, ...] = ()

    @property
    def tied(self) -> bool:
        """Whether the output head is the embedding, in the base and in every step."""
        return self.vocabulary.tied

    @classmethod
    def open(
        cls,
        base: Path | str,
        checkpoints: Path | str,
        *,
        pattern: str | None = None,
        allow_gaps: bool = False,
        steps: Iterable[int] | None = None,
        cache: Path | None = None,
        trusted: Iterable[int] = (),
        round_to: str | None = None,
    ) -> "Trajectory":
        """Open a base model and a folder of checkpoints.

        Args:
            base: Hugging Face folder of the model before training.
            checkpoints: Folder that contains the steps, such as `step_<N>` or
                `global_step_<N>/actor/huggingface`, or a delta store.
            pattern: Name of a step's folder in it, with `{step}` for the number, if the trainers'
                conventions do not apply; see `find_steps`.
            allow_gaps: Accept uneven steps such as 1, 2, 4.
            steps: Only these steps, whatever their spacing; all when None.
            cache: File that caches the hashes of folders without a manifest.
            trusted: Steps that `verify` skips: streamed checkpoints, of which only a part is on
                this disk at a time.
            round_to: `bfloat16` or `float16`: round weights to the nearest as they are read, as if
                the run had begun at the rounded base (`beside_rounded`).

        Raises:
            UserError: A folder is missing or damaged, the base does not match the checkpoints, or
                the steps have a gap or a repeated number.
        """
        base, checkpoints = Path(base), Path(checkpoints)
        base_layout = read_layout(base_folder(base, checkpoints))
        folders = find_steps(checkpoints, pattern)
        zero = folders.pop(0, None)
        if steps is not None:
            folders = select_steps(folders, steps, checkpoints)
        elif not allow_gaps:
            check_even(folders, checkpoints)
        layouts, notes = {0: base_layout}, {}
        store = open_store(checkpoints, base_layout.folder) if is_store(checkpoints) else None
        for step, folder in folders.items():
            layouts[step], note = step_layout(base_layout, folder, store)
            notes[note] = None
        known = HashCache(cache)
        vocabulary = vocabulary_of(layouts, known)
        layouts = {step: vocabulary.apply(layout) for step, layout in layouts.items()}
        for step in folders:
            check_match(layouts[0], layouts[step], step)
        opened = cls(layouts, known, set(trusted), vocabulary, round_to=round_to)
        here = {step: layout for step, layout in layouts.items() if step not in opened._verified}
        buffers = check_buffers(here)
        if buffers:
            notes[f"not analysed, since they are the same at all steps: {_shown(buffers)}"] = None
        notes[dtype_note(layouts[0], opened._stored_dtypes)] = None
        if round_to:
            notes[f"{opened.stored_dtype} files are read as {round_to}, rounded to the nearest"] = (
                None
            )
        if zero is not None:
            notes[check_step_zero(layouts[0], vocabulary, zero)] = None
        opened.notes = tuple(note for note in notes if note is not None)
        return opened

    @classmethod
    def of_one(cls, folder: Path) -> "Trajectory":
        """Open a single checkpoint, as a base without steps."""
        layout, known = read_layout(Path(folder)), HashCache(None)
        vocabulary = vocabulary_of({0: layout}, known)
        return cls({0: vocabulary.apply(layout)}, known, set(), vocabulary)

    def until(self, last: int) -> "Trajectory":
        """Return the same trajectory with the steps up to and including `last`."""
        return self.only(step for step in self.steps if step <= last)

    def only(self, steps: Iterable[int]) -> "Trajectory":
        """Return the same trajectory restricted to some of its steps."""
        keep = {0, *steps}
        layouts = {step: layout for step, layout in self._layouts.items() if step in keep}
        return self._with(layouts, self._verified)

    def stretch(self, first: int, last: int) -> "Trajectory":
        """Return the steps from one to another as a trajectory of its own.

        Step `first` is its base, and its steps are counted from there.

        Args:
            first: 0, or a step.
            last: A later step.
        """
        layouts = {
            step - first: layout for step, layout in self._layouts.items() if first <= step <= last
        }
        verified = {step - first for step in self._verified if first <= step <= last}
        return self._with(layouts, verified)

    @property
    def jumps(self) -> dict[int, dict[str, Any]]:
        """Steps whose manifest tells of a jump of the weights since the step before, and which."""
        manifests = {step: read_manifest(self.folder(step)) for step in self.steps}
        return {step: each["jump"] for step, each in manifests.items() if each and "jump" in each}

    def of_tensors(self, names: Iterable[str]) -> "Trajectory":
        """Return the same trajectory restricted to some of its tensors."""
        keep = set(names)
        part = self.only(self.steps)
        part.names = tuple(name for name in self.names if name in keep)
        return part

    def beside(self, step: int, folder: Path) -> "Trajectory":
        """Return the same base with another checkpoint, such as a prediction, as its only step.

        Raises:
            UserError: The folder is not a checkpoint of the same model.
        """
        layout, _ = step_layout(self._layouts[0], Path(folder))
        layout = self.vocabulary.apply(layout)
        check_match(self._layouts[0], layout, step)
        return self._with({0: self._layouts[0], step: layout}, self._verified & {0})

    def _with(self, layouts: dict[int, Layout], verified: set[int]) -> "Trajectory":
        return Trajectory(
            layouts,
            self._cache,
            verified,
            self.vocabulary,
            self._stored_dtypes,
            self._proofs,
            self.structure,
            self.round_to,
        )

    @cached_property
    def matrices(self) -> tuple[Matrix, ...]:
        """The matrices of the layers; each expert of a fused tensor is a separate matrix."""
        return tuple(each for name in self.names for each in self.structure.matrices_of(name))

    @property
    def parameters(self) -> int:
        """Number of parameters, a tied head counted once."""
        return sum(self.numel(name) for name in self.names)

    @property
    def template(self) -> Layout:
        """A checkpoint that stores every tensor separately: the base, if it does."""
        whole = [layout for layout in self._layouts.values() if layout.stores_all]
        return next((layout for layout in whole if not layout.in_store), whole[0])


def _shown(names: Sequence[str], most: int = 3) -> str:
    """Join names for a message, shortening a long list."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
