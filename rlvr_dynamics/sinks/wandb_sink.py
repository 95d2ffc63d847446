"""Weights & Biases: one wandb run per stage, grouped by cell."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import wandb
from pyarrow import parquet

from rlvr_dynamics.run_directory.configuration import CONFIG_FILE
from rlvr_dynamics.run_directory.records import read_our_json
from rlvr_dynamics.sinks.sink import Finished
from rlvr_dynamics.system.sealed import read_parquet

LARGEST_TABLE = 10_000  # rows
START_SECONDS = 15.0


class WandbSink:
    """A copy of one stage, online or offline (in run_dir/wandb until `wandb sync` sends it)."""

    def __init__(self, finished: Finished, mode: str) -> None:
        """Open the wandb run of a stage."""
        self._content: dict[str, Any] = {}
        self._passed: list[str] = []
        _keep_inside(finished.folder, mode)
        if wandb.run is not None:
            wandb.teardown()  # the run of a stage that failed, which init would return again
        try:
            self._run = _open(finished, mode)
        except Exception:
            wandb.teardown()  # wandb keeps the name of a run that it could not start
            raise

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Log one step."""
        self._run.log(dict(values), step=step)

    def artefact(self, path: Path) -> None:
        """Buffer a figure or table; large tables stay in the run directory only."""
        if path.suffix == ".png":
            self._content[f"figures/{path.stem}"] = wandb.Image(str(path))
            return
        if path.suffix == ".csv":
            table = pd.read_csv(path)
            rows = len(table)
        else:
            rows = parquet.read_metadata(path).num_rows
            table = read_parquet(path) if rows <= LARGEST_TABLE else None
        if table is None or rows > LARGEST_TABLE:
            self._passed.append(path.stem)
        else:
            self._content[f"tables/{path.stem}"] = _as_wandb(table)

    def close(self, seconds: float | None) -> None:
        """Log figures and tables together and end the wandb run."""
        if self._content:
            self._run.log(self._content)
        self._run.summary["seconds"] = seconds
        if self._passed:
            self._run.summary["tables in the run directory alone"] = self._passed
        self._run.finish()


def _keep_inside(folder: Path, mode: str) -> None:
    """Make the package write only into the run directory."""
    place = folder / "wandb"
    place.mkdir(exist_ok=True)
    os.environ |= {
        "WANDB_SILENT": "true",
        "WANDB_DIR": str(folder),
        "WANDB_CACHE_DIR": str(place / "cache"),
        "WANDB_DATA_DIR": str(place / "data"),
        "WANDB_ARTIFACT_DIR": str(place / "artifacts"),
        "WANDB_ERROR_REPORTING": "false",
    }
    if mode == "offline":  # when online, it holds the user's login
        os.environ["WANDB_CONFIG_DIR"] = str(place / "config")


def _open(finished: Finished, mode: str) -> Any:
    config = finished.config
    material = "|".join([str(config.name), finished.stage, str(finished.record.get("key"))])
    return wandb.init(
        project=config.wandb.project,
        entity=config.wandb.entity,
        dir=str(finished.folder),
        id=hashlib.sha256(material.encode()).hexdigest()[:16],
        name=f"{finished.folder.name} {finished.stage}",
        group=cell_of(str(config.name)),
        job_type=finished.stage,
        tags=[str(config.model.name), config.algorithm.name or "given", f"seed {config.seed}"]
        + ([] if config.base_seed is None else [f"base seed {config.base_seed}"]),
        config=read_our_json(finished.folder / CONFIG_FILE),
        resume="allow" if mode == "online" else None,
        settings=wandb.Settings(
            mode="online" if mode == "online" else "offline",
            init_timeout=START_SECONDS,
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
        ),
    )


def cell_of(name: str) -> str:
    """Return a run's name without its seed, shared by runs of several seeds."""
    return re.sub(r"[-_]seed_?\d+$", "", name)


def _as_wandb(table: pd.DataFrame) -> wandb.Table:
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return wandb.Table(
        columns=[str(name) for name in table.columns], data=rows, allow_mixed_types=True
    )
