"""Leading singular triples of a large matrix by block Krylov iteration.

The basis of the smaller side grows by one block per round: X, A Aᵀ X, (A Aᵀ)² X, ..., each
orthonormalised against all earlier ones. The triples are those of A restricted to the basis
(Rayleigh-Ritz). Products with A dominate the time and use float32; the basis and everything of its
size use float64. Blocks are stored as rows, so that A is read in memory order.

Source: Musco and Musco, "Randomized Block Krylov Methods for Stronger and Faster Approximate
Singular Value Decomposition", arXiv 1504.05477, algorithm 2, with a stopping rule.

Legend: A is m x n, p = min(m, n) the near side, q = max(m, n) the far side, b rows of a block, c
rows of the basis, k requested triples, j start vectors.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 8
"""Rows of a block when few triples are requested: as fast as four in a float32 product."""

SPARE = 4
"""Minimum number of random rows in addition to the requested or given ones."""

_FLOAT32_NOISE = 1e-7
_SETTLED = 1e-2


class Products:
    """Float32 products of one matrix with blocks of vectors; counts them."""

    def __init__(self, matrix: Tensor) -> None:
        """Take a float32 matrix of shape (m, n)."""
        self.matrix = matrix
        self.passes = 0

    def right(self, rows: Tensor) -> Tensor:
        """Return the rows A x for rows x, shape (b, n); result (b, m)."""
        self.passes += 1
        # This product is twice as fast with the block as contiguous columns.
        return (self.matrix @ rows.to(torch.float32).mT.contiguous()).mT

    def left(self, rows: Tensor) -> Tensor:
        """Return the rows Aᵀ x for rows x, shape (b, m); result (b, n)."""
        self.passes += 1
        return rows.to(torch.float32) @ self.matrix


def most_passes(m: int, n: int) -> int:
    """Return the passes after which the iteration gives up: 48, or min(m, n) / 20 if larger.

    By then it has cost about as much as the Gram matrix and its eigenvectors.
    """
    return max(48, min(m, n) // 20)


def block_krylov(
    products: Products, k: int, *, start: Tensor | None, tolerance: float, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the k leading triples (u, σ, v) each time they seem converged, with growing accuracy.

    Triples are yielded when they look converged and no other triple seems able to overtake them. A
    start on a minor singular vector would satisfy that at once, so with j given vectors the first
    j + 1 triples must roughly have settled: at least one of them then comes from the random rows,
    which find the leading ones first. The caller computes the residual and continues the iteration
    if it is too large.

    Args:
        products: The matrix, with neither huge nor tiny entries.
        k: Number of triples.
        start: Guesses of right singular vectors, shape (n, j), or None.
        tolerance: Largest residual relative to σ1.
        seed: Seed of the random rows.

    Yields:
        Shapes (m, k), (k,) and (n, k), float64; nothing more after `most_passes` passes.
    """
    m, n = products.matrix.shape
    p, limit = min(m, n), most_passes(m, n)
    onward, back = (products.left, products.right) if m <= n else (products.right, products.left)
    block = _first_block(products, k, start, seed)
    b, given = len(block), 0 if start is None else start.shape[1]
    room = min(p, b * (limit // 2))
    basis, returns = block.new_empty(room, p), block.new_empty(room, p)
    gram, images = block.new_zeros(room, room), []
    for c in range(b, room + 1, b):
        if products.passes + 2 > limit:
            break
        new = slice(c - b, c)
        basis[new] = _orthonormal(block, basis[: c - b])
        images.append(onward(basis[new]))
        returns[new] = back(images[-1])
        gram[:c, new] = basis[:c] @ returns[new].mT
        gram[new, :c] = gram[:c, new].mT
        vectors = _converged(gram[:c, :c], basis[:c], returns[:c], k, given, tolerance)
        if vectors is not None:
            image = vectors.to(torch.float32) @ torch.cat(images)
            near, sigma, far = rayleigh_ritz((vectors @ basis[:c]).mT, image.mT.to(torch.float64))
            yield (near, sigma, far) if m <= n else (far, sigma, near)
        block = returns[new]


def rayleigh_ritz(near: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the triples of Nᵀ A, given an orthonormal N and the image Aᵀ N.

    Both sides are orthonormal, however small a singular value is.

    Args:
        near: N, shape (p, k), float64.
        image: Aᵀ N, shape (q, k), float64.

    Returns:
        Near vectors (p, k), singular values (k,) in descending order, far vectors (q, k).
    """
    far, small = torch.linalg.qr(image)
    left, sigma, right = torch.linalg.svd(small)
    return near @ right.mT, sigma, far @ left


def _first_block(products: Products, k: int, start: Tensor | None, seed: int) -> Tensor:
    m, n = products.matrix.shape
    given = 0 if start is None else start.shape[1]
    count = max(BLOCK, k + SPARE, given + SPARE) - given
    generator = torch.Generator().manual_seed(seed)
    # Drawn on the CPU, so that a seed gives the same numbers on every device.
    drawn = torch.randn(count, min(m, n), generator=generator, dtype=torch.float64)
    drawn = drawn.to(products.matrix.device)
    if start is None:
        return drawn
    guess = start.mT.to(drawn)
    return torch.cat([products.right(guess).to(drawn) if m <= n else guess, drawn])


def _orthonormal(block: Tensor, basis: Tensor) -> Tensor:
    # Repeated, because the first subtraction cancels most digits of a block near the basis.
    for _ in range(2):
        block = torch.linalg.qr((block - (block @ basis.mT) @ basis).mT).Q.mT
    return block


def _converged(
    gram: Tensor, basis: Tensor, returns: Tensor, k: int, given: int, tolerance: float
) -> Tensor | None:
    """Return the coordinates (k, c) of the requested near vectors; None if not accurate enough."""
    squares, vectors = torch.linalg.eigh(gram)
    squares, vectors = squares.flip(0).clamp(min=0.0), vectors.mT.flip(0)
    # ‖A Aᵀ x - σ² x‖ for each Ritz vector x; divided by σ it is the residual ‖A v - σ u‖.
    errors = torch.linalg.vector_norm(
        vectors @ returns - squares[:, None] * (vectors @ basis), dim=1
    )
    sigma = squares.sqrt()
    slack = tolerance * sigma[0]
    # Rounding in the products hides smaller errors; the final residual check decides.
    allowed = slack * sigma[:k] + _FLOAT32_NOISE * squares[0]
    wanted = (errors[:k] <= allowed).all()
    others = (squares[k:] + errors[k:] <= (sigma[k - 1] + slack) ** 2).all()
    settled = (errors[: given + 1] <= _SETTLED * squares[0]).all()
    return vectors[:k] if bool(wanted & others & settled) else None
