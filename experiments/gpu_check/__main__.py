"""One hour on a GPU before the first cell: nine steps, resumable, with a report."""

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED, UserError
from rlvr_dynamics.scoring.gpu_memory import read_gpu_memory
from rlvr_dynamics.system.command_line import Parser, count_of, end, path_of, say
from rlvr_dynamics.system.hardware import driver_version, gpus_found, machine
from rlvr_dynamics.system.locks import LOCK, Busy, held
from rlvr_dynamics.system.versions import commit, versions

from . import report, runner
from .bench import Bench
from .finding import FAILED
from .steps import STEPS

OUT = Path("outputs/gpu_check")
REHEARSAL = Path("outputs/gpu_check_rehearsal")
PACKAGES = (
    "torch",
    "verl",
    "vllm",
    "ray",
    "transformers",
    "tensordict",
    "flash-attn",
    "flashinfer-python",
    "numpy",
)
# SIGUSR1 is what a scheduler sends before the time limit.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
GIB = 2**30
LISTED_GIB = 80  # what `--list` assumes of a card
EPILOG = """
The same command goes on after the last finished step. Everything is written below the folder of
the check, report.md and report.json after every step.
exit codes: 0 nothing failed, 1 a step failed, 2 a mistake in what was given, 75 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return end(lambda: _main(given), "interrupted: the same command goes on (without --again)")


def _parser() -> Parser:
    parser = Parser(prog="python -m experiments.gpu_check", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "--rehearse", action="store_true", help="the same steps on this CPU with tiny shapes"
    )
    parser.add_argument(
        "--gpus", type=count_of, default=1, metavar="N", help="GPUs that train (%(default)s)"
    )
    parser.add_argument("--out", type=path_of, help=f"folder of the check ({OUT}, {REHEARSAL})")
    parser.add_argument(
        "--again", choices=[step.name for step in STEPS], help="run this step and all after it anew"
    )
    parser.add_argument(
        "--list", action="store_true", help="show the steps, their commands and expected minutes"
    )
    return parser


def _main(arguments: list[str]) -> int:
    given = _parser().parse_args(arguments)
    if given.rehearse and given.gpus > 1:
        raise UserError(
            "the rehearsal uses no GPU",
            where=f"--rehearse --gpus {given.gpus}",
            way_out="leave one of them out",
        )
    out = str(given.out or (REHEARSAL if given.rehearse else OUT))
    if given.list:
        _list(
            Bench(out, "cpu", 0, 0)
            if given.rehearse
            else Bench(out, "cuda", given.gpus, LISTED_GIB)
        )
        return EXIT_DONE
    bench = Bench(out, "cpu", 0, 0) if given.rehearse else _gpus(out, given.gpus)
    environment = {
        "versions": versions(*PACKAGES),
        "gpus": gpus_found(),
        "driver": driver_version(),
    }
    source = environment | {"machine": machine(), "commit": commit()}
    words = [
        *(["--rehearse"] if given.rehearse else []),
        *(["--gpus", str(given.gpus)] if given.gpus > 1 else []),
        *(["--out", out] if given.out else []),
    ]
    typed = shlex.join(["python", "-m", "experiments.gpu_check", *words])
    for number in ENDING:
        signal.signal(number, _interrupt)
    Path(out).mkdir(parents=True, exist_ok=True)
    try:
        with held(Path(out) / LOCK):
            if given.again:
                runner.forget(STEPS, bench, given.again)
            results = runner.go(
                STEPS,
                bench,
                environment,
                lambda found: report.write(bench, STEPS, found, source, typed),
                say,
            )
    except Busy as error:
        raise UserError(
            "another check is working in this folder",
            where=out,
            way_out="wait for it, or --out DIR",
        ) from error
    say(report.summary(bench, STEPS, results))
    say(f"report: {Path(out) / report.MARKDOWN}")
    say(f"next: {report.next_command(bench, STEPS, results, typed)}")
    failed = [result for result in results if result.verdict == FAILED]
    for result in failed:
        say(f"failed: {result.name}: {_reason(result)}; its log is {result.log}", stream=sys.stderr)
    return EXIT_FAILED if failed else EXIT_DONE


def _reason(result: runner.Result) -> str:
    bad = [each for each in result.findings if each.verdict == FAILED]
    told = [f"{each.what}: {each.shown}, wanted {each.wanted}" for each in bad]
    return result.error or "; ".join(told)


def _gpus(out: str, count: int) -> Bench:
    """Return the bench of this machine's GPUs.

    Raises:
        UserError: There are fewer than asked for, or PyTorch does not see them.
    """
    rehearse = "--rehearse runs the same steps on this CPU with tiny shapes"
    found = gpus_found()
    if not found:
        raise UserError("no GPU found", where="this machine", way_out=rehearse)
    if count > len(found):
        raise UserError(f"{len(found)} GPUs found", where=f"--gpus {count}", way_out="fewer --gpus")
    named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    seen = read_gpu_memory(named.split(",")[:count])
    if len(seen) < count:
        raise UserError(
            f"nvidia-smi lists {len(found)} GPUs, PyTorch sees {len(seen)}",
            where=sys.prefix,
            way_out="install the GPU set, and a driver that it supports (docs/gpu_node.md)",
        )
    return Bench(out, "cuda", count, min(memory.total for memory in seen[:count]) // GIB)


def _list(bench: Bench) -> None:
    total = 0
    for number, step in enumerate(STEPS, 1):
        total += step.minutes
        say(f"{number}. {step.title}: about {step.minutes} min, ended after {step.limit} min")
        for command in step.commands(bench).values():
            say(f"   {shlex.join(['python', '-m', 'rlvr_dynamics.run', *command.arguments])}")
    say(f"about {total} minutes on one GPU")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in ENDING:  # a second signal must not cut the clean-up short
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
