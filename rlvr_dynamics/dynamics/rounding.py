"""How much of an update is only rounding to the dtype in which weights are stored.

Rounding to the nearest moves a weight by up to half a unit in the last place (ulp). Where the
update is large beside the ulp, the errors are uniform in that range: ulp² / 12 of the squared norm
per weight, in no direction. Where it is small, weights stay where they were and others jump by a
whole ulp; the same number then says that the stored update is not the trained one.

Two papers read weights in a narrower dtype than some are stored in: arXiv 2505.11711 counts the
changes of bfloat16 weights, and the code of RELEX subtracts float16 ones.

Legend: T observed steps, d elements of one tensor, c elements of a piece.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

BITS = {"float32": 23, "float16": 10, "bfloat16": 7}
"""Stored bits of the significand; the ulp of a weight in [2^e, 2^(e+1)) is 2^(e - bits)."""

BFLOAT16_TOLERANCE = 1e-5
"""Largest difference of two bfloat16 weights that still counts as none in arXiv 2505.11711."""

_EXPONENT = 0x7F800000  # of a float32; on its own it reads as the power of two below the value
_SMALLEST = {torch.float32: 2.0**-126, torch.bfloat16: 2.0**-126, torch.float16: 2.0**-14}


def power_squares(values: Float[Tensor, " c"]) -> float:
    """Return Σ 4^e over weights in [2^e, 2^(e+1)), from which their ulps follow for any dtype.

    Args:
        values: Weights as stored; subnormal ones and zeros count at the smallest normal exponent.
    """
    exponents = values.float().contiguous().view(torch.int32) & _EXPONENT
    powers = exponents.view(torch.float32).clamp_(min=_SMALLEST[values.dtype])
    return float(torch.linalg.vector_norm(powers, dtype=torch.float64)) ** 2


def exponent_counts(values: Float[Tensor, " c"]) -> Int[np.ndarray, " 256"]:
    """Return how many weights lie in [2^e, 2^(e+1)), at the places e + 127 of 256.

    Args:
        values: Weights as stored; subnormal ones and zeros count at the smallest normal exponent.
    """
    exponents = (values.float().contiguous().view(torch.int32) & _EXPONENT) >> 23
    least = int(np.log2(_SMALLEST[values.dtype])) + 127
    counts = torch.bincount(exponents.clamp_(min=least).flatten(), minlength=256)
    return counts.cpu().numpy()


def used_bits(values: Float[Tensor, " c"]) -> int:
    """Return the bits of the significand that stored weights use.

    Those of their dtype, but of float32 weights that were all cast from bfloat16 or float16 only
    the narrower dtype's.
    """
    if values.dtype != torch.float32:
        return BITS[str(values.dtype).removeprefix("torch.")]
    bits = values.contiguous().view(torch.int32)
    for used in (BITS["bfloat16"], BITS["float16"]):
        if not bool((bits & ((1 << (BITS["float32"] - used)) - 1)).any()):
            return used
    return BITS["float32"]


def rounding_share(
    powers: float, bits: Int[np.ndarray, " T"], squares: Float64[np.ndarray, " T"]
) -> Float64[np.ndarray, " T"]:
    """Return Σ ulp² / 12 over the squared norm of each update.

    Args:
        powers: Σ 4^e of the base's weights, from `power_squares`.
        bits: Bits of the significand of each step, from `used_bits`; 0 where no rounded weights
            are stored.
        squares: Squared Frobenius norm of each update, as stored.

    Returns:
        Values above 0, also above 1; NaN where nothing has moved or `bits` is 0.
    """
    known = (bits > 0) & (squares > 0.0)
    noise = powers * 4.0 ** -bits.astype(np.float64) / 12.0
    return np.divide(noise, squares, where=known, out=np.full(len(bits), np.nan))


def beside_rounded(
    steps: Float[Tensor, "*T c"], base: Float[Tensor, " c"], dtype: torch.dtype
) -> Float[Tensor, "*T c"]:
    """Round later weights as a run would have stored them that had begun at the rounded base.

    round(round(W_0) + (W_t − W_0)), which is plain rounding where the base is of the dtype already.
    Plain rounding moves every weight whose base lies near the middle between two values, however
    little it was trained: of a base that was dequantised from 4 bits, a tenth lie exactly there.

    Args:
        steps: W_t, in any dtype.
        base: W_0, in any dtype.
        dtype: What to round to.
    """
    return (steps.float() + (base.to(dtype).float() - base.float())).to(dtype)


def changes_in_bfloat16(
    base: Float[Tensor, " c"], steps: Float[Tensor, "T c"]
) -> tuple[Int[Tensor, " T"], Int[Tensor, " T"]]:
    """Count the weights that a run from the base in bfloat16 would show as changed.

    Args:
        base: W_0, in any dtype.
        steps: Every W_t in the same dtype.

    Returns:
        Those that differ by more than `BFLOAT16_TOLERANCE` (`beside_rounded`), and those that
        differ at all; int64 on the CPU.

    Source: arXiv 2505.11711, section 2. Its code also rounds the difference to bfloat16.
    """
    rounded = beside_rounded(steps, base, torch.bfloat16)
    moved = (rounded.float() - base.bfloat16().float()).abs_()
    return row_counts(moved > BFLOAT16_TOLERANCE), row_counts(moved > 0.0)


def float16_errors(
    base: Float[Tensor, " c"], steps: Float[Tensor, "T c"], updates: Float[Tensor, "T c"]
) -> Float64[Tensor, " T"]:
    """Return ‖(float16(W_t) − float16(W_0)) − ΔW_t‖², what a cast before subtracting costs.

    Args:
        base: W_0, in any dtype.
        steps: Every W_t in the same dtype.
        updates: ΔW_t, float32.

    Returns:
        Float64 on the CPU; not finite where a weight exceeds float16's range.

    Source: the released code of arXiv 2605.21468, which subtracts in float16 as well.
    """
    error = (steps.half() - base.half()).float().sub_(updates)
    return torch.linalg.vector_norm(error, dim=1, dtype=torch.float64).square().cpu()


def row_counts(chosen: Bool[Tensor, "T c"]) -> Int[Tensor, " T"]:
    """Return how many elements of each row are true, int64 on the CPU."""
    return chosen.sum(dim=1, dtype=torch.int32).to("cpu", torch.int64)
