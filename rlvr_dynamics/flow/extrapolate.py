"""The extrapolate stage: which method predicts which step from which window."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import TooLittle, UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS, Prediction
from rlvr_dynamics.extrapolation.on_clock import tensors_on_step
from rlvr_dynamics.extrapolation.parameters import complete_parameters
from rlvr_dynamics.flow.cards import write_cards
from rlvr_dynamics.flow.outside import donor_of, donors, foreign_companions, given_records
from rlvr_dynamics.flow.stage import Stage, sections
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.trajectory import open_trajectory, trained_now, trajectory_of
from rlvr_dynamics.schema import Extrapolation, Method, Rebuilt, RunConfig
from rlvr_dynamics.schema.shares import observed_step, target_step
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.system.atomic import remove, write_parquet

if TYPE_CHECKING:
    import pandas as pd

    from rlvr_dynamics.checkpoints import Trajectory
    from rlvr_dynamics.extrapolation.job import Job
    from rlvr_dynamics.extrapolation.streaming import Forecast
    from rlvr_dynamics.measurement import AccuracySeries


def check_methods(settings: Extrapolation) -> None:
    """Refuse methods and parameters that are not registered.

    Raises:
        UserError: Names the method or parameter and the allowed ones.
    """
    for key, chosen, known in (
        ("methods", settings.methods, EXTRAPOLATORS),
        ("reconstructions", settings.reconstructions, RECONSTRUCTIONS),
    ):
        for each in chosen:
            if each.name not in known:
                raise UserError(
                    f"extrapolation.{key}: no method {each.name!r}",
                    way_out=f"allowed: {', '.join(known)}",
                )
            declared = known[each.name].parameters
            variants = each.variants if isinstance(each, Method) else {each.title: each.parameters}
            for parameters in variants.values():
                complete_parameters(each.title, declared, parameters)


def _settings(config: RunConfig) -> dict[str, Any]:
    values = sections(config, "extrapolation", "seed") | given_records(config)
    if config.measure.round_to is not None:
        values["round_to"] = config.measure.round_to
    return values | foreign_companions(config, steps=False) | donors(config)


def extrapolate(run: Run, folder: Path) -> None:
    """Write every prediction, their index and their distance from the real checkpoints.

    Predictions that an interrupted call finished are kept.

    Raises:
        UserError: An unknown method or parameter, or whatever a method finds wrong.
    """
    import pandas as pd

    from rlvr_dynamics.extrapolation.forecast import forecast_errors
    from rlvr_dynamics.run_directory.accuracy import accuracy_of, without_accuracy

    settings = run.config.extrapolation
    trajectory = open_trajectory(run, as_measured=True)
    if run.config.acceleration is not None and trajectory.jumps:
        print("the weights jumped while they were trained, and the windows go across the jumps")
    accuracy = accuracy_of(run, trajectory.steps)
    wanted: list[_Wanted] = []
    for method in settings.methods:
        if EXTRAPOLATORS[method.name].needs_accuracy and accuracy is None:
            print(f"{method.title} left out: {without_accuracy(run)}")
            continue
        wanted += _predicted(run, trajectory, method, accuracy)
    for rebuilt in settings.reconstructions:
        wanted += _rebuilt(run, trajectory, rebuilt, folder, accuracy)
    errors = _write_together(run, trajectory, wanted, folder)
    rows = [(made, each.candidate_of) for each in wanted for made in each.make()]
    index = pd.DataFrame(
        [_row(run, made, folder, candidate_of) for made, candidate_of in rows],
        columns=TABLES["index"].names,
    )
    known = [(made.method, made.observe, made.step, Path(made.folder)) for made, _ in rows]
    forecast = forecast_errors(
        trajectory, known, progress=True, threads=run.config.measure.threads, known=errors
    )
    future = {made.method: made.uses_future for made, _ in rows}
    forecast["uses_future"] = [future[method] for method in forecast["method"]]
    _add_clocks(forecast, settings, [made for made, _ in rows])
    write_parquet(folder / "forecast.parquet", forecast)
    write_parquet(folder / "index.parquet", index)
    _remove_others(folder, index)
    write_cards(run, index)


def _add_clocks(
    forecast: "pd.DataFrame", settings: Extrapolation, made: Sequence[Prediction]
) -> None:
    """Add on which clock each prediction was continued, and how many tensors could not be."""
    clocks = _clocks(settings)
    stayed = {
        (each.method, each.observe, each.step): tensors_on_step(each.remarks) for each in made
    }
    chosen = [clocks.get(method, (None, None)) for method in forecast["method"]]
    keys = zip(forecast["method"], forecast["observe"], forecast["step"], strict=True)
    forecast["clock"] = [clock for clock, _ in chosen]
    forecast["continuation"] = [continuation for _, continuation in chosen]
    forecast["tensors_on_step"] = [
        stayed[key] if clock == "path" else math.nan
        for key, (clock, _) in zip(keys, chosen, strict=True)
    ]


def _clocks(settings: Extrapolation) -> dict[str, tuple[str, str | None]]:
    """Return clock and continuation by label, of the methods that have a choice."""
    found = {}
    for method in settings.methods:
        declared = EXTRAPOLATORS[method.name].parameters
        for label, parameters in method.variants.items() if "clock" in declared else ():
            chosen = complete_parameters(method.title, declared, parameters)
            on_path = chosen["clock"] == "path"
            found[label] = (chosen["clock"], chosen["continuation"] if on_path else None)
    return found


@dataclass
class _Wanted:
    """Predictions of one method from one window.

    Attributes:
        job: What is predicted; None for reconstructions that are no row combinations.
        make: Makes them, or returns those that a common pass has made.
        candidate_of: The method of which they are one of several settings to choose from.
    """

    job: "Job | None"
    make: Callable[[], list[Prediction]]
    candidate_of: str | None = None


def _write_together(
    run: Run, trajectory: "Trajectory", wanted: Sequence[_Wanted], folder: Path
) -> "dict[Forecast, list[dict[str, Any]]]":
    """Write all row combinations in one pass over the files; returns the errors of forecasts."""
    from rlvr_dynamics.extrapolation.streaming import stream_predictions

    together = [
        (each, each.job)
        for each in wanted
        if each.job is not None and each.job.method.tensor_changes is None
    ]
    streamed = stream_predictions(
        [job for _, job in together],
        trajectory,
        folder,
        budget_bytes=int(run.config.measure.memory_gib * 2**30),
        threads=run.config.measure.threads,
        show_progress=True,
        compared=True,
        **_measured(run, trajectory),
    )
    for (each, _), made in zip(together, streamed.predictions, strict=True):
        each.make = partial(list, made)
    return streamed.errors


def _measured(run: Run, trajectory: "Trajectory") -> dict[str, Any]:
    """Return what the stage `measure` left for `stream_predictions`, if it has run."""
    from rlvr_dynamics.measurement.statistics import measured_gram, measured_updates

    statistics = run.of("measure") / "statistics"
    if not statistics.is_dir():
        return {}
    return {
        "known_gram": partial(measured_gram, statistics, trajectory),
        "known_updates": partial(measured_updates, statistics, trajectory),
    }


def _predicted(
    run: Run, trajectory: "Trajectory", method: Method, accuracy: "AccuracySeries | None"
) -> Iterator[_Wanted]:
    from rlvr_dynamics.run_directory.optimizer import optimizer_of

    settings, steps = run.config.extrapolation, trajectory.steps
    extrapolator, times = EXTRAPOLATORS[method.name], optimizer_of(run).times
    targets = [target_step(steps, share) for share in method.targets or settings.targets]
    windows = method.windows or settings.windows
    candidate_of = method.title if method.grid else None
    for observe in sorted({observed_step(steps, share) for share in windows}):
        # In a short trajectory window and target may be the same step: nothing to predict.
        later = [target for target in targets if target > observe]
        for label, parameters in method.variants.items() if later else ():
            try:
                job = extrapolator.job(
                    trajectory,
                    observe,
                    later,
                    label=label,
                    accuracy=accuracy.values if accuracy is not None else None,
                    times=times,
                    **parameters,
                )
            except TooLittle as reason:
                print(f"{label} from steps up to {observe} left out: {reason}")
                continue
            yield _Wanted(job, partial(_write_alone, run, trajectory, job), candidate_of)


def _write_alone(run: Run, trajectory: "Trajectory", job: "Job") -> list[Prediction]:
    from rlvr_dynamics.extrapolation.streaming import stream_predictions

    return stream_predictions(
        [job],
        trajectory,
        run.of("extrapolate"),
        budget_bytes=int(run.config.measure.memory_gib * 2**30),
        threads=run.config.measure.threads,
        show_progress=True,
        **_measured(run, trajectory),
    ).predictions[0]


def _rebuilt(
    run: Run,
    trajectory: "Trajectory",
    rebuilt: Rebuilt,
    folder: Path,
    accuracy: "AccuracySeries | None",
) -> Iterator[_Wanted]:
    reconstruction = RECONSTRUCTIONS[rebuilt.name]
    parameters = dict(rebuilt.parameters)
    if "seed" in reconstruction.parameters:
        parameters.setdefault("seed", run.config.seed)
    other = donor_of(run.config, rebuilt)
    if other is not None:
        parameters["run"] = other
    steps = sorted({target_step(trajectory.steps, share) for share in rebuilt.targets})

    def make() -> list[Prediction]:
        try:
            return reconstruction.run(
                trajectory,
                steps,
                folder,
                label=rebuilt.title,
                accuracy=accuracy.values if accuracy is not None else None,
                donor=trajectory_of(Path(other)) if other else None,
                budget_bytes=int(run.config.measure.memory_gib * 2**30),
                threads=run.config.measure.threads,
                **parameters,
            )
        except TooLittle as reason:
            print(f"{rebuilt.title} left out: {reason}")
            return []

    yield _Wanted(reconstruction.job(trajectory, steps, label=rebuilt.title, **parameters), make)


def _row(run: Run, made: Prediction, folder: Path, candidate_of: str | None) -> dict[str, Any]:
    return {
        "method": made.method,
        "observe": made.observe,
        "step": made.step,
        "path": str(Path(run.of("extrapolate").name) / Path(made.folder).relative_to(folder)),
        "identity": made.identity,
        "uses_future": made.uses_future,
        "candidate_of": candidate_of,
        "moved": made.moved,
        "parameters": made.parameters,
    }


def _remove_others(folder: Path, index: "pd.DataFrame") -> None:
    """Remove predictions of an earlier configuration."""
    kept = {Path(*Path(path).parts[1:]) for path in index["path"]}
    for path in _own_folders(folder, 3):
        if path.name.startswith("step_") and path.relative_to(folder) not in kept:
            remove(path)
    for depth in (2, 1):
        for path in _own_folders(folder, depth):
            if not any(path.iterdir()):
                path.rmdir()


def _own_folders(folder: Path, depth: int) -> list[Path]:
    """Folders `depth` levels down, not following links."""
    found = [folder]
    for _ in range(depth):
        found = [
            path
            for each in found
            for path in sorted(each.iterdir())
            if path.is_dir() and not path.is_symlink()
        ]
    return found


STAGE = Stage(
    name="extrapolate",
    version=3,
    needs=("train",),
    required=("train",),
    packages=("numpy", "torch"),
    settings=_settings,
    work=extrapolate,
    in_place=True,
    inputs_now=trained_now,
)
