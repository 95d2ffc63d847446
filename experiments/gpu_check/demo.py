"""Step 3: the demo's whole loop on the device, from the base to the report."""

from rlvr_dynamics.results.frames import equal, last_step, numbers, values

from .bench import Bench, Command, Commands, batch, tiny
from .finding import Finding, above, at_most, holds, noted
from .product import (
    largest_of,
    later_steps,
    results,
    run,
    stage_seconds,
    table,
)

NAME, RUN = "demo", "run"
STEPS = 4
# A rate at which four steps move the model well beyond bfloat16's rounding.
LEARNING_RATE = 1.0e-4
LATER = (
    "measure.null_draws=20",
    "extrapolation.windows=[0.5]",
    "extrapolation.targets=[1.0]",
    "extrapolation.methods=[relex]",
    "extrapolation.reconstructions=[rank1_recovery]",
    "scoring.ladder=[1.0]",
    "report.bootstrap_draws=100",
)
# verl's own estimate of KL(vLLM, trainer), nats per token. In float32 both compute the same; in
# bfloat16 their kernels round apart.
KL_BOUND = {"cpu": 1e-3, "cuda": 2e-2}


def commands(bench: Bench) -> Commands:
    """Return the one run, with all stages."""
    own = (
        *tiny(bench),
        *batch(bench, prompts=8, updates=1),
        f"trainer.steps={STEPS}",
        f"algorithm.learning_rate={LEARNING_RATE}",
        *LATER,
    )
    return {RUN: Command(bench.folder(NAME) / RUN, own)}


def work(bench: Bench) -> list[Finding]:
    """Run all stages and look at what each left."""
    command = commands(bench)[RUN]
    run(command)
    metrics, norms, scores = (table(command, name) for name in ("metrics", "norms", "scores"))
    final = equal(norms, step=last_step(norms))
    trained, answered = numbers(metrics, "step"), numbers(scores, "accuracy")
    page = command.folder / "report" / "index.html"
    kl = largest_of(metrics.abs(), "rollout_corr/kl")
    missing = results(command).missing_stages
    return [
        holds("steps trained", len(trained), len(trained) == STEPS, str(STEPS)),
        above("smallest update of a tensor", float(values(final, "update_norm").min()), 0.0),
        _agreement(kl, bench),
        above("scored model x benchmark x protocol with an accuracy", len(answered), 0),
        holds("stages without a table", ", ".join(missing) or "none", not missing, "none"),
        holds("report", str(page), page.is_file(), "written"),
        noted("a training step", later_steps(metrics, "timing_s/step"), "s"),
        *(noted(f"stage {name}", secs, "s") for name, secs in stage_seconds(command).items()),
    ]


def _agreement(kl: float | None, bench: Bench) -> Finding:
    what = "trainer beside vLLM on the rollouts, largest |KL| a token"
    return at_most(what, float("nan") if kl is None else kl, KL_BOUND[bench.device], "nats")
