"""What of a stage is copied to Weights & Biases, and how; runs in a process of its own."""

import hashlib
import os
import re
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import wandb

from rlvr_dynamics.errors import one_line
from rlvr_dynamics.run_directory.configuration import CONFIG_FILE, RecordedConfig, read_config
from rlvr_dynamics.run_directory.records import FOLDERS, read_our_json, read_record
from rlvr_dynamics.system.sealed import read_parquet

LARGEST_TABLE = 10_000  # rows
PROBE_SECONDS = 3.0
START_SECONDS = 20.0
SERVER = "https://api.wandb.ai"
# Tables that are curves, or that hold the problems themselves.
LEFT_OUT = ("metrics", "train", "val")


def copy_stages(folder: Path, stages: Sequence[str], mode: str | None = None) -> None:
    """Copy the finished stages of a run; says on stderr what could not be sent.

    Args:
        folder: The run directory.
        stages: Which; those that have not finished are passed over.
        mode: ``offline`` or ``online``; without one the run's own, offline where that is disabled.

    Raises:
        UserError: This is no run directory.
    """
    config = read_config(folder)
    wanted = mode or ("online" if config.wandb.mode == "online" else "offline")
    _keep_inside(folder, wanted)
    if wanted == "online" and not _answers():
        _tell(folder, f"{_server()} does not answer")
        wanted = "offline"
    for stage in stages:
        if read_record(folder / FOLDERS[stage]).get("finished") is not True:
            continue
        try:
            _copy(folder, stage, config, wanted)
        except Exception as error:  # noqa: BLE001 - whatever the package meets, the run goes on
            if wanted == "offline":
                print(f"mirror: {one_line(str(error))}", file=sys.stderr)
                continue
            _tell(folder, one_line(str(error)))
            _copy(folder, stage, config, "offline")


def _tell(folder: Path, reason: str) -> None:
    print(
        f"mirror: {reason}; the copy lies in {folder / 'wandb'}, `wandb sync` sends it",
        file=sys.stderr,
    )


def _keep_inside(folder: Path, mode: str) -> None:
    """Let the package write nowhere but into the run directory."""
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
    if mode == "offline":  # online it holds the user's login
        os.environ["WANDB_CONFIG_DIR"] = str(place / "config")


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL") or SERVER


def _answers() -> bool:
    """Whether the server takes a connection; a proxy is taken at its word."""
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    address = urlsplit(_server())
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def _copy(folder: Path, stage: str, config: RecordedConfig, mode: str) -> None:
    record = read_record(folder / FOLDERS[stage])
    material = "|".join([str(config.name), stage, str(record.get("key"))])
    tags = [str(config.model.name), config.algorithm.name or "given", f"seed {config.seed}"]
    run = wandb.init(
        project=config.wandb.project,
        entity=config.wandb.entity,
        dir=str(folder),
        id=hashlib.sha256(material.encode()).hexdigest()[:16],
        name=f"{folder.name} {stage}",
        group=cell_of(str(config.name)),
        job_type=stage,
        tags=tags,
        config=read_our_json(folder / CONFIG_FILE),
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
    for row in curves(folder, stage):
        run.log(row, step=int(row["step"]))
    content: dict[str, Any] = dict(images(folder, stage))
    passed = []
    for name, table in tables(folder, stage):
        if len(table) > LARGEST_TABLE:
            passed.append(name)
        else:
            content[f"tables/{name}"] = _as_wandb(table)
    if content:
        run.log(content)
    run.summary["seconds"] = record.get("seconds")
    if passed:
        run.summary["tables in the run directory alone"] = passed
    run.finish()


def cell_of(name: str) -> str:
    """Name of a run without its seed: what runs of several seeds have in common."""
    return re.sub(r"[-_]seed_?\d+$", "", name)


def curves(folder: Path, stage: str) -> Iterator[dict[str, float]]:
    """The metrics of the training, a step at a time; what a step lacks is left out."""
    path = folder / FOLDERS["train"] / "metrics.parquet"
    if stage != "train" or not path.exists():
        return
    for row in read_parquet(path).select_dtypes("number").to_dict("records"):
        yield {str(name): value for name, value in row.items() if value == value}


def tables(folder: Path, stage: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables of a stage by name: the report's as they are printed, the others' as stored."""
    place = folder / FOLDERS[stage]
    paths = sorted([*place.glob("*.parquet"), *place.glob("*.csv"), *place.glob("tables/*.csv")])
    for path in paths:
        if path.stem not in LEFT_OUT:
            yield path.stem, pd.read_csv(path) if path.suffix == ".csv" else read_parquet(path)


def images(folder: Path, stage: str) -> Iterator[tuple[str, wandb.Image]]:
    """The figures of a stage."""
    for path in sorted((folder / FOLDERS[stage]).glob("figures/*.png")):
        yield f"figures/{path.stem}", wandb.Image(str(path))


def _as_wandb(table: pd.DataFrame) -> wandb.Table:
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return wandb.Table(
        columns=[str(name) for name in table.columns], data=rows, allow_mixed_types=True
    )
