"""The behaviour stage, which is optional: what the trained model says that its base would not."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.behaviour.job import BASE, RANDOM, RANK1, TRAINED, Course, Job
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.outside import foreign_companions
from rlvr_dynamics.flow.score import MERGED, graders
from rlvr_dynamics.flow.stage import Stage, sections
from rlvr_dynamics.results.frames import values
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.trajectory import open_trajectory, trained_now
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.scoring.samples import read_benchmark
from rlvr_dynamics.system.sealed import read_parquet

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints import Trajectory

IN_DOMAIN = "in_domain"
# How the scoring puts its questions.
PUT = ("dtype", "max_model_len", "max_tokens", "system_prompt", "template", "thinking")


def _settings(config: RunConfig) -> dict[str, Any]:
    """What changes the tables; the device and the size of a batch do not."""
    found = sections(config, "behaviour", "seed")
    for name in ("device", "batch"):
        found["behaviour"].pop(name)
    found |= {"scoring": config.scoring.model_dump(mode="json", include=set(PUT))}
    found |= {"draws": config.report.bootstrap_draws, "graders": graders(config)}
    return found | foreign_companions(config, steps=True)


def job_of(run: Run, out: Path) -> Job:
    """Base, last step, its rank-1 recovery, the random update and a benchmark of a run.

    The recovery and the random update are taken where the run predicted them for its last step.

    Args:
        run: The run.
        out: Folder of the tables.

    Raises:
        UserError: There is no benchmark to ask, or a checkpoint is damaged.
    """
    trajectory, asked, scoring = open_trajectory(run), run.config.behaviour, run.config.scoring
    return Job(
        models=_models(run, trajectory),
        questions=_benchmark(run.of("prepare") / "benchmarks", asked.benchmark),
        out=out,
        dtype=asked.dtype or scoring.dtype,
        device=asked.device,
        template=scoring.template,
        system_prompt=scoring.system_prompt,
        thinking=scoring.thinking,
        max_new_tokens=asked.max_new_tokens or scoring.max_tokens,
        context=scoring.max_model_len,
        limit=asked.limit,
        guide_tokens=asked.guide_tokens,
        batch=asked.batch,
        seed=run.config.seed,
        draws=run.config.report.bootstrap_draws,
        course=_course(run, trajectory),
    )


def _models(run: Run, trajectory: "Trajectory") -> dict[str, Path]:
    from rlvr_dynamics.checkpoints.whole_folders import whole_folder

    final, merged = trajectory.steps[-1], run.folder / MERGED
    models = {
        BASE: whole_folder(trajectory, 0, merged),
        TRAINED: whole_folder(trajectory, final, merged),
    }
    path = run.of("extrapolate") / "index.parquet"
    if path.is_file():
        index = read_parquet(path, columns=["method", "step", "path"])
        rows = index[index["step"].eq(final) & index["method"].isin([RANK1, RANDOM])]
        made = dict(zip(rows["method"], rows["path"], strict=True))
        models |= {role: run.folder / made[role] for role in (RANK1, RANDOM) if role in made}
    return models


def _course(run: Run, trajectory: "Trajectory") -> Course:
    """Checkpoints that read the same answers, and the path between them where it was measured."""
    from rlvr_dynamics.checkpoints.whole_folders import whole_folder
    from rlvr_dynamics.measurement.settings import evenly_spread
    from rlvr_dynamics.run_directory.optimizer import optimizer_of

    most, steps, merged = run.config.behaviour.checkpoints, trajectory.steps, run.folder / MERGED
    if not most:
        return Course()
    # Equal spacings, which the optimizer's null needs, are worth up to half of the checkpoints.
    even = (count for count in range(most, most // 2, -1) if len(steps) % count == 0)
    chosen = evenly_spread(steps, next(even, most))
    folders = {step: whole_folder(trajectory, step, merged) for step in chosen}
    return Course(folders, _path(run, steps), optimizer_of(run))


def _path(run: Run, steps: tuple[int, ...]) -> dict[int, float]:
    """Length of the whole model's path to every step; empty without norms or with gaps."""
    import numpy as np

    from rlvr_dynamics.dynamics import even_spacing

    file = run.of("measure") / "norms.parquet"
    if not file.is_file() or even_spacing(np.array(steps)) is None:
        return {}
    norms = read_parquet(file, columns=["step", "step_norm"])
    squares = norms.assign(square=values(norms, "step_norm") ** 2).pivot_table(
        index="step", values="square", aggfunc="sum"
    )
    lengths = np.sqrt(values(squares.reindex([*steps]), "square"))
    if not (lengths > 0.0).all():
        return {}
    return dict(zip(steps, np.cumsum(lengths).tolist(), strict=True))


def _benchmark(folder: Path, wanted: str | None) -> Path:
    """The benchmark that is asked for; else the first by name that is in domain throughout."""
    files = {file.stem: file for file in sorted(folder.glob("*.parquet"))}
    if wanted in files:
        return files[wanted]
    if wanted is not None or not files:
        raise UserError(
            f"behaviour.benchmark={wanted}: there is no such benchmark here"
            if files
            else "the stage behaviour has no benchmark to ask",
            where=str(folder),
            way_out=f"one of {', '.join(files)}" if files else "choose some: benchmark=math500",
        )
    for file in files.values():
        if set(read_benchmark(file)["split"]) == {IN_DOMAIN}:
            return file
    raise UserError(
        f"no {IN_DOMAIN} benchmark",
        where=str(folder),
        way_out=f"name another: behaviour.benchmark={next(iter(files))}",
    )


def _work(run: Run, folder: Path) -> None:
    from rlvr_dynamics.behaviour.measure import measure

    measure(job_of(run, folder), print)


def _identity(_run: Run, folder: Path) -> str:
    digest = hashlib.sha256()
    for table in sorted(folder.glob("*.parquet")):
        digest.update(table.name.encode() + hashlib.sha256(table.read_bytes()).digest())
    return digest.hexdigest()


STAGE = Stage(
    name="behaviour",
    version=2,
    needs=("prepare", "train", "measure", "extrapolate"),
    required=("prepare", "train"),
    packages=("torch", "transformers"),
    settings=_settings,
    work=_work,
    identity=_identity,
    in_place=True,
    inputs_now=trained_now,
)
