"""The kind of every tensor of a model, from the names and shapes of all its tensors.

The papers analyse "the attention and MLP matrices". We take these to be the two-dimensional weights
inside the repeated layers, whatever their names, with fused experts as a stack of matrices, one
per expert. Embeddings, head, routers, norms, biases and convolutions are excluded.
Source: AlphaRL (arXiv 2510.00553), for Qwen and Llama, where both definitions agree.

Legend: E experts, m x n a matrix.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from rlvr_dynamics.checkpoints.names import (
    EMBEDDING_MODULES,
    HEAD_MODULES,
    is_norm,
    modules_of,
)

KINDS = {
    "matrix": "matrices of the layers",
    "embedding": "embeddings",
    "head": "output head",
    "router": "routers",
    "norm": "norms",
    "bias": "biases",
    "convolution": "convolutions",
    "other": "other tensors",
}

Shape = tuple[int, ...]
_NUMBER = re.compile(r"[0-9]{1,9}")
_EXPERT = re.compile(r"expert", re.IGNORECASE)
_MOE = re.compile(r"expert|moe", re.IGNORECASE)
_ROUTER = re.compile(r"router", re.IGNORECASE)
_GATE = re.compile(r"(?:.*_)?gate|wg")
_CONVOLUTION = re.compile(r"conv", re.IGNORECASE)
_EMBEDDING = re.compile(r"embed|^w[tp]e$|relative_attention_bias", re.IGNORECASE)


@dataclass(frozen=True)
class Matrix:
    """One weight matrix of a layer: a tensor, or one expert's part of a fused tensor.

    Attributes:
        label: The tensor's name, followed by `[e]` for expert e of a fused tensor.
        tensor: The tensor's name.
        start: Index of its first element in the flattened tensor.
        m: Rows.
        n: Columns.
    """

    label: str
    tensor: str
    start: int
    m: int
    n: int

    @property
    def stop(self) -> int:
        """One past the index of its last element in the flattened tensor."""
        return self.start + self.m * self.n


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in a stack of repeated layers."""

    stack: str
    layer: int
    rest: tuple[str, ...]


class Structure:
    """The kinds, layers and matrices of all tensors of one model.

    Args:
        shapes: Shape of every tensor, by name.
    """

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        """Find the stacks of layers and the experts of each layer."""
        self.shapes = dict(shapes)
        self._places = _places(self.shapes)
        blocks: dict[tuple[str, int], list[str]] = defaultdict(list)
        for name, place in self._places.items():
            blocks[place.stack, place.layer].append(name)
        self._experts = {block: _experts(names, self.shapes) for block, names in blocks.items()}
        self._kinds: dict[str, str] = {}
        self._matrices: dict[str, tuple[Matrix, ...]] = {}
        for name in self.shapes:
            self._matrices[name] = tuple(self._matrices_in(name))
            self._kinds[name] = "matrix" if self._matrices[name] else self._kind_of(name)

    def layer(self, name: str) -> float:
        """Return the layer number of a tensor; NaN if it is in no layer.

        A float, because tables store missing values as NaN.
        """
        place = self._places.get(name)
        return math.nan if place is None else float(place.layer)

    def kind(self, name: str) -> str:
        """Return the kind of a tensor, a key of `KINDS`."""
        return self._kinds[name]

    def matrices_of(self, name: str) -> tuple[Matrix, ...]:
        """Return the matrices of a tensor: none, one, or one per expert."""
        return self._matrices[name]

    @cached_property
    def matrices(self) -> tuple[Matrix, ...]:
        """All matrices of the layers, in the order of the tensors' names."""
        return tuple(each for name in sorted(self.shapes) for each in self._matrices[name])

    def _block_experts(self, name: str) -> set[int]:
        place = self._places[name]
        return self._experts[place.stack, place.layer]

    def _matrices_in(self, name: str) -> Iterable[Matrix]:
        shape = self.shapes[name]
        if name not in self._places or len(shape) not in (2, 3) or not math.prod(shape):
            return
        if name.endswith("bias") or is_norm(name) or self._is_embedding(name):
            return
        if self._is_router(name) or _is_convolution(name, shape):
            return
        modules, experts = self._places[name].rest, self._block_experts(name)
        fused = _fused(name, modules)
        if len(shape) == 3 and (fused or shape[0] in experts):
            count, m, n = shape
        elif len(shape) == 2 and fused and not name.endswith(".weight"):
            # Experts stacked along the rows of one matrix, as in DBRX.
            count = next((e for e in sorted(experts) if e > 1 and shape[0] % e == 0), 1)
            m, n = shape[0] // count, shape[1]
        elif len(shape) == 2 and name.endswith(".weight"):
            count, (m, n) = 1, shape
        else:
            return
        if min(m, n) < 2:
            return
        for expert in range(count):
            label = f"{name}[{expert}]" if len(shape) == 3 or count > 1 else name
            yield Matrix(label, name, expert * m * n, m, n)

    def _is_router(self, name: str) -> bool:
        modules, shape = self._places[name].rest, self.shapes[name]
        if len(shape) != 2 or _inside_expert(modules):
            return False
        if any(_ROUTER.search(module) for module in modules):
            return True
        experts = self._block_experts(name)
        if not experts or not any(_GATE.fullmatch(module) for module in modules):
            return False
        return shape[0] in experts or shape[0] == 1 or (modules[-1] == "gate" and experts == {0})

    def _is_embedding(self, name: str) -> bool:
        modules = modules_of(name)
        return len(self.shapes[name]) == 2 and (
            _EMBEDDING.search(modules[-1]) is not None or self._is_inner_head(name)
        )

    def _is_inner_head(self, name: str) -> bool:
        """Whether a tensor is the head of a layer for multi-token prediction."""
        return (
            len(self.shapes[name]) == 2
            and modules_of(name)[-1] in ("lm_head", "head", "shared_head")
            and any(
                shape == self.shapes[name] and vocabulary_role(other) == "embedding"
                for other, shape in self.shapes.items()
            )
        )

    def _kind_of(self, name: str) -> str:
        shape = self.shapes[name]
        if name.endswith("bias"):
            return "bias"
        if is_norm(name):
            return "norm"
        if len(shape) == 2 and name not in self._places and vocabulary_role(name):
            return vocabulary_role(name)
        if len(shape) == 2 and self._is_inner_head(name):
            return "head"
        if len(shape) == 2 and _EMBEDDING.search(modules_of(name)[-1]):
            return "embedding"
        if name in self._places and self._is_router(name):
            return "router"
        return "convolution" if _is_convolution(name, shape) else "other"


def vocabulary_role(name: str) -> str:
    """Return `embedding` or `head` if model families use a name for one of them, else ``."""
    modules = modules_of(name)
    if modules[-1] in EMBEDDING_MODULES:
        return "embedding"
    if modules[-1] in HEAD_MODULES or "lm_head" in modules:
        return "head"
    return ""


def in_layers(names: Iterable[str]) -> set[str]:
    """Return the names of tensors in repeated layers."""
    return set(_places(dict.fromkeys(names, ())))


def _places(shapes: Mapping[str, Shape]) -> dict[str, _Place]:
    """Find the stacks: numbers in names that have a block of modules below them.

    A list of single weights, such as the parts of a projector, does not count.
    """
    found: dict[str, tuple[str, int, tuple[str, ...]]] = {}
    stacks = set()
    for name in shapes:
        parts = name.split(".")
        at = next((at for at, part in enumerate(parts[:-1]) if _NUMBER.fullmatch(part)), None)
        if at is None:
            continue
        stack, rest = ".".join(parts[:at]), tuple(parts[at + 1 :])
        found[name] = (stack, int(parts[at]), rest)
        if len(rest) > 1:
            stacks.add(stack)
    return {name: _Place(*place) for name, place in found.items() if place[0] in stacks}


def _experts(names: Iterable[str], shapes: Mapping[str, Shape]) -> set[int]:
    """Return the possible numbers of experts of a layer; {0} if the names do not show it."""
    counts: set[int] = set()
    numbered: dict[str, set[int]] = defaultdict(set)
    has_experts = False
    for name in names:
        parts = name.split(".")
        for at, part in enumerate(parts[:-1]):
            if not _EXPERT.search(part):
                continue
            has_experts = True
            if _NUMBER.fullmatch(parts[at + 1]):
                numbered[".".join(parts[: at + 1])].add(int(parts[at + 1]))
        shape = shapes[name]
        if len(shape) == 3 and any(map(_MOE.search, parts)) and not _is_convolution(name, shape):
            counts.add(shape[0])
        if len(shape) == 2 and any(map(_ROUTER.search, parts)) and any(map(_MOE.search, parts)):
            counts.add(shape[0])
    counts |= {len(each) for each in numbered.values()}
    return counts or ({0} if has_experts else set())


def _fused(name: str, modules: tuple[str, ...]) -> bool:
    """Whether a tensor holds several experts: it is in an experts module and has no number."""
    return any(
        _EXPERT.search(module) and not _NUMBER.fullmatch(following) and "shared" not in module
        for module, following in zip(modules, (*modules[1:], ""), strict=True)
    )


def _inside_expert(modules: tuple[str, ...]) -> bool:
    return any(
        _EXPERT.search(module) and _NUMBER.fullmatch(following)
        for module, following in zip(modules, modules[1:], strict=False)
    )


def _is_convolution(name: str, shape: Shape) -> bool:
    return len(shape) > 2 and any(map(_CONVOLUTION.search, modules_of(name)))
