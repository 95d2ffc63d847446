"""The score stage: which checkpoints are scored, and where their answers and accuracies go."""

from pathlib import Path
from typing import Any

from rlvr_dynamics.atomic import write_parquet
from rlvr_dynamics.checkpoints import identity_of
from rlvr_dynamics.config import RunConfig
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.pipeline import Run
from rlvr_dynamics.scoring.generation import score_models
from rlvr_dynamics.scoring.jobs import EngineSettings, Protocol, ScoredModel
from rlvr_dynamics.scoring.table import scores_table
from rlvr_dynamics.stages import observed_step, open_trajectory


def models_to_score(run: Run) -> list[ScoredModel]:
    """Base, a ladder of real checkpoints with the ends of the windows, and every prediction."""
    import pandas as pd

    trajectory = open_trajectory(run)
    config = run.config
    shares = {*config.scoring.ladder, *config.extrapolation.windows}
    ladder = sorted({observed_step(trajectory.steps, share) for share in shares})
    models = [("base", run.base)]
    models += [(f"step_{step}", trajectory.folder(step)) for step in ladder]
    index = pd.read_parquet(run.of("extrapolate") / "index.parquet")
    for row in index.to_dict("records"):
        window = f"observe_{row['observe']}__" if row["observe"] else ""
        models.append((f"{row['method']}__{window}step_{row['step']}", run.folder / row["path"]))
    cache = run.folder / "identities.json"
    return [ScoredModel(name, Path(folder), identity_of(folder, cache)) for name, folder in models]


def engine_settings(config: RunConfig) -> EngineSettings:
    """The engine's settings from the configuration."""
    scoring = config.scoring
    return EngineSettings(
        device=scoring.device,
        dtype=scoring.dtype,
        max_model_len=scoring.max_model_len,
        max_num_seqs=scoring.max_num_seqs,
        memory_share=scoring.gpu_memory_share,
        kv_cache_gib=scoring.kv_cache_gib,
        tensor_parallel=scoring.tensor_parallel,
        engines=scoring.engines,
        stall_seconds=scoring.stall_timeout_seconds,
    )


def score(run: Run, folder: Path) -> None:
    """Score every model on every benchmark of the run and write scores.parquet.

    Raises:
        UserError: The run has no benchmarks.
        StageFailed: The engine broke; finished answers are kept.
    """
    files = sorted((run.of("prepare") / "benchmarks").glob("*.parquet"))
    if not files:
        raise UserError(
            "there are no benchmarks to score",
            where=str(run.of("prepare") / "benchmarks"),
            way_out="choose some: benchmark=math500",
        )
    benchmarks = {file.stem: file for file in files}
    protocols = [
        Protocol(**each.model_dump(), max_tokens=run.config.scoring.max_tokens)
        for each in run.config.scoring.protocols
    ]
    models = models_to_score(run)
    arguments: dict[str, Any] = {
        "models": models,
        "benchmarks": benchmarks,
        "protocols": protocols,
        "settings": engine_settings(run.config),
        "out": folder / "samples",
        "seed": run.config.seed,
    }
    score_models(**arguments)
    table = scores_table(folder / "samples", [model.id for model in models], benchmarks)
    write_parquet(folder / "scores.parquet", table)
