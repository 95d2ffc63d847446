"""Command line: `python -m perf [part ...] [--quick] [--keep]`, from the root of the repository."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from perf import (
    figure,
    gpu,
    grading,
    hub,
    machine,
    rare_changes,
    report,
    scaling,
    scoring,
    settings,
    store,
    trajectory,
    update_svd,
)
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.command_line import Parser, count_of, end, path_of, say
from rlvr_dynamics.system.hardware import free_bytes

PARTS: dict[str, Callable[[settings.Settings, Callable[[str], None]], report.Part]] = {
    "trajectory": trajectory.measure,
    "update_svd": update_svd.measure,
    "scaling": scaling.measure,
    "grading": grading.measure,
    "scoring": scoring.measure,
    "gpu": gpu.measure,
    "hub": hub.measure,
    "rare_changes": rare_changes.measure,
    "store": store.measure,
}
OUT = Path("outputs") / "perf"
FULL_BYTES = 16 << 30


def arguments() -> Parser:
    """Describe the command line."""
    parser = Parser(prog="python -m perf", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=PARTS, help="all when none is named")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows only that it works")
    parser.add_argument(
        "--repeats", type=count_of, default=3, help="runs per side, the median counts"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", action="store_true", help="keep the synthetic files for next time"
    )
    parser.add_argument("--work", type=path_of, help="folder for the synthetic files (up to 16 GB)")
    parser.add_argument(
        "--out",
        type=path_of,
        help=f"folder of the results; {OUT}, or below it when not everything",
    )
    parser.add_argument("--run", type=path_of, help="a finished run of the demo, for scoring")
    return parser


def main() -> int:
    """Run the chosen parts, write the results, print the table."""
    return end(_main)


def _main() -> int:
    given = arguments().parse_args()
    chosen = [part for part in PARTS if part in given.parts or not given.parts]
    # A partial run, or tiny sizes, must not replace the table of a full run.
    partial = ["quick"] * given.quick + chosen * (len(chosen) < len(PARTS))
    out: Path = (given.out or OUT / "_".join(partial)).resolve()
    work: Path = (given.work or out).resolve() / "synthetic_runs"
    if not given.quick and free_bytes(work) < FULL_BYTES:
        raise UserError("16 GB of free disk are needed", where=str(work), way_out="--work DIR")
    make = settings.quick if given.quick else settings.full
    sizes = replace(make(work, given.seed, given.repeats, given.keep), run=given.run)
    source = machine.provenance({"quick": given.quick, "parts": chosen, **sizes.described()})
    found: dict[str, report.Part] = {}
    table = ""
    try:
        for name in chosen:
            found[name] = PARTS[name](sizes, lambda text, name=name: say(f"{name}: {text}"))
            # Write after every part, so that a later failure does not lose the earlier ones.
            table = report.write(found, source, out)
    finally:
        if not given.keep:
            shutil.rmtree(work, ignore_errors=True)
    if "scaling" in found:
        figure.draw(found["scaling"].details, out)
    say(f"{table}\nwritten to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
