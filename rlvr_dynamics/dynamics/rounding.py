"""How much of an update is only rounding to the dtype in which weights are stored.

Rounding to the nearest moves a weight by up to half a unit in the last place (ulp). Where the
update is large beside the ulp, the errors are uniform in that range: ulp² / 12 of the squared norm
per weight, in no direction. Where it is small, weights stay where they were and others jump by a
whole ulp; the same number then says that the stored update is not the trained one.

Legend: T observed steps, d elements of one tensor, c elements of a piece.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

BITS = {"float32": 23, "float16": 10, "bfloat16": 7}
"""Stored bits of the significand; the ulp of a weight in [2^e, 2^(e+1)) is 2^(e - bits)."""

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
