"""What a run's own records say of the optimizer that moved its weights."""

from rlvr_dynamics.measurement import OptimizerRecord
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema.optimizers import optimizer_keys
from rlvr_dynamics.system.sealed import read_parquet

RATE, GRADIENT = "actor/lr", "actor/grad_norm"


def optimizer_of(run: Run) -> OptimizerRecord:
    """Return the optimizer of a run that trained; Adam's usual constants for other checkpoints.

    verl logs the norm of the gradient before clipping; it is cut here where the run clips it.
    """
    metrics = run.of("train") / "metrics.parquet"
    if run.config.source.is_given or not metrics.exists():
        return OptimizerRecord()
    table = read_parquet(metrics)
    algorithm, trainer = run.config.algorithm, run.config.trainer

    def column(name: str) -> dict[int, float]:
        if name not in table:
            return {}
        known = table[["step", name]].dropna()
        return dict(zip(known["step"].astype(int), known[name].astype(float), strict=True))

    found = optimizer_keys(algorithm, trainer.verl_overrides)
    if found is None:
        return OptimizerRecord(beta1=None, learning_rates=column(RATE))
    return OptimizerRecord(
        beta1=found.betas[0],
        beta2=found.betas[1] if found.name == "adamw" else None,
        weight_decay=found.weight_decay,
        updates=trainer.updates_per_rollout,
        learning_rates=column(RATE),
        gradient_sizes={
            step: min(norm, found.grad_clip) for step, norm in column(GRADIENT).items()
        },
    )
