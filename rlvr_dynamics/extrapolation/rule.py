"""Rules that compute later weights from observed updates in one streaming pass.

Most methods predict W_0 + A M, where M (T x d) holds the observed updates of a tensor and A
(targets x T) depends on M only through its Gram matrix. Such a method is a small function that
returns A, and one streaming pass over the files serves all targets of a window. A method that
needs the matrices themselves returns low-rank changes of a saved step instead.

Legend: T observed steps, d elements of one tensor, m x n a weight matrix, k rank.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from rlvr_dynamics.checkpoints.trajectory import Trajectory


@dataclass(frozen=True)
class Window:
    """What a method may use, for one tensor.

    Attributes:
        steps: Observed step numbers, shape (T,), ascending.
        gram: M Mᵀ, shape (T, T), float64; None if the method does not need it.
        tensor: Name of the tensor.
        times: Optimizer time by step number, also of later steps, as far as the schedule of the
            learning rate is known; empty for methods on another clock.
        remarks: Lines to record, such as a fit that used a fallback; equal remarks are counted
            over the tensors and stored in the manifest.
    """

    steps: np.ndarray
    gram: np.ndarray | None
    tensor: str = ""
    times: Mapping[int, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LowRank:
    """A change left rightᵀ of one matrix of a tensor.

    Attributes:
        start: Index of the matrix's first element in the flattened tensor.
        left: Shape (m, k), float64.
        right: Shape (n, k), float64.
    """

    start: int
    left: "Tensor"
    right: "Tensor"

    @property
    def stop(self) -> int:
        """One past the index of the matrix's last element."""
        return self.start + len(self.left) * len(self.right)


@dataclass(frozen=True)
class Change:
    """One tensor of a prediction as low-rank changes of a saved step.

    Attributes:
        origin: A step of the window, or 0 for the base.
        parts: The changes to add to its matrices, in order; the remaining elements stay as at
            `origin`.
    """

    origin: int
    parts: tuple[LowRank, ...] = ()


KnownUpdates = Callable[
    [str, Sequence[int]], Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]] | None
]
"""Function of (tensor, steps) that returns the updates of each of its matrices at these steps, if
they are on record: u1 (T, m), σ1 (T,) and ‖ΔW‖_F (T,), signs arbitrary."""

RowWeights = Callable[[Window, np.ndarray, Mapping[str, Any], bool], np.ndarray]
TensorChanges = Callable[
    [
        "Trajectory",
        str,
        np.ndarray,
        Mapping[str, Any],
        Mapping[int, float],
        list[str],
        KnownUpdates | None,
    ],
    list[Change],
]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule from observed updates to weights; set either `row_weights` or `tensor_changes`.

    Attributes:
        name: The method's name.
        row_weights: Function of (window, targets, parameters, reconstruct) that returns A, shape
            (targets, T), float64.
        tensor_changes: Function of (trajectory of the window, tensor, targets, parameters,
            accuracy, remarks, updates on record or None) that returns one `Change` per target.
        needs_gram: Function from parameters to whether the method needs the Gram matrix (one more
            pass over the files if the stack does not fit the memory budget).
        uses_future: Function from parameters to whether anything after the window is used.
        holds: Function from a tensor's name to whether it always stays as last observed.
    """

    name: str
    row_weights: RowWeights | None = None
    tensor_changes: TensorChanges | None = None
    needs_gram: Callable[[Mapping[str, Any]], bool] = lambda parameters: False
    uses_future: Callable[[Mapping[str, Any]], bool] = lambda parameters: False
    holds: Callable[[str], bool] = lambda name: False
