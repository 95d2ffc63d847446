"""Leading singular triples of a matrix's update: `dynamics.update_svd` against a full SVD.

Legend: m x n the matrix, s = min(m, n), k requested triples.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from perf.machine import by_turns, seconds_of
from perf.models import WEIGHT_SCALE
from perf.report import Part, Row
from perf.settings import Settings
from rlvr_dynamics.dynamics import UpdateSVD, update_svd

DECAY = 0.7  # σ_i falls as i^-0.7
UPDATE_SCALE = 4e-5  # root mean square of an update before rounding, as late in a real run
FULL = "torch.linalg.svd, float32, full_matrices=False"


def consecutive_updates(m: int, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the updates of one matrix at two neighbouring steps, float32, shape (m, n).

    Both come from known factors with σ_i = i^-0.7; the later one is 5 % longer and slightly
    rotated. Each is added to a base weight, rounded to bf16 like a saved checkpoint, and
    subtracted again, so it contains bf16's rounding noise.
    """
    generator = torch.Generator().manual_seed(seed)
    s = min(m, n)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    u, v = (torch.linalg.qr(draw(side, s)).Q for side in (m, n))
    sigma = torch.arange(1, s + 1, dtype=torch.float64) ** -DECAY
    earlier = (u * sigma) @ v.T
    earlier *= UPDATE_SCALE * (m * n) ** 0.5 / torch.linalg.vector_norm(earlier)
    later = 1.05 * earlier + 0.05 * UPDATE_SCALE * draw(m, n)
    base = (WEIGHT_SCALE * draw(m, n)).to(torch.bfloat16).double()
    first, second = (
        ((base + update).to(torch.bfloat16).double() - base).float() for update in (earlier, later)
    )
    return first, second


def measure(settings: Settings, say: Callable[[str], None]) -> Part:
    """Time both sides in turn, and compare both with the float64 decomposition."""
    m, n = settings.matrix
    earlier, delta = consecutive_updates(m, n, settings.seed)
    say(f"full decomposition of a {m} x {n} update in float64, as the truth")
    truth = torch.linalg.svd(delta.double(), full_matrices=False)
    rows: list[Row] = []
    details: dict[str, Any] = {"matrix": [m, n], "decay": DECAY, "dtype": "bfloat16 -> float32"}
    for k in settings.ranks:
        say(f"k = {k}")
        start = update_svd(earlier, k).v
        sides: dict[str, Callable[[], Any]] = {
            "cold": lambda k=k: update_svd(delta, k),
            "warm": lambda k=k, start=start: update_svd(delta, k, start=start),
            "full": lambda: torch.linalg.svd(delta, full_matrices=False),
        }
        times: dict[str, list[float]] = {side: [] for side in sides}
        # The first call of each sets up threads and buffers: use its result, not its time.
        answers = {side: action() for side, action in sides.items()}
        for _, side in by_turns(list(sides), settings.repeats):
            times[side].append(seconds_of(sides[side]))
        median = {side: statistics.median(found) for side, found in times.items()}
        u, sigma, _ = answers["full"]
        plain = _errors(sigma[:k].double(), u[:, :k].double(), truth)
        for side in ("cold", "warm"):
            found: UpdateSVD = answers[side]
            error = _errors(found.singular_values, found.u, truth)
            label = f"k = {k}, {side} start"
            rows += [
                Row(f"{label}: time", "s", median[side], median["full"], FULL),
                *(
                    Row(f"{label}: {what}", "", error[what], plain[what], FULL, comparable=False)
                    for what in error
                ),
            ]
        methods = {side: answers[side].method for side in ("cold", "warm")}
        details[f"k={k}"] = {"seconds": times, "method": methods}
    return Part(
        title=f"Leading singular triples of one update: {m} x {n}, bf16 weights, "
        f"σ_i = i^-{DECAY} before rounding",
        rows=rows,
        notes=[
            "Warm start: the right vectors of the step before. Errors are against the full float64 "
            "decomposition of the same update: the largest |σ_i - σ_i*| / σ_i* and the largest "
            "1 - |cosine| between left vectors, over the k triples.",
            f"Same {torch.get_num_threads()} threads on both sides, median of "
            f"{settings.repeats} alternating runs after one that does not count.",
            f"{float((delta != 0).double().mean()):.1%} of the elements of the update are not 0.",
        ],
        details=details,
    )


def _errors(sigma: Tensor, u: Tensor, truth: Any) -> dict[str, float]:
    k = len(sigma)
    near, exact = torch.nn.functional.normalize(u, dim=0), truth.U[:, :k]
    near = near * (near * exact).sum(dim=0).sign()
    return {
        "relative error of σ": float(((sigma - truth.S[:k]).abs() / truth.S[:k]).max()),
        "1 - cosine of u": float((near - exact).square().sum(dim=0).max()) / 2,
    }
