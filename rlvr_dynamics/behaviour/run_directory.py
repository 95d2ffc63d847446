"""The job of a finished run: its base, its last step, its rank-1 recovery, its own benchmark."""

from pathlib import Path
from typing import Any

from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED, Job
from rlvr_dynamics.checkpoints.steps import find_steps
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.results.frames import select
from rlvr_dynamics.run_directory.configuration import read_config
from rlvr_dynamics.scoring.samples import read_benchmark
from rlvr_dynamics.system.sealed import read_parquet

FOLDER = "behaviour"
IN_DOMAIN = "in_domain"


def job_of(run_dir: Path, **changes: Any) -> Job:
    """Put together the job of a run directory.

    The recovery and the random update are taken where the run predicted them for its last step;
    precision, prompts and limits are those of its scoring.

    Args:
        run_dir: The run directory.
        changes: Attributes of `Job` that replace what the run says.

    Raises:
        UserError: It is no run directory, or its base, steps or benchmarks are not there.
    """
    config = read_config(run_dir)
    source, scoring = config.source, config.scoring
    checkpoints = Path(source.checkpoints or run_dir / "train" / "checkpoints")
    steps = find_steps(checkpoints, source.pattern)
    final = max(steps)
    base = Path(source.base or run_dir / "prepare" / "base")
    asked: dict[str, Any] = {
        "models": {BASE: base, TRAINED: steps[final], **_predictions(run_dir, final)},
        "questions": _benchmark(run_dir),
        "out": run_dir / FOLDER,
        "dtype": scoring.dtype,
        "template": scoring.template,
        "system_prompt": scoring.system_prompt,
        "thinking": scoring.thinking,
        "context": scoring.max_model_len,
        "seed": config.seed or 0,
        "draws": config.report.bootstrap_draws,
    }
    if scoring.max_tokens:
        asked["max_new_tokens"] = scoring.max_tokens
    return Job(**asked | changes)


def _predictions(run_dir: Path, final: int) -> dict[str, Path]:
    """The predictions of the last step that are analysed, as far as the run has them."""
    path = run_dir / "predictions" / "index.parquet"
    if not path.is_file():
        return {}
    index = read_parquet(path, columns=["method", "step", "path"])
    rows = select(index, (index["step"] == final) & index["method"].isin([RANK1, RANDOM]))
    found = {str(row["method"]): run_dir / str(row["path"]) for row in rows.to_dict("records")}
    return {role: found[role] for role in (RANK1, RANDOM) if role in found}


def _benchmark(run_dir: Path) -> Path:
    """The benchmark of the training's own domain, the first by name where there are several."""
    folder = run_dir / "prepare" / "benchmarks"
    files = sorted(folder.glob("*.parquet"))
    for file in files:
        if set(read_benchmark(file)["split"]) == {IN_DOMAIN}:
            return file
    raise UserError(
        f"no {IN_DOMAIN} benchmark" if files else "there are no benchmarks",
        where=str(folder),
        way_out="questions=FILE of another benchmark",
    )
