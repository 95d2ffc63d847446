"""What lies where in a checkpoint: its files, its tensors, and what an adapter changes of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


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
        data_start: Where its values start.
        size: Its size in bytes.
        entries: Its weights.
        others: What is no weight, by its stored name; `dtype` may be any of the format's.
        stored: The names in the file of those weights whose names were changed.
    """

    path: Path
    data_start: int
    size: int
    entries: dict[str, TensorEntry]
    others: dict[str, TensorEntry] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)

    def renamed(self, names: Mapping[str, str]) -> "Shard":
        """Return this file with every weight under another name."""
        return replace(
            self,
            entries={names[stored]: entry for stored, entry in self.entries.items()},
            stored={names[stored]: self.stored.get(stored, stored) for stored in self.entries},
        )


@dataclass
class Change:
    """What an adapter does to one tensor of the base.

    Attributes:
        replacement: Stored values that take the place of the base's.
        left: B, or for a weight that is stored transposed A.
        right: A, or for a weight that is stored transposed B.
        transposed: Whether the weight is stored as (inputs, outputs), like an embedding.
        addition: Stored values that are added.
        scale: Factor of the product and of what is added.
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
        path: The file of its tensors.
        settings: The file of its settings.
        changes: What it changes, by the base's names.
        size: Size of its tensors' file in bytes.
        ties: Whether an output head that is the embedding follows its change.
    """

    path: Path
    settings: Path
    changes: dict[str, Change]
    size: int
    ties: bool


@dataclass(frozen=True)
class Layout:
    """The weights of one checkpoint folder: its files, and the file of every tensor.

    With an `adapter` the files are the base's, changed by it.

    Attributes:
        folder: The checkpoint.
        shards: Its files by name.
        home: The file of every tensor, copies included.
        adapter: What changes the tensors, where the step is an adapter.
        copies: Stored tensors that repeat another one, and which; they are no tensors of their own.
        lent: Tensors that are not stored, and the stored one in whose place they are read.
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
        """Return this layout with tensors that lie where others do.

        Args:
            lent: Names that are not stored, and the stored tensor whose place is theirs.
            copies: Names that repeat another tensor; those that are not stored are passed over.
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
        """Whether every tensor has a place of its own, so that a checkpoint can be written so."""
        return all(stored in self.copies for stored in self.lent.values())

    def entry(self, name: str) -> TensorEntry:
        """Return the place of a tensor."""
        return self.shards[self.home[name]].entries[name]

    def dtype_of(self, name: str) -> str:
        """Return the dtype in which a tensor is read: what an adapter changes, in float32."""
        changed = self.adapter is not None and name in self.adapter.changes
        return "float32" if changed else self.entry(name).dtype

    def renamed(self, names: Mapping[str, str]) -> "Layout":
        """Return this layout with some tensors, those of `names`, under other names."""
        every = {name: names.get(name, name) for name in self.home}
        shards = {file: shard.renamed(every) for file, shard in self.shards.items()}
        home = {every[name]: file for name, file in self.home.items()}
        return replace(self, shards=shards, home=home)

    @property
    def dtype(self) -> str:
        """The stored dtype, joined by `+` when tensors differ."""
        return "+".join(sorted({self.entry(name).dtype for name in self.names}))

    @property
    def files(self) -> list[Path]:
        """The files that hold the weights, with an adapter its own."""
        if self.adapter is not None:
            return [self.adapter.path, self.adapter.settings]
        return [shard.path for shard in self.shards.values()]

    @property
    def data_bytes(self) -> int:
        """Size of all weight files in bytes."""
        if self.adapter is not None:
            return self.adapter.size
        return sum(shard.size for shard in self.shards.values())
