"""What a run's own records say of the optimizer that moved its weights."""

from rlvr_dynamics.measurement import OptimizerRecord
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.training import training_of
from rlvr_dynamics.schema.optimizers import GRADIENT, RATE, optimizer_keys, warms_up
from rlvr_dynamics.system.sealed import read_parquet


def optimizer_of(run: Run) -> OptimizerRecord:
    """Return the optimizer of the training behind a run; Adam's usual constants if unknown.

    verl logs the norm of the gradient before clipping; it is cut here where the run clips it. It
    logs the learning rate after its scheduler's step, so a logged rate is that of the next step;
    its first is 0 with a warm-up.
    """
    training = training_of(run)
    if training is None:
        return OptimizerRecord()
    table = read_parquet(training.metrics)
    algorithm, trainer = training.config.algorithm, training.config.trainer

    def column(name: str) -> dict[int, float]:
        if name not in table:
            return {}
        known = table[["step", name]].dropna()
        return dict(zip(known["step"].astype(int), known[name].astype(float), strict=True))

    logged = column(RATE)
    rates = {step + 1: rate for step, rate in logged.items()}
    if 1 in logged:
        rates[1] = 0.0 if warms_up(algorithm, trainer.verl_overrides) else logged[1]
    found = optimizer_keys(algorithm, trainer.verl_overrides)
    if found is None:
        return OptimizerRecord(beta1=None, learning_rates=rates)
    return OptimizerRecord(
        beta1=found.betas[0],
        beta2=found.betas[1] if found.name == "adamw" else None,
        weight_decay=found.weight_decay,
        updates=trainer.updates_per_rollout or 1,
        learning_rates=rates,
        gradient_sizes={
            step: min(norm, found.grad_clip) for step, norm in column(GRADIENT).items()
        },
    )
