"""The models that AlphaRL's tables compare: checkpoints and predictions by training stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import equal, numbers
from rlvr_dynamics.results.methods import method_rank
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import PairedAccuracy, models, paired_accuracy
from rlvr_dynamics.results.study import Cell
from rlvr_dynamics.schema.model_id import BASE, REAL, ModelId

SPLITS = {"in_domain": "in domain", "out_of_domain": "out of domain"}
ALPHARL = "alpharl"
RECOVERIES = ("rank1_recovery", "random_update", "recovery_")


@dataclass(frozen=True)
class Row:
    """One model of a run: its method, and its share of the training."""

    method: str
    share: float
    model: str
    start: str = ""  # the checkpoint that an extrapolation starts from


def scored(
    cell: Cell, splits: Sequence[str] = tuple(SPLITS), benchmarks: Sequence[str] = ()
) -> PairedAccuracy | None:
    """Pair the models of a run that the tables compare, on `benchmarks` or on all of `splits`.

    These are the base, every real checkpoint, AlphaRL's predictions of the last step, and the
    reconstructions, each only if it was scored on all of the benchmarks.

    Returns:
        None unless both the base and the last checkpoint were scored.
    """
    results, final = cell.results, cell.results.final_step
    names = benchmarks or [name for split in splits for name in results.benchmarks(split)]
    if not names or final is None:
        return None
    there = [
        model
        for model in models_of(results)
        if all(results.has_samples(str(model), name) for name in names)
    ]
    whole = {ModelId.base(), ModelId.checkpoint(final)} <= set(there)
    return paired_accuracy(results, there, names) if whole else None


@once_per_run
def models_of(results: Results) -> list[ModelId]:
    """Return the models that `scored` compares, in the order of the tables."""
    found = [
        model
        for model in models(results)
        if model.method in (BASE, REAL)
        or (model.method.startswith(ALPHARL) and model.step == results.final_step)
        or model.method.startswith(RECOVERIES)
    ]
    return sorted(found, key=lambda model: (method_rank(model.method), model.observe, model.step))


def step_near(results: Results, share: float) -> int | None:
    """Return the step closest to `share` of the training, within one step of it.

    Candidates are the steps of scored checkpoints and those at which AlphaRL was applied.
    """
    there = models_of(results)
    steps = {model.step for model in there if model.method == REAL}
    steps |= {model.observe for model in there if model.method.startswith(ALPHARL)}
    return results.nearest(sorted(steps), share)


def rows_of(cell: Cell, shares: Sequence[float]) -> list[Row]:
    """Return checkpoint and AlphaRL's variants at each scored share of the training.

    A share of 1 means the last checkpoint.
    """
    results, final = cell.results, cell.results.final_step
    if final is None:
        return []
    steps = [final if share == 1 else step_near(results, share) for share in shares]
    rows = []
    # In a short training, two shares can be the same step.
    for step in dict.fromkeys(step for step in steps if step is not None):
        start = str(ModelId.checkpoint(step))
        rows.append(Row(REAL, step / final, start))
        if step < final:
            rows += [
                Row(model.method, step / final, str(model), start)
                for model in models_of(results)
                if model.method.startswith(ALPHARL) and model.observe == step
            ]
    return rows


def benchmarks_of(cell: Cell) -> list[str]:
    """Return the names of a run's benchmarks, in-domain ones first."""
    return [name for split in SPLITS for name in cell.results.benchmarks(split)]


def protocols_of(cells: Sequence[Cell]) -> str:
    """Say how the answers of runs were drawn, and how many per question."""
    found = [whole for cell in cells if (whole := scored(cell))]
    words = dict.fromkeys(
        f"{whole.protocol} answers, {whole.samples_text} to a question" for whole in found
    )
    return "; ".join(words)


def question_counts(cells: Sequence[Cell], titles: Mapping[str, str]) -> str:
    """Say how many questions each benchmark has, over the runs."""
    counts: dict[str, set[int]] = {}
    for cell in cells:
        scores = cell.results.tables["scores"]
        if scores is None or "questions" not in scores:
            continue
        for name in benchmarks_of(cell):
            here = numbers(equal(scores, benchmark=name), "questions")
            counts.setdefault(titles[name], set()).update(here.astype(int).tolist())
    parts = [
        f"{title} {'–'.join(str(n) for n in sorted({min(found), max(found)}))}"
        for title, found in counts.items()
    ]
    return f"Questions: {'; '.join(parts)}." if parts else ""
