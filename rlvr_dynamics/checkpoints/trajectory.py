"""A base model and the checkpoints of a training run, read lazily, tensor by tensor."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from rlvr_dynamics.checkpoints.adapter_identity import adapter_identity, prove_adapter
from rlvr_dynamics.checkpoints.adapter_values import merged_elements, update_elements
from rlvr_dynamics.checkpoints.adapters import Adapter, read_adapter
from rlvr_dynamics.checkpoints.buffers import check_buffers
from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.identity import (
    hashes_of,
    identity_of,
    known_identity,
    prove_folder,
    read_manifest,
)
from rlvr_dynamics.checkpoints.matching import (
    check_match,
    dtype_note,
    under_names_of,
    working_dtypes,
)
from rlvr_dynamics.checkpoints.model_config import says_tied
from rlvr_dynamics.checkpoints.proofs import Proofs
from rlvr_dynamics.checkpoints.shards import ITEM_BYTES, Layout, read_layout
from rlvr_dynamics.checkpoints.steps import base_folder, check_even, find_steps, select_steps
from rlvr_dynamics.checkpoints.stored_values import TORCH_DTYPES, raw_bytes, read_stored
from rlvr_dynamics.checkpoints.structure import Matrix, Structure, vocabulary_role
from rlvr_dynamics.checkpoints.tying import Vocabulary, vocabulary_of, vocabulary_of_one
from rlvr_dynamics.checkpoints.weight_files import holds_adapter
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system import progress

_PIECE = 1 << 22


class Trajectory:
    """A base (step 0) and its later checkpoints, checked to be the same model.

    Only headers are read on opening; a tensor's values are read when asked for, nothing is kept.

    Attributes:
        steps: Step numbers, rising, without the base.
        names: Tensor names, sorted; a tied head counts once, as the embedding.
        vocabulary: The embedding, the output head, and whether they are one tensor.
        structure: What every tensor of the model is.
        dtypes: The dtype in which each tensor is read: the steps', to which the base is cast.
        dtype: The same, of all tensors: `bfloat16`, or `bfloat16+float32`.
        notes: What is said of how base and steps were made to fit, in sentences.
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
    ) -> None:
        """Use `Trajectory.open`; this takes layouts that have been checked against each other."""
        self._layouts = layouts
        self._cache = cache
        self._verified = verified
        self._proofs = Proofs() if proofs is None else proofs
        base = layouts[0]
        self.steps: tuple[int, ...] = tuple(step for step in layouts if step != 0)
        self.names: tuple[str, ...] = tuple(base.names)
        self.vocabulary = vocabulary
        self.structure = structure or Structure({n: base.entry(n).shape for n in base.names})
        self.dtypes = working_dtypes(layouts) if dtypes is None else dtypes
        self.dtype = "+".join(sorted(set(self.dtypes.values())))
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
    ) -> "Trajectory":
        """Open a base model and a folder of checkpoints.

        Args:
            base: Hugging Face folder of the model before training.
            checkpoints: Folder with the steps in it, such as `step_<N>` or
                `global_step_<N>/actor/huggingface`.
            pattern: Name of a step's folder below it, with `{step}` for the number, where the
                trainers' conventions do not fit; see `find_steps`.
            allow_gaps: Accept uneven steps such as 1, 2, 4.
            steps: Only these steps, whatever their spacing; all when None.
            cache: File that remembers the hashes of folders without a manifest.
            trusted: Steps whose weights `verify` takes as they are: of those that are streamed
                from elsewhere, only a part is here at a time.

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
        for step, folder in folders.items():
            layouts[step], note = step_layout(base_layout, folder)
            notes[note] = None
        known = HashCache(cache)
        vocabulary = vocabulary_of(layouts, known)
        layouts = {step: vocabulary.apply(layout) for step, layout in layouts.items()}
        for step in folders:
            check_match(layouts[0], layouts[step], step)
        opened = cls(layouts, known, set(trusted), vocabulary)
        here = {step: layout for step, layout in layouts.items() if step not in opened._verified}
        buffers = check_buffers(here)
        if buffers:
            notes[f"not analysed, since they are the same at all steps: {shown(buffers)}"] = None
        notes[dtype_note(layouts[0], opened.dtypes)] = None
        if zero is not None:
            notes[_check_step_zero(opened, zero)] = None
        opened.notes = tuple(note for note in notes if note is not None)
        return opened

    @classmethod
    def of_one(cls, folder: Path) -> "Trajectory":
        """Open one checkpoint by itself, as a base without steps."""
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
        return Trajectory(
            layouts,
            self._cache,
            self._verified,
            self.vocabulary,
            self.dtypes,
            self._proofs,
            self.structure,
        )

    def of_tensors(self, names: Iterable[str]) -> "Trajectory":
        """Return the same trajectory restricted to some of its tensors."""
        keep = set(names)
        part = self.only(self.steps)
        part.names = tuple(name for name in self.names if name in keep)
        return part

    def beside(self, step: int, folder: Path) -> "Trajectory":
        """Return the same base with one other checkpoint, such as a prediction, as its step.

        Raises:
            UserError: The folder is not a checkpoint of the same model.
        """
        layout, _ = step_layout(self._layouts[0], Path(folder))
        layout = self.vocabulary.apply(layout)
        check_match(self._layouts[0], layout, step)
        layouts = {0: self._layouts[0], step: layout}
        return Trajectory(
            layouts,
            self._cache,
            self._verified & {0},
            self.vocabulary,
            self.dtypes,
            self._proofs,
            self.structure,
        )

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self._layouts[0].entry(name).shape

    def numel(self, name: str) -> int:
        """Return a tensor's number of elements, d."""
        return self._layouts[0].entry(name).numel

    def dtype_of(self, name: str) -> str:
        """Return the dtype in which a tensor is read."""
        return self.dtypes[name]

    @cached_property
    def matrices(self) -> tuple[Matrix, ...]:
        """The matrices of the layers; an expert's part of a fused tensor is one of its own."""
        return tuple(each for name in self.names for each in self.structure.matrices_of(name))

    @cached_property
    def block_matrices(self) -> tuple[str, ...]:
        """The names of the tensors that are, or hold, matrices of the layers."""
        return tuple(name for name in self.names if self.structure.matrices_of(name))

    @property
    def parameters(self) -> int:
        """Number of parameters, a tied head counted once."""
        return sum(self.numel(name) for name in self.names)

    @property
    def template(self) -> Layout:
        """A checkpoint that stores every tensor in a place of its own: the base, if it does."""
        return next(layout for layout in self._layouts.values() if layout.stores_all)

    def folder(self, step: int) -> Path:
        """Return the folder of a step; step 0 is the base."""
        return self._layouts[step].folder

    def layout(self, step: int) -> Layout:
        """Return the files and tensor places of a step."""
        return self._layouts[step]

    def tensor(self, step: int, name: str) -> Tensor:
        """Read one tensor in its dtype and shape; step 0 is the base."""
        return self.elements(step, name, 0, self.numel(name)).view(self.shape(name))

    def elements(self, step: int, name: str, start: int, stop: int) -> Tensor:
        """Read elements `start` to `stop` of a flattened tensor, in its dtype.

        Returns:
            Tensor of shape (stop - start,), owned by the caller.
        """
        values = torch.empty(stop - start, dtype=TORCH_DTYPES[self.dtypes[name]])
        self.read_elements(step, name, start, values)
        return values

    def read_elements(self, step: int, name: str, start: int, out: Tensor) -> None:
        """Read elements of a flattened tensor into contiguous room of its dtype.

        Args:
            step: The step; 0 is the base.
            name: The tensor.
            start: Position of the first element.
            out: Shape (c,), filled with elements `start` to `start + c`.
        """
        if out.numel() == 0:
            return
        layout = self._layouts[step]
        entry, stop = layout.entry(name), start + out.numel()
        if layout.adapter is not None and name in layout.adapter.changes:
            columns = self.shape(name)[-1]
            read_base = self._base_reader(name)
            out.copy_(merged_elements(layout.adapter, name, columns, start, stop, read_base))
            return
        path, what = layout.shards[layout.home[name]].path, f"tensor {name} of step {step}"
        direct = out if out.dtype == TORCH_DTYPES[entry.dtype] else None
        stored = read_stored(path, entry, start, stop, direct, what)
        self.prove_elements(step, name, start, raw_bytes(stored))
        if direct is None:
            out.copy_(stored)

    def prove_elements(self, step: int, name: str, start: int, data: memoryview) -> None:
        """Hash elements as they are used; see `verify`.

        Args:
            step: The step; 0 is the base.
            name: The tensor.
            start: Position of the first element.
            data: The bytes that are used, as stored.

        Raises:
            UserError: They complete the tensor, and it is not the recorded one.
        """
        layout = self._layouts[step]  # an adapter's is the base's, to which it adds
        entry = layout.entry(name)
        path = layout.shards[layout.home[name]].path
        self._proofs.feed(path, name, entry, start * ITEM_BYTES[entry.dtype], data)

    def computed_update(self, step: int, name: str, start: int, stop: int) -> Tensor | None:
        """Return what an adapter adds to elements of a tensor, which the merged weight has rounded.

        Returns:
            Shape (stop - start,), float32; None where the tensor lies in a file (see `computes`).
        """
        adapter = self._layouts[step].adapter
        if adapter is None or name not in adapter.changes:
            return None
        columns, read_base = self.shape(name)[-1], self._base_reader(name)
        return update_elements(adapter, name, columns, start, stop, read_base)

    def computes(self, step: int, name: str) -> bool:
        """Return whether a tensor's values are formed when they are read, and lie in no file."""
        adapter = self._layouts[step].adapter
        return adapter is not None and name in adapter.changes

    def _base_reader(self, name: str) -> Callable[[int, int], Tensor]:
        base = self._layouts[0]
        path, entry = base.shards[base.home[name]].path, base.entry(name)

        def read(start: int, stop: int) -> Tensor:
            stored = read_stored(path, entry, start, stop)
            self.prove_elements(0, name, start, raw_bytes(stored))
            return stored

        return read

    @cached_property
    def identities(self) -> dict[int, str]:
        """Identity of every step's weights (step 0: the base), from manifests or hashes."""
        found = {0: identity_of(self.folder(0), self._cache)}
        for step in self.steps:
            adapter = self._layouts[step].adapter
            found[step] = (
                identity_of(self.folder(step), self._cache)
                if adapter is None
                else adapter_identity(adapter, found[0], self._cache)
            )
        self._cache.flush()
        return found

    @cached_property
    def identity(self) -> str:
        """One identity for the base and all steps with their numbers."""
        lines = "".join(f"{step}:{value}\n" for step, value in sorted(self.identities.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def mark(self) -> str:
        """What changes whenever the weights do, without reading them.

        The identities in the manifests, or those that were taken; for folders with neither, size,
        time and inode of its files.
        """
        marks = {
            step: (read_manifest(layout.folder) or {}).get("identity")
            or (None if layout.adapter else known_identity(layout.folder, self._cache))
            or [HashCache.mark(path) for path in layout.files]
            for step, layout in sorted(self._layouts.items())
        }
        return hashlib.sha256(json.dumps(marks).encode()).hexdigest()

    @cached_property
    def repeats(self) -> list[tuple[int, int]]:
        """Pairs (earlier, later) of steps whose weight files are byte-identical; 0 is the base.

        Each later step is paired with the first step that has the same bytes. The same weights in
        another shard layout have other bytes and are not found here.
        """
        first: dict[str, int] = {}
        pairs = []
        for step, identity in sorted(self.identities.items()):
            if identity in first:
                pairs.append((first[identity], step))
            else:
                first[identity] = step
        return pairs

    def verify(self, *, threads: int = 2) -> None:
        """Read every weight file now and compare all of it, as `prove_on_reading` does later.

        Raises:
            UserError: A file differs from its manifest.
        """
        self.prove_on_reading(threads=threads)
        whole = [layout for layout in self._layouts.values() if layout.adapter is None]
        for folder, hashes in self._proofs.folders(whole):
            prove_folder(folder, hashes, threads)

    def prove_on_reading(self, *, threads: int = 2, show_progress: bool = False) -> None:
        """Check headers, configs and tokenizers, and prove every tensor from now on as it is read.

        A tensor is compared with the hash in its manifest, or with the one that it had when the
        identity of its folder was taken. Files of which neither is known are read and compared
        with their manifest here; folders with neither have nothing to be compared with.

        Raises:
            UserError: A file differs from its manifest.
        """
        known: dict[int, str] = self.__dict__.get("identities", {})
        for step, layout in self._layouts.items():
            if layout.adapter is not None and step in known:
                prove_adapter(layout.adapter, known[0], known[step])
        waiting = [
            step
            for step, layout in self._layouts.items()
            if step not in self._verified and layout.adapter is None
        ]
        with ThreadPoolExecutor(max_workers=threads) as pool:
            done = pool.map(lambda step: hashes_of(self.folder(step), self._cache), waiting)
            if show_progress:
                done = progress.bar(done, total=len(waiting), desc="verify", unit="checkpoint")
            for step, hashes in zip(waiting, done, strict=True):
                if hashes is not None:
                    self._proofs.expect(self._layouts[step], hashes)
                self._verified.add(step)
        self._cache.flush()

    def settle(self, name: str | None = None) -> None:
        """Prove also what was read in part only; called before anything is published.

        Args:
            name: Only this tensor, while others are at work on others.

        Raises:
            UserError: A tensor is not the recorded one.
        """
        self._proofs.settle(name)


def step_layout(base: Layout, folder: Path) -> tuple[Layout, str | None]:
    """Return the layout of a step's folder under the base's names, and what is said of it.

    Raises:
        UserError: The folder holds neither weights nor an adapter that can be read.
    """
    if not holds_adapter(folder):
        return under_names_of(base, read_layout(folder))
    adapter = read_adapter(folder, base)
    if any(vocabulary_role(name) for name in adapter.changes):
        _refuse_unsaid_head(base, adapter)
    said = "steps that are adapters: what they change is read as W_0 + scale B A, in float32"
    return replace(base, folder=folder, adapter=adapter), said


def _refuse_unsaid_head(base: Layout, adapter: Adapter) -> None:
    vocabulary = vocabulary_of_one(base)
    says = says_tied(base.folder)
    changed = sorted({vocabulary.embedding, vocabulary.head} & adapter.changes.keys())
    if vocabulary.tied and says is not False and changed and not adapter.ties:
        raise UserError(
            f"the adapter changes {changed[0]}, and the base's head and embedding are tied: "
            "whether the other follows is not said",
            where=str(adapter.folder),
            way_out="merge it with peft's merge_and_unload(), save each step whole, and give those",
        )


def _check_step_zero(trajectory: Trajectory, folder: Path) -> str | None:
    """Make sure that a base among the steps is the base, and return what is said of it.

    Raises:
        UserError: It is another model than the base, or has other weights.
    """
    base = trajectory.layout(0)
    if folder.resolve() == base.folder.resolve():
        return None
    zero, _ = step_layout(base, folder)
    zero = trajectory.vocabulary.apply(zero)
    check_match(base, zero, 0)
    both = Trajectory({0: base, 1: zero}, HashCache(None), set(), trajectory.vocabulary)
    for name in both.names:
        for start in range(0, both.numel(name), _PIECE):
            span = (name, start, min(both.numel(name), start + _PIECE))
            if not torch.equal(both.elements(0, *span), both.elements(1, *span)):
                raise UserError(
                    f"step 0 among the checkpoints is not the base: tensor {name} differs",
                    where=f"{base.folder} and {folder}",
                    way_out=f"if training started from it: source.base={folder}; if not, move it "
                    "away",
                )
    return f"{folder} is the base and no step of its own"


def shown(names: Sequence[str], most: int = 3) -> str:
    """Write a list of names that may be long."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
