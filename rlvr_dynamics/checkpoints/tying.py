"""Whether a model's output head is its embedding, decided by the bytes of both.

Configs are unreliable: they are silent, cover only a part of the model, or say "tied" although the
saved matrices differ. The head counts as the embedding if both have the same bytes in the base and
in every step, or if only one of them is stored; a head that differs anywhere is a separate tensor
everywhere. Names are used only to find the two tensors to compare.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.identity import read_manifest
from rlvr_dynamics.checkpoints.layout import Layout
from rlvr_dynamics.checkpoints.model_config import says_tied
from rlvr_dynamics.checkpoints.structure import in_layers, vocabulary_role
from rlvr_dynamics.errors import UserError

# A manifest's entry on head and embedding, for a checkpoint whose values are not on this disk.
SAME_HEAD = "head_is_embedding"
STREAMED = ", streamed"  # suffix of such a checkpoint's source
_FIRST_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class Vocabulary:
    """The two matrices with one row per token, and whether they are the same tensor.

    Attributes:
        embedding: Name of the embedding; empty if none is stored.
        head: Name of the output head; empty if none is stored.
        tied: Whether they are one tensor, or only one of them is stored.
    """

    embedding: str
    head: str
    tied: bool

    def apply(self, layout: Layout) -> Layout:
        """Return a checkpoint's layout in which every tensor has one name and one position.

        A copy is not a separate tensor; one that is not stored is read from the other's position.
        """
        if not self.embedding or not self.head:
            return layout
        stored = [name for name in (self.embedding, self.head) if name in layout.home]
        if not stored:
            return layout
        wanted = (self.embedding,) if self.tied else (self.embedding, self.head)
        lent = {name: stored[0] for name in wanted if name not in stored}
        return layout.sharing(lent, {self.head: self.embedding} if self.tied else {})


def vocabulary_of(layouts: Mapping[int, Layout], cache: HashCache) -> Vocabulary:
    """Find embedding and head of a base (step 0) and its steps, and compare their bytes.

    Equal tensors are read to the end, but only once per file because the answer is cached.

    Args:
        layouts: The base and the steps as stored.
        cache: Cache for the answers.

    Raises:
        UserError: A file is truncated, a config is damaged, a head is missing, or a checkpoint
            that is only partly on disk does not say whether its head is its embedding.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layout in layouts.values():
        for name in layout.home:
            shapes.setdefault(name, layout.entry(name).shape)
    by_role = _outside_layers(shapes)
    pair = _pair(by_role, shapes)
    if pair is None:
        first = {role: (names or [""])[0] for role, names in by_role.items()}
        found = first["embedding"], first["head"]
        return Vocabulary(*found, tied=not all(found))
    both = {step: each for step, each in layouts.items() if set(pair) <= each.home.keys()}
    tied = all(are_equal(layout, *pair, cache) for layout in both.values())
    if both:
        _refuse_missing_head(layouts, set(both), tied)
    return Vocabulary(*pair, tied=tied)


def _refuse_missing_head(layouts: Mapping[int, Layout], both: set[int], tied: bool) -> None:
    """Reject checkpoints that lack a head which their config or another step declares untied."""
    said = {step: says_tied(layouts[step].folder) for step in layouts.keys() - both}
    apart = not tied and any(says_tied(layouts[step].folder) is False for step in both)
    lacking = sorted(step for step, word in said.items() if apart or word is False)
    if not lacking:
        return
    pair = (lacking[0], min(both))
    first, second = ("the base" if step == 0 else f"step {step}" for step in sorted(pair))
    raise UserError(
        f"{first} does not match {second}: the output head is tied to the embedding where step "
        f"{pair[0]} stores none, and of its own in step {pair[1]}",
        where=" and ".join(str(layouts[step].folder) for step in sorted(pair)),
        way_out="give the base that this run started from, and save all with their heads",
    )


def vocabulary_of_one(layout: Layout) -> Vocabulary:
    """Find embedding and head of one checkpoint; see `vocabulary_of`."""
    return vocabulary_of({0: layout}, HashCache(None))


def stored_pair(layout: Layout) -> tuple[str, str] | None:
    """Return the names of embedding and head, if both are stored with the same shape and dtype."""
    shapes = {name: layout.entry(name).shape for name in layout.home}
    pair = _pair(_outside_layers(shapes), shapes)
    if pair is None or len({layout.entry(name).dtype for name in pair}) != 1:
        return None
    return pair


def head_is_own(layout: Layout) -> bool:
    """Return whether a checkpoint's head and embedding are two separate tensors."""
    shapes = {name: layout.entry(name).shape for name in layout.home}
    pair = _pair(_outside_layers(shapes), shapes)
    return (
        pair is not None
        and vocabulary_role(pair[1]) == "head"
        and not layout.copies.keys() & set(pair)
    )


def are_equal(layout: Layout, first: str, second: str, cache: HashCache) -> bool:
    """Return whether two tensors of a checkpoint have the same dtype, shape and bytes."""
    one, other = layout.entry(first), layout.entry(second)
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    if layout.adapter is not None and {first, second} & layout.adapter.changes.keys():
        return layout.adapter.ties
    shard = layout.shards[layout.home[first]]
    if shard.store is not None:
        ends = [(layout.shards[layout.home[name]], layout.entry(name)) for name in (first, second)]
        hashes = {
            shard.store.hash_at(shard.step, each.path.name, entry.begin) for each, entry in ends
        }
        return len(hashes) == 1
    manifest = read_manifest(layout.folder) or {}
    if str(manifest.get("source")).endswith(STREAMED):
        return _recorded(layout, manifest)
    paths = [layout.shards[layout.home[name]].path for name in (first, second)]
    return cache.recall(
        f"{paths[0]}: {first} = {second}",
        paths,
        lambda: _same_bytes(paths, (one.begin, other.begin), one.end - one.begin),
    )


def _recorded(layout: Layout, manifest: Mapping[str, Any]) -> bool:
    known = manifest.get(SAME_HEAD)
    if not isinstance(known, bool):
        raise UserError(
            "a streamed checkpoint that does not say whether its head is its embedding",
            where=str(layout.folder),
            way_out="move this folder away; the same command fetches its headers again",
        )
    return known


def _same_bytes(paths: list[Path], starts: tuple[int, int], size: int) -> bool:
    with paths[0].open("rb", buffering=0) as one, paths[1].open("rb", buffering=0) as other:
        place, block = 0, _FIRST_BYTES
        while place < size:
            block = min(block, size - place)
            left = os.pread(one.fileno(), block, starts[0] + place)
            right = os.pread(other.fileno(), len(left), starts[1] + place)
            if not left or len(left) != len(right):
                raise UserError(
                    "truncated while it was read",
                    where=str(paths[0]),
                    way_out="leave checkpoints alone while they are analysed, then run again",
                )
            if left != right:
                return False
            place += len(left)
            block = _BLOCK_BYTES
    return True


def _outside_layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[str]]:
    """Return the matrices outside the layers by the role in their name, shortest first."""
    inner = in_layers(shapes)
    by_role: dict[str, list[str]] = {"embedding": [], "head": [], "": []}
    for name in sorted(shapes.keys() - inner, key=lambda name: (len(name), name)):
        if len(shapes[name]) == 2:
            by_role[vocabulary_role(name)].append(name)
    return by_role


def _pair(
    by_role: Mapping[str, list[str]], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[str, str] | None:
    """Return the names of embedding and head, if they are stored with the same shape.

    If no name tells, another matrix of the same shape outside the layers is compared.
    """
    for one, other in (("embedding", "head"), ("embedding", ""), ("", "head")):
        pairs = [
            (embedding, head)
            for embedding in by_role[one]
            for head in by_role[other]
            if shapes[embedding] == shapes[head]
        ]
        if pairs:
            return max(pairs, key=lambda pair: shapes[pair[0]])
    return None
