"""The scored models of one run, paired by question: what the tables compare."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.methods import method_rank
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import PairedAccuracy, paired_accuracy
from rlvr_dynamics.results.study import Cell
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval
from rlvr_dynamics.statistics.paired import GAIN, RATIO, Contrast, difference

SPLITS = {"in_domain": "in domain", "out_of_domain": "out of domain"}
ALPHARL = "alpharl"
RECOVERIES = ("rank1_recovery", "random_update", "recovery_")


@dataclass(frozen=True)
class Scored:
    """Models of one run on one set of benchmarks, on their common questions.

    Benchmarks count alike, as in the papers' averages. A model that is not among them has NaN.

    Attributes:
        paired: The models' accuracies.
        final: Id of the last checkpoint.
    """

    paired: PairedAccuracy
    final: str

    def __contains__(self, model: object) -> bool:
        """Whether a model was scored on all of the benchmarks."""
        return model in self.paired.models

    def accuracy(self, model: str) -> Interval:
        """The accuracy of one model, a share, with its own 95 % interval."""
        return self.paired.accuracy(self.paired.models.index(model)) if model in self else UNDEFINED

    def ratio(self, model: str) -> Interval:
        """Its accuracy over the last checkpoint's (arXiv 2510.00553, section 2.2)."""
        return self._compare(RATIO, model, self.final)

    def gain(self, model: str) -> Interval:
        """(accuracy − base) / (last checkpoint − base): the share of what training gained."""
        return self._compare(GAIN, model, self.final, "base")

    def points(self, first: str, second: str) -> Interval:
        """Difference of two accuracies, in points (per cent)."""
        return self._compare(difference(scale=100.0), first, second)

    def _compare(self, contrast: Contrast, *models: str) -> Interval:
        if not all(model in self for model in models):
            return UNDEFINED
        places = [self.paired.models.index(model) for model in models]
        return self.paired.compare(at_places(contrast, places))


def at_places(contrast: Contrast, places: Sequence[int]) -> Contrast:
    """A contrast of a few models, by their places among all."""

    def gradient(means: np.ndarray) -> np.ndarray:
        found = np.zeros(len(means))
        np.add.at(found, list(places), contrast.gradient(means[list(places)]))
        return found

    return Contrast(
        lambda means: contrast.value(means[..., list(places)]),
        gradient,
        contrast.low,
        contrast.high,
    )


@dataclass(frozen=True)
class Row:
    """One model of a run: which method, after which share of the training."""

    method: str
    share: float
    model: str
    start: str = ""  # the checkpoint that an extrapolation starts from


def scored(
    cell: Cell, splits: Sequence[str] = tuple(SPLITS), benchmarks: Sequence[str] = ()
) -> Scored | None:
    """The models of a run that the tables speak of, on `benchmarks`, or on all of `splits`.

    These are the base, every real checkpoint, AlphaRL's predictions of the last step, and the
    reconstructions; each model only if it was scored on all of the benchmarks.

    Returns:
        None where nothing was scored, or not the base and the last checkpoint.
    """
    results = cell.results
    names = benchmarks or [name for split in splits for name in results.benchmarks(split)]
    key = ("scored", tuple(names))
    if key not in results.memo:
        results.memo[key] = _scored(results, names)
    return results.memo[key]


def _scored(results: Results, benchmarks: Sequence[str]) -> Scored | None:
    final = results.final_step
    if not benchmarks or final is None:
        return None
    models = [
        str(row["model"])
        for row in models_of(results)
        if all(results.has_samples(str(row["model"]), name) for name in benchmarks)
    ]
    last = str(ModelId.checkpoint(final))
    if str(ModelId.base()) not in models or last not in models:
        return None
    paired = paired_accuracy(results, models, benchmarks)
    return None if paired is None else Scored(paired, last)


def models_of(results: Results) -> list[dict[str, object]]:
    """Model, method, observe (0 for none) and step of what `scored` compares, in table order."""
    if "models of the tables" not in results.memo:
        results.memo["models of the tables"] = _models_of(results)
    return results.memo["models of the tables"]


def _models_of(results: Results) -> list[dict[str, object]]:
    scores = results.tables["scores"]
    if scores is None:
        return []
    models = scores.drop_duplicates(["model"]).fillna({"observe": 0})
    rows = [
        row
        for row in models.to_dict("records")
        if row["method"] in ("base", "real")
        or (str(row["method"]).startswith(ALPHARL) and row["step"] == results.final_step)
        or str(row["method"]).startswith(RECOVERIES)
    ]
    rows.sort(key=lambda row: (method_rank(str(row["method"])), row["observe"], row["step"]))
    return [{str(name): value for name, value in row.items()} for row in rows]


def alpharl_models(results: Results, observe: int) -> Iterator[tuple[str, str]]:
    """Method and model id of AlphaRL's variants, applied at a step, predicting the last one."""
    for row in models_of(results):
        method = str(row["method"])
        if method.startswith(ALPHARL) and int(cast(float, row["observe"])) == observe:
            yield method, str(row["model"])


def step_near(results: Results, share: float) -> int | None:
    """The step closest to `share` of the training, within one step of it.

    Steps are those of the scored checkpoints, and those that AlphaRL was applied at.
    """
    final = results.final_step
    wanted = {"real": "step", ALPHARL: "observe"}
    steps = {
        int(cast(float, row[column]))
        for row in models_of(results)
        for method, column in wanted.items()
        if str(row["method"]).startswith(method)
    }
    if final is None or not steps:
        return None
    nearest = min(sorted(steps), key=lambda step: abs(step / final - share))
    return nearest if abs(nearest / final - share) <= 1 / final + 0.005 else None


def rows_of(cell: Cell, shares: Sequence[float]) -> list[Row]:
    """Checkpoint and AlphaRL's variants at each share of the training that was scored.

    A share of 1 asks for the last checkpoint.
    """
    results, final = cell.results, cell.results.final_step
    if final is None:
        return []
    steps = [final if share == 1 else step_near(results, share) for share in shares]
    rows = []
    # Two shares of a short training can be one step.
    for step in dict.fromkeys(step for step in steps if step is not None):
        start = str(ModelId.checkpoint(step))
        rows.append(Row("real", step / final, start))
        if step < final:
            rows += [
                Row(method, step / final, model, start)
                for method, model in alpharl_models(results, step)
            ]
    return rows


def on_benchmark(results: Results, model: str, benchmark: str, protocol: str) -> dict[str, float]:
    """Accuracy, low, high (shares) and n of a model on one benchmark, from the table of scores."""
    key = ("scores by model", protocol)
    if key not in results.memo:
        scores = results.tables["scores"]
        rows = [] if scores is None else equal(scores, protocol=protocol).to_dict("records")
        results.memo[key] = {(row["model"], row["benchmark"]): row for row in rows}
    row = results.memo[key].get((model, benchmark), {})
    names = {"value": "accuracy", "low": "ci_low", "high": "ci_high", "n": "questions"}
    return {name: float(row.get(column, math.nan)) for name, column in names.items()}
