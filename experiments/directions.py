"""Whose direction has an update? Cosines of the updates of runs from one base.

`python -m experiments.directions RUN_DIR... [--out FILE]` reads the last and the middle checkpoint
of every run, in one pass over all runs of a base, and writes a row for each pair of runs and
tensor. `python -m analysis` shows the file that lies beside the run directories; the study calls
it.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rlvr_dynamics.errors import EXIT_DONE, UserError
from rlvr_dynamics.results.frames import equal, known, select, values
from rlvr_dynamics.run_directory.configuration import whole_config
from rlvr_dynamics.run_directory.records import check_records
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.trajectory import trajectory_of
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.schema.tables.directions import DIRECTIONS, SIGNAL_LAG, WINDOWS
from rlvr_dynamics.system.atomic import write_parquet
from rlvr_dynamics.system.command_line import Parser, end, path_of
from rlvr_dynamics.system.sealed import read_parquet

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.trajectory import Trajectory


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare the runs; returns the exit code."""
    return end(lambda: _main(arguments), "interrupted: the same command begins again")


def _main(arguments: Sequence[str] | None) -> int:
    parser = Parser(prog="python -m experiments.directions", description=__doc__)
    parser.add_argument("runs", nargs="+", type=path_of, metavar="RUN_DIR")
    parser.add_argument("--out", type=path_of, metavar="FILE", help="default: beside the first run")
    given = parser.parse_args(arguments)
    if not write_directions(given.runs, given.out):
        raise UserError(
            "no two of these runs start from the same base in the same dtype",
            where=", ".join(map(str, given.runs)),
            way_out="train them with one base_seed, and reuse=RUN_DIR of the first",
        )
    return EXIT_DONE


def write_directions(run_dirs: Sequence[Path], out: Path | None = None) -> bool:
    """Write the table of all pairs of runs that share a base; False, and no file, without any.

    Args:
        run_dirs: Run directories.
        out: The file; None to lie beside the first run.

    Raises:
        UserError: As of `compare_runs`.
    """
    table = compare_runs(run_dirs)
    if not len(table):
        return False
    out = out or run_dirs[0].resolve().parent / DIRECTIONS.file
    write_parquet(out, table)
    pairs = len(table.drop_duplicates(["run_a", "run_b"]))
    print(f"{pairs} pairs of runs, {len(table)} rows: {out}")
    return True


def compare_runs(run_dirs: Sequence[Path], *, progress: bool = True) -> pd.DataFrame:
    """Compare all pairs of runs that share a base; returns the columns of `DIRECTIONS`.

    Raises:
        UserError: A run is unfinished or damaged, has one step, or is named as another one.
    """
    from rlvr_dynamics.measurement.directions import middle_step

    by_base: dict[Any, dict[Path, Trajectory]] = {}
    for run_dir in dict.fromkeys(folder.resolve() for folder in run_dirs):
        trajectory = trajectory_of(run_dir)
        middle_step(trajectory.steps)
        base = (trajectory.identities[0], tuple(sorted(trajectory.dtypes.items())))
        by_base.setdefault(base, {})[run_dir] = trajectory
    names = [folder.name for runs in by_base.values() for folder in runs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"two of the runs are named {twice[0]}", way_out="rename one of the folders"
        )
    rows = [row for runs in by_base.values() if len(runs) > 1 for row in _rows(runs, progress)]
    return pd.DataFrame(rows, columns=DIRECTIONS.names)


def _rows(runs: Mapping[Path, "Trajectory"], progress: bool) -> list[dict[str, Any]]:
    from rlvr_dynamics.checkpoints.names import module_of
    from rlvr_dynamics.dynamics.increments import cosines, reliability
    from rlvr_dynamics.measurement.directions import window_products

    trajectories = list(runs.values())
    noise = [_noise(folder, opened.steps) for folder, opened in runs.items()]
    ends = [(folder.name, opened.identities[opened.steps[-1]]) for folder, opened in runs.items()]
    structure, first = trajectories[0].structure, trajectories[0]
    rows = []
    for name, products in window_products(trajectories, progress=progress).items():
        d = first.numel(name)
        found = {window: cosines(gram) for window, gram in products.items()}
        for a, b in combinations(range(len(trajectories)), 2):
            row: dict[str, Any] = {
                **{"run_a": ends[a][0], "run_b": ends[b][0]},
                **{"identity_a": ends[a][1], "identity_b": ends[b][1]},
                **{"tensor": name, "module": module_of(name), "layer": structure.layer(name)},
                **{"d": d, "noise_sd": d**-0.5, "dtype": first.dtype_of(name)},
            }
            for window in WINDOWS:
                row[f"{window}_cosine"] = found[window][a, b]
                for run, place in (("a", a), ("b", b)):
                    energy = noise[place].get((window, name), np.nan)
                    length = products[window][place, place] ** 0.5
                    row[f"{window}_reliability_{run}"] = reliability(energy, length)
            rows.append(row)
    return rows


def _noise(run_dir: Path, steps: Sequence[int]) -> dict[tuple[str, str], float]:
    """Return the noise's energy by window and tensor; empty where it cannot be known."""
    from rlvr_dynamics.dynamics import Optimizer, even_spacing, noise_correlation
    from rlvr_dynamics.dynamics.increments import noise_energy
    from rlvr_dynamics.measurement.directions import middle_step
    from rlvr_dynamics.run_directory.optimizer import optimizer_of

    check_records(run_dir, {"measure"})
    config, saved = whole_config(run_dir), np.array(steps)
    files = [run_dir / TABLES[name].file for name in ("norms", "trajectory_svd")]
    if config is None or not all(path.exists() for path in files):
        return {}
    norms, trajectories = (read_parquet(path) for path in files)
    record, column = optimizer_of(Run(config, run_dir)), f"optimizer_autocorrelation_{SIGNAL_LAG}"
    if record.beta1 is None or column not in trajectories:
        return {}
    if even_spacing(saved) is None or len(steps) <= SIGNAL_LAG:
        return {}
    optimizer = Optimizer(record.beta1, record.beta2, record.updates * int(steps[0]))
    correlation = noise_correlation(len(steps), optimizer, record.sizes_of(saved))
    found = {}
    rows = known(equal(trajectories, index=1), column)
    cosines = dict(zip(map(str, rows["tensor"]), values(rows, column), strict=True))
    for name, rows in norms.sort_values("step").groupby("tensor"):
        for window, start in {"update": 0, "drift": middle_step(steps)}.items():
            lengths = values(select(rows, rows["step"] > start), "step_norm")
            cosine = cosines.get(str(name), np.nan)
            found[window, str(name)] = noise_energy(lengths, correlation, float(cosine))
    return found


if __name__ == "__main__":
    sys.exit(main())
