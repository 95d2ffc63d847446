"""The score stage: which checkpoints are scored, and where their answers and accuracies go."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.identity import combine, hashes_of, identity_of
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.cards import prediction_id, write_cards
from rlvr_dynamics.flow.outside import foreign_companions
from rlvr_dynamics.flow.stage import Stage, sections
from rlvr_dynamics.grading.grade import grader_version
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.trajectory import open_trajectory, trained_now
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.schema.shares import observed_step
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.scoring.jobs import EngineSettings, Mixed, Protocol, ScoredModel
from rlvr_dynamics.scoring.sizes import of_two_models, protocols_of, whole_models
from rlvr_dynamics.system.atomic import write_parquet
from rlvr_dynamics.system.hardware import gpus_found
from rlvr_dynamics.system.sealed import digest, read_parquet, sha256_of
from rlvr_dynamics.training.reward import KINDS

if TYPE_CHECKING:
    import pandas as pd

    from rlvr_dynamics.scoring.generation import Work

VALIDATION = "validation"
MERGED = "merged"  # whole copies of steps that no engine can load as they are stored


def _settings(config: RunConfig) -> dict[str, Any]:
    """What changes scores; another grader makes the stage grade its stored answers again."""
    values = sections(config, "scoring", "seed") | {"graders": graders(config)}
    return values | foreign_companions(config, steps=True)


def graders(config: RunConfig) -> dict[str, str]:
    """Version of the grader of every kind of answer in the benchmarks and validation problems."""
    kinds = {benchmark.kind for benchmark in config.benchmark.values()}
    kinds.add(KINDS.get(config.data.kind, "math"))
    return {kind: grader_version(kind) for kind in sorted(kinds)}


def models_to_score(run: Run, chosen: "pd.DataFrame") -> list[ScoredModel]:
    """Base, a ladder of real checkpoints with the ends of the windows, and every prediction.

    Args:
        run: The run.
        chosen: Rows of the index of predictions that are to be scored.
    """
    from rlvr_dynamics.checkpoints.whole_folders import whole_folder

    trajectory = open_trajectory(run)
    shares = set(run.config.scoring.ladder)
    ladder = {observed_step(trajectory.steps, share) for share in shares}
    ladder |= {int(observe) for observe in chosen["observe"] if observe}
    mixed = of_two_models(run.config, trajectory.steps)
    ladder |= {model.observe for model in mixed}
    merged = run.folder / MERGED
    models = [(str(ModelId.base()), whole_folder(trajectory, 0, merged))]
    models += [
        (str(ModelId.checkpoint(step)), whole_folder(trajectory, step, merged))
        for step in sorted(ladder)
    ]
    models += [(prediction_id(row), run.folder / row["path"]) for row in chosen.to_dict("records")]
    named = {*(ModelId.parse(name) for name, _ in models), *mixed}
    whole = {str(model) for model in whole_models(run.config, named)}
    found = _with_identities(run, models)
    real = {model.id: model for model in found}
    found += [_of_two(model, real) for model in mixed]
    return [replace(model, whole=model.id in whole) for model in found]


def _of_two(model: ModelId, real: Mapping[str, ScoredModel]) -> ScoredModel:
    """The line of the logits through the base and the last observed checkpoint, at the target."""
    earlier, later = real[str(ModelId.base())], real[str(ModelId.checkpoint(model.observe))]
    alpha = model.step / model.observe
    identity = digest({"earlier": earlier.identity, "later": later.identity, "alpha": alpha})
    mixed = Mixed(earlier.folder, alpha)
    return replace(later, id=str(model), identity=identity, mixed=mixed)


def _with_identities(run: Run, folders: list[tuple[str, Path]]) -> list[ScoredModel]:
    """Bind each model to the identity and the hashes of its weights."""
    cache = HashCache(run.folder / "identities.json")
    models = []
    for name, folder in folders:
        identity = identity_of(folder, cache)
        hashes = hashes_of(folder, cache)
        if hashes is not None and combine({n: h.sha256 for n, h in hashes.items()}) != identity:
            raise UserError(
                "a checkpoint changed while its identity was taken",
                where=str(folder),
                way_out="leave checkpoints alone while they are scored, then run again",
            )
        models.append(ScoredModel(name, folder, identity, hashes or {}))
    cache.flush()
    return models


def engine_settings(config: RunConfig) -> EngineSettings:
    """The engine's settings from the configuration, for the GPUs that are visible here."""
    scoring = config.scoring
    gpus = len(gpus_found()) if scoring.device == "cuda" else 0
    return EngineSettings(
        device=scoring.device,
        dtype=scoring.dtype,
        max_model_len=scoring.max_model_len,
        max_num_seqs=scoring.max_num_seqs,
        memory_share=scoring.gpu_memory_share,
        kv_cache_gib=scoring.kv_cache_gib,
        tensor_parallel=scoring.tensor_parallel,
        engines=scoring.engines_on(gpus),
        seeding=scoring.seeding,
        stall_seconds=scoring.stall_timeout_seconds,
        template=scoring.template,
        system_prompt=scoring.system_prompt,
        thinking=scoring.thinking,
    )


def score(run: Run, folder: Path) -> None:
    """Score every model on every benchmark of the run and write scores.parquet.

    Where a method has a grid, its candidates are scored on the validation problems first, and only
    the best of them meets the benchmarks (selection.parquet says which). With
    `scoring.validate_windows` the real checkpoints at the ends of the windows meet them too
    (validation.parquet), so that a run can be chosen among others without a benchmark.

    Raises:
        UserError: The run has no benchmarks.
        StageFailed: The engine broke; finished answers are kept.
    """
    import pandas as pd

    from rlvr_dynamics.scoring.table import scores_table

    files = sorted((run.of("prepare") / "benchmarks").glob("*.parquet"))
    if not files:
        raise UserError(
            "there are no benchmarks to score",
            where=str(run.of("prepare") / "benchmarks"),
            way_out="choose some: benchmark=math500",
        )
    benchmarks = {file.stem: file for file in files}
    protocols = protocols_of(run.config)
    index, regraded = read_parquet(run.of("extrapolate") / "index.parquet"), 0
    candidates = index.dropna(subset=["candidate_of"])
    # The validation problems are in the training domain, but of no benchmark's split.
    most_samples = replace(max(protocols, key=lambda each: each.samples), splits=None)
    if len(candidates):
        best, regraded = _best_candidates(run, folder, candidates, most_samples)
        index = pd.concat([index.drop(candidates.index), best])
    if run.config.scoring.validate_windows:
        regraded += _ends_of_windows(run, folder, index, most_samples)
    models = models_to_score(run, index)
    work = _generate(run, models, benchmarks, protocols, folder / "samples")
    table = scores_table(folder / "samples", [model.id for model in models], benchmarks)
    future = dict(zip(index["method"], index["uses_future"], strict=True))
    table["uses_future"] = [bool(future.get(method, False)) for method in table["method"]]
    write_parquet(folder / "scores.parquet", table)
    write_cards(run, index, table)
    if regraded + work.regraded:
        print(f"regraded {regraded + work.regraded} answers")


def _generate(
    run: Run,
    models: list[ScoredModel],
    benchmarks: dict[str, Path],
    protocols: list[Protocol],
    out: Path,
) -> "Work":
    from rlvr_dynamics.scoring.generation import score_models

    return score_models(
        models=models,
        benchmarks=benchmarks,
        protocols=protocols,
        settings=engine_settings(run.config),
        out=out,
        seed=run.config.seed,
    )


def _best_candidates(
    run: Run, folder: Path, candidates: "pd.DataFrame", protocol: Protocol
) -> "tuple[pd.DataFrame, int]":
    """Score candidates on the validation problems.

    Ties go to the candidate that comes first in the grid.

    Returns:
        The best rows under their method's name; how many stored answers were graded again.
    """
    named = [
        (prediction_id(row), run.folder / row["path"]) for row in candidates.to_dict("records")
    ]
    scored, regraded = _on_validation(run, folder, named, protocol)
    table = candidates.reset_index(drop=True)
    for column in ("accuracy", "ci_low", "ci_high", "questions", "samples"):
        table[column] = scored[column]
    groups = ["candidate_of", "observe", "step"]
    best = table.sort_values("accuracy", ascending=False, kind="stable").drop_duplicates(groups)
    table["chosen"] = table.index.isin(list(best.index))
    write_parquet(folder / "selection.parquet", table.drop(columns=["path"]))
    chosen = best.assign(method=best["candidate_of"]).reindex(columns=candidates.columns)
    return chosen, regraded


def _ends_of_windows(run: Run, folder: Path, index: "pd.DataFrame", protocol: Protocol) -> int:
    """Score the last observed checkpoint of every window on the validation problems."""
    from rlvr_dynamics.checkpoints.whole_folders import whole_folder

    trajectory = open_trajectory(run)
    ends = sorted({int(observe) for observe in index["observe"] if observe})
    named = [
        (str(ModelId.checkpoint(step)), whole_folder(trajectory, step, run.folder / MERGED))
        for step in ends
    ]
    if not named:
        return 0
    scored, regraded = _on_validation(run, folder, named, protocol)
    names = TABLES[VALIDATION].names
    write_parquet(folder / f"{VALIDATION}.parquet", scored.filter(items=names))
    return regraded


def _on_validation(
    run: Run, folder: Path, named: list[tuple[str, Path]], protocol: Protocol
) -> "tuple[pd.DataFrame, int]":
    """Score models on the validation problems; how many stored answers were graded again."""
    from rlvr_dynamics.scoring.table import scores_table

    file = folder / VALIDATION / f"{VALIDATION}.parquet"
    write_parquet(file, _validation_problems(run))
    models = [replace(model, whole=False) for model in _with_identities(run, named)]
    samples = folder / VALIDATION / "samples"
    work = _generate(run, models, {VALIDATION: file}, [protocol], samples)
    scored = scores_table(samples, [model.id for model in models], {VALIDATION: file})
    return scored, work.regraded


def _validation_problems(run: Run) -> "pd.DataFrame":
    """Return the held-out training problems as a benchmark."""
    import pandas as pd

    problems = read_parquet(run.of("prepare") / "val.parquet")
    return pd.DataFrame(
        {
            "question_id": [f"{VALIDATION}-{row:04d}" for row in range(len(problems))],
            "prompt": [messages[0]["content"] for messages in problems["prompt"]],
            "gold": [reward["ground_truth"] for reward in problems["reward_model"]],
            "kind": [KINDS.get(source, "math") for source in problems["data_source"]],
            "split": VALIDATION,
            "title": "Validation problems, held out of training",
        }
    )


STAGE = Stage(
    name="score",
    version=1,
    needs=("prepare", "train", "extrapolate"),
    required=("prepare", "train", "extrapolate"),
    packages=("vllm", "math-verify"),
    settings=_settings,
    work=score,
    identity=lambda _run, folder: sha256_of(folder / "scores.parquet"),
    in_place=True,
    inputs_now=trained_now,
)
