"""The nine steps in order."""

from . import (
    algorithms,
    demo,
    environment,
    interruption,
    measuring,
    packs,
    scores,
    shapes,
    spectra,
)
from .step import Step

STEPS = (
    Step("imports", "Imports, versions, the card, Ray", environment.work, 2, 10),
    Step("spectra", "Spectral sums on the card beside the processor", spectra.work, 2, 10),
    Step(demo.NAME, "The demo's loop on the device", demo.work, 6, 20, demo.commands),
    Step(shapes.NAME, "1.5B shapes, 4 updates a step", shapes.work, 10, 30, shapes.commands),
    Step(packs.NAME, "Packs at the longest samples", packs.work, 12, 40, packs.commands),
    Step(
        algorithms.NAME,
        "DAPO's refill and PPO's critic",
        algorithms.work,
        6,
        20,
        algorithms.commands,
    ),
    Step(
        interruption.NAME,
        "SIGTERM during a save, and the resume",
        interruption.work,
        8,
        25,
        interruption.commands,
    ),
    Step(scores.NAME, "Scoring in place beside fresh loads", scores.work, 8, 30, scores.commands),
    Step(
        measuring.NAME,
        "Measuring on the card beside the processor",
        measuring.work,
        6,
        25,
        measuring.commands,
    ),
)
