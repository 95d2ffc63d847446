"""The same decompositions on a GPU, at the matrix sizes of a 7B model.

Legend: T steps, d elements, m x n a weight matrix.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from perf.machine import median_of
from perf.report import NAN, Part, Row
from perf.settings import Settings
from rlvr_dynamics.dynamics import accumulate_gram, update_svd

FULL = "torch.linalg.svd on the card, float32"
COPY = "copy of float32 on the card"
TITLE = "On the GPU, matrix sizes of a 7B model, float32 updates"


def measure(settings: Settings, say: Callable[[str], None]) -> Part:
    """Measure on the first CUDA device; without one, say so and leave dashes."""
    if not torch.cuda.is_available():
        say("there is no GPU here: not measured")
        rows = [Row("everything", "s", NAN, NAN, FULL)]
        return Part(TITLE, rows, ["There is no GPU on this machine: not measured."])
    return measure_on(torch.device("cuda"), settings, say)


def measure_on(device: torch.device, settings: Settings, say: Callable[[str], None]) -> Part:
    """Measure on a given device.

    Args:
        device: Device of the updates.
        settings: Matrix shapes, steps, seed and repeats.
        say: Called with what is being measured.
    """

    def timed(action: Callable[[], Any]) -> float:
        def once() -> None:
            action()
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        once()  # the first call sets up libraries and buffers
        return median_of(once, settings.repeats)

    generator = torch.Generator(device).manual_seed(settings.seed)
    rows: list[Row] = []
    for name, (m, n) in settings.gpu_matrices.items():
        say(f"{name}, {m} x {n}")
        delta = _update(m, n, device, generator)
        ours = timed(lambda delta=delta: update_svd(delta, 1))
        full = timed(lambda delta=delta: torch.linalg.svd(delta, full_matrices=False))
        found = float(update_svd(delta, 1).singular_values[0])
        # Float32 rounding would be larger than the error being measured.
        plain = float(torch.linalg.svdvals(delta.double())[0])
        rows += [
            Row(f"{name} {m} x {n}, k = 1, cold start: time", "s", ours, full, FULL),
            Row(
                f"{name} {m} x {n}: relative difference of σ1 from the full SVD in float64",
                "",
                abs(found / plain - 1),
                comparable=False,
            ),
        ]
    name, (m, n) = max(settings.gpu_matrices.items(), key=lambda item: item[1][0] * item[1][1])
    steps = settings.gpu_steps
    say(f"Gram matrix of {steps} updates of {name}")
    updates = torch.randn(steps, m * n, device=device, generator=generator)
    gram = torch.zeros(steps, steps, dtype=torch.float64, device=device)
    other = torch.empty_like(updates)
    size = updates.numel() * updates.element_size() / 1e9
    accumulated = timed(lambda: accumulate_gram(gram, updates))
    single = timed(lambda: updates @ updates.T)
    copied = timed(lambda: other.copy_(updates))
    rows += [
        Row(
            f"Gram matrix, float64, T = {steps}, {name}: time",
            "s",
            accumulated,
            single,
            "M @ M.T on the card, float32",
        ),
        Row(
            f"Gram matrix, float64, T = {steps}, {name}: time per GB",
            "s/GB",
            accumulated / size,
            copied / size,
            COPY,
        ),
    ]
    label = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return Part(
        title=TITLE,
        rows=rows,
        notes=[
            f"{label}; synthetic Gaussian updates with a rank-1 part; median of "
            f"{settings.repeats} runs after one that does not count; the device is waited for.",
            f"The Gram matrix was read at {size / accumulated:.3g} GB/s; a copy reads at "
            f"{size / copied:.3g} GB/s (and writes as much).",
        ],
        details={"device": label, "dtype": "float32", "matrices": _lists(settings.gpu_matrices)},
    )


def _update(m: int, n: int, device: torch.device, generator: torch.Generator) -> torch.Tensor:
    """Return an update with a clear leading direction: noise plus a rank-1 part twice its norm."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=device, generator=generator)

    return draw(m, n).addr_(draw(m), draw(n), alpha=2.0).mul_(1e-5)


def _lists(shapes: dict[str, tuple[int, int]]) -> dict[str, Sequence[int]]:
    return {name: list(shape) for name, shape in shapes.items()}
