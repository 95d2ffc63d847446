"""The layout of a checkpoint: its files, its tensors, and what an adapter changes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from rlvr_dynamics.errors import UserError

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


class Versions(Protocol):
    """Where the weight files of a step come from that are not on the disk (`DeltaStore`)."""

    def read(self, step: int, file: str, begin: int, out: Any) -> None:
        """Fill memory with bytes of a file, within one tensor."""
        ...

    def read_together(
        self, step: int, file: str, begin: int, out: Mapping[int, Any], first: Any = None
    ) -> Any:
        """Do the same for several steps; return where they differ from `first`, if known."""
        ...

    def reading_bytes(self, steps: Iterable[int]) -> int:
        """Return the memory that reading a tensor at some steps together takes."""
        ...

    def hash_at(self, step: int, file: str, begin: int) -> str | None:
        """Return the XXH3 of the tensor that begins at a place of a file."""
        ...

    def hashes(self, step: int) -> dict[str, Any]:
        """Return the hashes of a step's files (`FileHashes`)."""
        ...

    def check_beside(self, step: int) -> None:
        """Compare what lies beside the weights with the manifest."""
        ...

    def damaged(self, step: int, file: str, begin: int) -> UserError:
        """Return the error for a tensor that is not what the manifest says."""
        ...


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies in its file: bytes `begin` to `end`, counted from the file's start."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Shard:
    """One safetensors file.

    Attributes:
        path: The file.
        data_start: Offset of its values.
        size: Its size in bytes.
        entries: Its weights.
        others: Tensors that are not weights, by stored name; `dtype` may be any of the format's.
        stored: For renamed weights, their names in the file.
        store: The delta store (`DeltaStore`) whose version `step` has this file; the file itself is
            then not on the disk.
        step: See `store`.
    """

    path: Path
    data_start: int
    size: int
    entries: dict[str, TensorEntry]
    others: dict[str, TensorEntry] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    store: Versions | None = None
    step: int = 0

    def renamed(self, names: Mapping[str, str]) -> "Shard":
        """Return this file with every weight renamed."""
        return replace(
            self,
            entries={names[stored]: entry for stored, entry in self.entries.items()},
            stored={names[stored]: self.stored.get(stored, stored) for stored in self.entries},
        )


@dataclass
class Change:
    """What an adapter does to one tensor of the base.

    Attributes:
        replacement: Stored values that replace the base's.
        left: B, or A for a weight that is stored transposed.
        right: A, or B for a weight that is stored transposed.
        transposed: Whether the weight is stored as (inputs, outputs), like an embedding.
        addition: Stored values that are added.
        scale: Factor of the product and of the addition.
    """

    replacement: TensorEntry | None = None
    left: TensorEntry | None = None
    right: TensorEntry | None = None
    transposed: bool = False
    addition: TensorEntry | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Adapter:
    """The adapter of one step.

    Attributes:
        path: File of its tensors.
        settings: File of its settings.
        changes: Its changes, by the base's tensor names.
        size: Size of the tensor file in bytes.
        ties: Whether a change of the embedding also applies to a tied output head.
    """

    path: Path
    settings: Path
    changes: dict[str, Change]
    size: int
    ties: bool


@dataclass(frozen=True)
class Layout:
    """The weights of one checkpoint folder: its files, and the file of every tensor.

    With an `adapter`, the files are the base's and the adapter changes their values.

    Attributes:
        folder: The checkpoint.
        shards: Its files by name.
        home: The file of every tensor, copies included.
        adapter: The adapter, if the step is one.
        copies: Stored duplicates, mapped to the tensor they repeat; not counted as tensors.
        lent: Tensors that are not stored, mapped to the stored tensor that is read instead.
    """

    folder: Path
    shards: dict[str, Shard]
    home: dict[str, str]
    adapter: Adapter | None = None
    copies: dict[str, str] = field(default_factory=dict)
    lent: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Tensor names, sorted, copies left out."""
        return sorted(self.home.keys() - self.copies.keys())

    def sharing(self, lent: Mapping[str, str], copies: Mapping[str, str]) -> "Layout":
        """Return this layout with tensors that share the storage of others.

        Args:
            lent: Names that are not stored, mapped to the stored tensor to read instead.
            copies: Names that repeat another tensor; names that are not stored are ignored.
        """
        shards, home = dict(self.shards), dict(self.home)
        for name, stored in lent.items():
            shard = shards[home[stored]]
            entries = shard.entries | {name: shard.entries[stored]}
            shards[home[stored]] = replace(shard, entries=entries)
            home[name] = home[stored]
        repeated = {name: other for name, other in copies.items() if name in home}
        return replace(self, shards=shards, home=home, copies=repeated, lent=dict(lent))

    @property
    def stores_all(self) -> bool:
        """Whether every tensor is stored separately, so that a checkpoint can use this layout."""
        return all(stored in self.copies for stored in self.lent.values())

    def entry(self, name: str) -> TensorEntry:
        """Return the place of a tensor."""
        return self.shards[self.home[name]].entries[name]

    def dtype_of(self, name: str) -> str:
        """Return the dtype in which a tensor is read; float32 if an adapter changes it."""
        changed = self.adapter is not None and name in self.adapter.changes
        return "float32" if changed else self.entry(name).dtype

    def renamed(self, names: Mapping[str, str]) -> "Layout":
        """Return this layout with the tensors in `names` renamed."""
        every = {name: names.get(name, name) for name in self.home}
        shards = {file: shard.renamed(every) for file, shard in self.shards.items()}
        home = {every[name]: file for name, file in self.home.items()}
        return replace(self, shards=shards, home=home)

    @property
    def in_store(self) -> bool:
        """Whether the files are not on the disk but in a delta store."""
        return any(shard.store is not None for shard in self.shards.values())

    @property
    def dtype(self) -> str:
        """The stored dtype, joined by `+` when tensors differ."""
        return "+".join(sorted({self.entry(name).dtype for name in self.names}))

    @property
    def files(self) -> list[Path]:
        """The files that hold the weights; for an adapter, its own file."""
        if self.adapter is not None:
            return [self.adapter.path, self.adapter.settings]
        return [shard.path for shard in self.shards.values()]

    @property
    def data_bytes(self) -> int:
        """Size of all weight files in bytes."""
        if self.adapter is not None:
            return self.adapter.size
        return sum(shard.size for shard in self.shards.values())
