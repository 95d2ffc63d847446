"""What a run's own records say of the optimizer that moved its weights."""

from rlvr_dynamics.measurement import OptimizerRecord
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.system.sealed import read_parquet

RATE, GRADIENT = "actor/lr", "actor/grad_norm"


def optimizer_of(run: Run) -> OptimizerRecord:
    """Return the optimizer of a run that trained; Adam's usual constants for other checkpoints.

    verl's AdamW has betas of 0.9 and 0.999. verl logs the norm of the gradient before clipping; it
    is cut here where the run clips it.
    """
    metrics = run.of("train") / "metrics.parquet"
    if run.config.source.is_given or not metrics.exists():
        return OptimizerRecord()
    table = read_parquet(metrics)
    clip = run.config.algorithm.grad_clip

    def column(name: str) -> dict[int, float]:
        if name not in table:
            return {}
        known = table[["step", name]].dropna()
        return dict(zip(known["step"].astype(int), known[name].astype(float), strict=True))

    return OptimizerRecord(
        updates=run.config.trainer.updates_per_rollout,
        learning_rates=column(RATE),
        gradient_sizes={step: min(norm, clip) for step, norm in column(GRADIENT).items()},
    )
