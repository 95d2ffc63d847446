"""The loaded tables of one run directory; the table of a stage that has not run is None."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.results.answers import Answers, read_answers
from rlvr_dynamics.results.formatting import distinct_titles
from rlvr_dynamics.results.frames import equal, known, last_step, numbers, select, values
from rlvr_dynamics.results.methods import USES_FUTURE, method_name
from rlvr_dynamics.run_directory.configuration import CONFIG_FILE, RecordedConfig, read_config
from rlvr_dynamics.run_directory.records import check_records, read_our_json
from rlvr_dynamics.schema.model_id import LOGITS
from rlvr_dynamics.schema.tables import BEHAVIOUR, TABLES, TableFile
from rlvr_dynamics.system.sealed import Damaged, read_parquet


@dataclass(frozen=True, eq=False)
class Results:
    """The contents of one run directory.

    Attributes:
        run_dir: The folder.
        config: The run's configuration (config.json); missing keys have their defaults.
        provenance: Commands, versions, hardware, times (provenance.json); {} if absent.
        tables: Table by name, for every name in `TABLES`; None if its stage has not run.
    """

    run_dir: Path
    config: RecordedConfig
    provenance: dict[str, Any]
    tables: dict[str, pd.DataFrame | None]
    _read: dict[tuple[str, str], Answers | None] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def seed(self) -> int:
        """The run's seed; it also seeds the bootstrap."""
        own = self.config.seed
        return int(self.provenance.get("seed") or 0) if own is None else own

    @property
    def base_seed(self) -> int | None:
        """The seed of the run's base and problems; None if both were published by others."""
        if (self.config.model.kind, self.config.data.kind) == ("hub", "hub"):
            return None
        return self.seed if self.config.base_seed is None else self.config.base_seed

    @property
    def bootstrap_draws(self) -> int:
        """Number of resamples behind every bootstrap interval."""
        return self.config.report.bootstrap_draws

    @property
    def dtype(self) -> str | None:
        """The dtype of the checkpoints, from the first table that records it.

        Where weights were rounded as they were read, it names that dtype and then the files'.
        """
        for name in ("update_svd", "trajectory_svd", "forecast", "scores"):
            found = self._dtypes(name, "dtype")
            if found:
                stored = "" if name == "scores" else self._dtypes("checkpoints", "stored_dtype")
                rounded = stored and stored != self._dtypes("checkpoints", "dtype")
                return f"{found} (rounded from {stored} files)" if rounded else found
        return None

    def _dtypes(self, name: str, column: str) -> str:
        table = self.tables[name]
        if table is None or column not in table:
            return ""
        return ", ".join(sorted({str(dtype) for dtype in known(table, column)[column]}))

    @cached_property
    def final_step(self) -> int | None:
        """The last step of the real training run."""
        steps: list[int] = []
        scores = self.tables["scores"]
        if scores is not None:
            steps += [int(step) for step in values(equal(scores, method="real"), "step")]
        for name in ("norms", "update_svd", "coefficients"):
            table = self.tables[name]
            if table is not None:
                steps.append(last_step(table))
        return max(steps, default=None)

    @cached_property
    def windows(self) -> list[int]:
        """The observed windows (last observed step) that predictions were made from."""
        found: set[int] = set()
        for name in ("scores", "forecast"):
            table = self.tables[name]
            if table is not None:
                # Extrapolated logits may have observed the whole training: no window to shade.
                whole = (table["method"] == LOGITS) & (table["observe"] == self.final_step)
                rows = select(table, ~whole)
                found |= {int(observe) for observe in numbers(rows, "observe") if observe > 0}
        return sorted(found)

    @cached_property
    def future_methods(self) -> frozenset[str]:
        """Labels of the methods that looked beyond their window."""
        found: set[str] = set()
        for name in ("index", "forecast"):
            table = self.tables[name]
            if table is not None and "uses_future" in table:
                ahead = select(table, table["uses_future"].fillna(False).astype(bool))
                # A step inside a method's own window is not in its future.
                inside = (ahead["observe"] > 0) & (ahead["step"] <= ahead["observe"])
                ahead = select(ahead, ~inside)
                found |= {str(method) for method in ahead["method"]}
                if "candidate_of" in ahead:  # the best of a grid is scored under the grid's name
                    found |= {
                        str(method) for method in known(ahead, "candidate_of")["candidate_of"]
                    }
        return frozenset(found)

    @property
    def methods(self) -> set[str]:
        """Labels of the methods whose predictions were scored or compared with the weights."""
        tables = [self.tables[name] for name in ("scores", "forecast")]
        return {str(name) for table in tables if table is not None for name in table["method"]}

    def behaviour(self, name: str) -> pd.DataFrame | None:
        """Return a table of the optional stage `behaviour`; None if it was not written.

        Args:
            name: A key of `BEHAVIOUR`.
        """
        path = self.run_dir / BEHAVIOUR[name].file
        return read_parquet(path) if path.is_file() else None

    @property
    def missing_stages(self) -> list[str]:
        """Stages that left no table."""
        stages = dict.fromkeys(table.stage for table in TABLES.values())
        there = {TABLES[name].stage for name, table in self.tables.items() if table is not None}
        return [stage for stage in stages if stage not in there]

    def method_name(self, method: str) -> str:
        """Return a method's title, marked if the method uses the future."""
        mark = f" ({USES_FUTURE})" if method in self.future_methods else ""
        return f"{method_name(method)}{mark}"

    def window_near(self, share: float) -> int | None:
        """Return the observed window closest to `share` of the training, within one step of it."""
        return self.nearest(self.windows, share)

    def nearest(self, steps: Sequence[int], share: float) -> int | None:
        """Return the first step closest to `share` of the training, within one step of it."""
        final = self.final_step
        if final is None or not steps:
            return None
        found = min(steps, key=lambda step: abs(step / final - share))
        return found if abs(found / final - share) <= 1 / final + 0.005 else None

    def benchmarks(self, split: str) -> list[str]:
        """Return the sorted names of one split's scored benchmarks."""
        scores = self.tables["scores"]
        if scores is None:
            return []
        return sorted({str(name) for name in equal(scores, split=split)["benchmark"]})

    def benchmark_title(self, benchmark: str) -> str:
        """Return the title of a benchmark, followed by its name if several share the title."""
        return self._titles.get(benchmark, benchmark)

    @cached_property
    def _titles(self) -> dict[str, str]:
        scores = self.tables["scores"]
        names = [*self.benchmarks("in_domain"), *self.benchmarks("out_of_domain")]
        titles = {name: name for name in names}
        if scores is not None and "title" in scores:
            rows = known(scores, "title")
            titles |= dict(zip(rows["benchmark"], map(str, rows["title"]), strict=True))
        return distinct_titles(titles)

    def has_samples(self, model: str, benchmark: str) -> bool:
        """Whether a model was scored on a benchmark."""
        return self._answers(model, benchmark) is not None

    def question_means(self, model: str, benchmark: str, protocol: str) -> pd.Series | None:
        """Return the mean score of a model's samples by question, in the order of the ids."""
        answers = self._answers(model, benchmark)
        if answers is None:
            return None
        return answers[protocol][0] if protocol in answers else pd.Series(dtype=np.float64)

    def samples_each(self, model: str, benchmark: str, protocol: str) -> int:
        """Return a model's largest number of samples per question on a benchmark; 0 if none."""
        answers = self._answers(model, benchmark) or {}
        return answers[protocol][1] if protocol in answers else 0

    def _answers(self, model: str, benchmark: str) -> Answers | None:
        key = (model, benchmark)
        if key not in self._read:
            path = self.sample_path(model, benchmark)
            self._read[key] = read_answers(path) if path.exists() else None
        return self._read[key]

    def sample_path(self, model: str, benchmark: str) -> Path:
        """Return the path of a model's samples on a benchmark."""
        return self.run_dir / "scores" / "samples" / model / f"{benchmark}.parquet"


def load_results(run_dir: Path) -> Results:
    """Load a run directory.

    Args:
        run_dir: The run directory; any table may be absent.

    Raises:
        UserError: The folder does not exist, a file in it cannot be read, or a table lacks columns
            that the report needs.
    """
    if not run_dir.is_dir():
        raise UserError(
            "no such run directory", where=str(run_dir), way_out="name the folder of a run"
        )
    tables = {name: _load(run_dir, table) for name, table in TABLES.items()}
    there = {TABLES[name].stage for name, table in tables.items() if table is not None}
    there |= {each.stage for each in BEHAVIOUR.values() if (run_dir / each.file).exists()}
    check_records(run_dir, there)
    has_config = (run_dir / CONFIG_FILE).exists()
    config = read_config(run_dir) if has_config else RecordedConfig()
    provenance = run_dir / "provenance.json"
    return Results(
        run_dir, config, read_our_json(provenance) if provenance.exists() else {}, tables
    )


def _load(run_dir: Path, declared: TableFile) -> pd.DataFrame | None:
    path = run_dir / declared.file
    if not path.exists():
        return None
    way_out = f"remove the file and run the {declared.stage} stage again"
    try:
        table = read_parquet(path)
    except Damaged as error:
        raise UserError(
            "this is not a whole parquet file, or its content is not what was written",
            where=str(path),
            way_out=way_out,
        ) from error
    if lacking := declared.lacking(table):
        raise UserError(f"the table lacks {', '.join(lacking)}", where=str(path), way_out=way_out)
    return table if len(table) else None
