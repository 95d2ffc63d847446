"""Turns names, globs and overrides into cells, each with a run directory."""

import fnmatch
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics import config as configuration
from rlvr_dynamics.errors import UserError, did_you_mean
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.overrides import key_of

# Characters that would end a line or field of the manifest, or be a configuration reference.
UNFIT = re.compile(r"[\x00-\x1f\x7f\\]|\$\{")
OURS = {"run_dir": "--runs DIR", "exp": "the names of the cells"}


@dataclass(frozen=True)
class Cell:
    """One experiment with one seed.

    Attributes:
        index: Array index, and line of the manifest (from 0).
        name: Name of its run directory and of its logs.
        run_dir: Absolute path.
        overrides: Arguments of `python -m rlvr_dynamics.run`, without run_dir and stages.
        stages: Its stages, in order.
        model: Name of its model, or the folder of an external base.
        algorithm: Name of its algorithm; `external` for external checkpoints.
        seed: Its seed.
    """

    index: int
    name: str
    run_dir: str
    overrides: tuple[str, ...]
    stages: tuple[str, ...]
    model: str
    algorithm: str
    seed: int

    @property
    def manifest_line(self) -> str:
        """Name, run directory and shell-quoted overrides, separated by tabs."""
        return "\t".join([self.name, self.run_dir, shlex.join(self.overrides)])


def find(patterns: list[str]) -> list[str]:
    """Return the experiments that match names and globs, in the given order without repeats.

    Raises:
        UserError: A name or glob matches no file in configs/exp.
    """
    known = configuration.experiments()
    found: dict[str, None] = {}
    for pattern in patterns:
        fitting = fnmatch.filter(known, pattern)
        if not fitting:
            raise UserError(
                f"{pattern}: no such cell",
                where="configs/exp",
                way_out=f"{did_you_mean(pattern, known, 3)}`python -m experiments.grid` lists them",
            )
        found |= dict.fromkeys(fitting)
    return list(found)


def compose(
    patterns: list[str], overrides: list[str], runs: Path
) -> tuple[list[Cell], list[RunConfig]]:
    """Compose and check every cell.

    Args:
        patterns: Names or globs in configs/exp.
        overrides: Hydra overrides for all of them; `seed=0,1,2` gives one cell per seed.
        runs: Folder that holds the run directories.

    Returns:
        The cells in the order of the manifest, and their configurations.

    Raises:
        UserError: An unknown cell, a configuration that does not compose or a path that cannot be
            used in a job script.
    """
    runs = runs.absolute()
    if UNFIT.search(str(runs)):
        raise UserError(
            "a path in a job may hold no tabs, line ends, backslashes or ${",
            where=str(runs),
            way_out="choose another --runs DIR",
        )
    seeds, rest = _split_seeds(overrides)
    cells: list[Cell] = []
    configs: list[RunConfig] = []
    for experiment in find(patterns):
        for seed in seeds:
            own = [f"+exp={experiment}", *rest, *([] if seed is None else [f"seed={seed}"])]
            name = experiment if len(seeds) == 1 else f"{experiment}-seed{seed}"
            try:
                config = configuration.load(own)
            except UserError as error:
                raise UserError(
                    error.what, where=f"{name}; {error.where}".strip("; "), way_out=error.way_out
                ) from error
            kept = tuple(item for item in own if key_of(item) != "stages")
            configs.append(config)
            cells.append(
                Cell(
                    index=len(cells),
                    name=name,
                    run_dir=str(runs / name),
                    overrides=kept,
                    stages=config.stages,
                    model=config.source.base or config.model.name,
                    algorithm="external" if _external(config) else config.algorithm.name,
                    seed=config.seed,
                )
            )
    return cells, configs


def _external(config: RunConfig) -> bool:
    return config.source.base is not None or config.source.published is not None


def _split_seeds(overrides: list[str]) -> tuple[list[str | None], list[str]]:
    seeds: list[str | None] = [None]
    rest: list[str] = []
    for item in overrides:
        key = key_of(item)
        if key in OURS:
            raise UserError(f"{key} is chosen by {OURS[key]}", where=item)
        if re.search(r"[\t\r\n]", item):
            raise UserError("an override may not hold tabs or line ends", where=repr(item))
        if key == "seed":
            values = item.partition("=")[2].split(",")
            if len(set(values)) < len(values):
                raise UserError("the same seed twice", where=item)
            for value in values:
                if not value.isdecimal():
                    raise UserError(
                        f"seed: given {value!r}", where=item, way_out="allowed: seed=0,1,2"
                    )
            seeds = list(values)
        else:
            rest.append(item)
    return seeds, rest
