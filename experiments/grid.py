"""`python -m experiments.grid`: the cells of the grid, their needs and progress."""

import fnmatch
import json
import sys
from dataclasses import asdict
from pathlib import Path

from rlvr_dynamics import config as configuration
from rlvr_dynamics.errors import EXIT_DONE, UserError, did_you_mean
from rlvr_dynamics.estimates.ranges import Range
from rlvr_dynamics.fidelity import rows_of
from rlvr_dynamics.run_directory.progress import STATES, Progress, progress
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.system.command_line import Parser, aligned, end, path_of, say

from . import fidelity_page, grid_page
from .cell_need import Need, need_of
from .cells import CELLS, Cell
from .files import check_checkout, write_cells

COMMON = ["trainer=gpu_node", "measure=large"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return end(lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    asked = _parser().parse_args(arguments)
    if asked.write:
        check_checkout()
        changed = len(write_cells()) + grid_page.write(page_table())
        made = configurations(list(CELLS))
        beside = {cell: rows_of(config) for cell, config in zip(CELLS, made, strict=True)}
        changed += fidelity_page.write(beside)
        say(f"{len(CELLS)} cells declared, {changed} files changed")
        return EXIT_DONE
    cells = select(asked.cells)
    found = [
        (cell, need_of(made), progress(asked.outputs / cell.name, made.stages))
        for cell, made in zip(cells, configurations(cells), strict=True)
    ]
    say(as_json(found) if asked.json else as_text(found))
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.grid",
        description="List the cells of the grid: GPUs, estimated GPU-hours and disk, and state.",
    )
    parser.add_argument("cells", nargs="*", metavar="GLOB", help="only these, such as 'grpo_*'")
    parser.add_argument(
        "--outputs", type=path_of, default=Path("outputs"), metavar="DIR", help="where runs are"
    )
    parser.add_argument("--json", action="store_true", help="one JSON list instead of a table")
    parser.add_argument(
        "--write", action="store_true", help="write configs/exp and the table of docs/grid.md"
    )
    return parser


def select(globs: list[str]) -> list[Cell]:
    """Return cells whose name matches a pattern, in declared order; [] selects all.

    Raises:
        UserError: A pattern matches no cell.
    """
    for glob in globs:
        if not any(fnmatch.fnmatchcase(cell.name, glob) for cell in CELLS):
            hint = did_you_mean(glob, [cell.name for cell in CELLS])
            raise UserError(
                f"no cell is called {glob}", way_out=f"{hint}python -m experiments.grid lists them"
            )
    return [
        cell
        for cell in CELLS
        if not globs or any(fnmatch.fnmatchcase(cell.name, glob) for glob in globs)
    ]


def configurations(cells: list[Cell]) -> list[RunConfig]:
    """Return the configurations of cells, as loaded by ``+exp=``, but composed together."""
    runs = list(dict.fromkeys(cell.run for cell in cells))
    first = {cell.run: cell for cell in reversed(cells)}
    users = {cell.settings_of_algorithm: cell for cell in reversed(cells)}
    chosen = [*(first[run] for run in runs), *users.values()]
    made = configuration.load_each(
        COMMON,
        [cell.groups | {"algorithm": cell.algorithm} for cell in chosen],
        [cell.keys for cell in chosen],
    )
    by_run = dict(zip(runs, made[: len(runs)], strict=True))
    by_algorithm = dict(zip(users, made[len(runs) :], strict=True))
    return [
        by_run[cell.run].model_copy(
            update={
                "name": cell.name,
                "run_dir": f"outputs/{cell.name}",
                "algorithm": by_algorithm[cell.settings_of_algorithm].algorithm,
            }
        )
        for cell in cells
    ]


def page_table() -> str:
    """Return the table of docs/grid.md."""
    cells = [cell for cell in CELLS if cell.algorithm == "grpo" and not cell.extra]
    made = zip(cells, configurations(cells), strict=True)
    return grid_page.table([(cell.model, need_of(each)) for cell, each in made])


def as_json(found: list[tuple[Cell, Need, Progress]]) -> str:
    """Return one object per cell."""
    return json.dumps(
        [
            {"cell": cell.name, "algorithm": cell.algorithm, "model": cell.model}
            | {"extra": cell.extra}
            | asdict(need)
            | asdict(state)
            for cell, need, state in found
        ],
        indent=1,
    )


def as_text(found: list[tuple[Cell, Need, Progress]]) -> str:
    """Format a table with totals below it."""
    head = ("cell", "GPUs", "training", "scoring", "answers", "disk TB", "updates", "clips")
    rows: list[tuple[str, ...]] = [(*head, "state")]
    for cell, need, state in found:
        text = state.state + (f" ({state.stage})" if state.stage and state.state != "done" else "")
        text += f": {state.error}" if state.error else ""
        text += "" if need.fits else "  [does not fit into the GPUs' memory]"
        needs = (
            f"{need.nodes}x{need.gpus // need.nodes}",
            str(need.training_gpu_hours),
            str(need.scoring_gpu_hours),
            f"{need.answers:,}",
            f"{need.disk_bytes / 1e12:.2f}",
        )
        rows.append((cell.name, *needs, *_updates_in_words(need), text))
    lines = aligned(rows, right=(1, 2, 3, 4, 5, 6))
    counts = {state: sum(one.state == state for _, _, one in found) for state in STATES}
    hours = sum((need.training_gpu_hours for _, need, _ in found), Range(0, 0))
    scored = sum((need.scoring_gpu_hours for _, need, _ in found), Range(0, 0))
    total = sum(need.disk_bytes for _, need, _ in found)
    lines += [
        "",
        f"{len(found)} cells: " + ", ".join(f"{count} {state}" for state, count in counts.items()),
        "training, scoring: GPU-hours; answers: those that are scored",
        "updates: of the policy (and of the value model) a step; clips: those that can act",
        f"{hours} GPU-hours of training, {scored} of scoring, {total / 1e12:,.0f} TB: estimates "
        "on H100s, from published answer lengths; `+exp=CELL dry_run=true` shows one in full",
    ]
    return "\n".join(lines)


def _updates_in_words(need: Need) -> tuple[str, str]:
    critic = need.critic_updates_per_rollout
    updates = f"{need.updates_per_rollout}" + (f" ({critic})" if critic is not None else "")
    return updates, ", ".join(name for name, acts in need.clips.items() if acts) or "none"


if __name__ == "__main__":
    sys.exit(main())
