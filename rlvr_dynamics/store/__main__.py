"""`python -m rlvr_dynamics.store pack|unpack|verify|show|push|pull`: trajectories as deltas."""

import sys
from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from rlvr_dynamics.errors import EXIT_DONE, UserError
from rlvr_dynamics.system.command_line import Parser, count_of, end, path_of, say

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.delta_store import DeltaStore

_MOST_STEPS = 1_000_000


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return end(lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    given = _parser().parse_args(arguments)
    return given.work(given)


def _parser() -> Parser:
    from rlvr_dynamics.checkpoints.delta_writer import ANCHOR_EVERY
    from rlvr_dynamics.hub.push_command import add_push

    parser = Parser(
        prog="python -m rlvr_dynamics.store",
        description="Keep every checkpoint of a training at the cost of what changed. A store is "
        "read wherever a folder of steps is: source.checkpoints=STORE.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    pack = commands.add_parser("pack", help="add the steps of a folder to a store")
    pack.add_argument("folder", type=path_of, metavar="FOLDER", help="folder of the steps")
    pack.add_argument("store", type=path_of, metavar="STORE", help="made if it is not there")
    pack.add_argument("--base", type=path_of, metavar="DIR", help="the model before training")
    pack.add_argument("--pattern", help="names of the steps, as source.pattern")
    pack.add_argument(
        "--anchor-every",
        type=count_of,
        default=ANCHOR_EVERY,
        metavar="N",
        help="steps that are multiples of it are deltas against the base, so that none is reached "
        "by more than N (default: %(default)s)",
    )
    pack.set_defaults(work=_pack)
    unpack = commands.add_parser("unpack", help="write steps as they were packed, byte for byte")
    unpack.add_argument("store", type=path_of, metavar="STORE")
    unpack.add_argument("out", type=path_of, metavar="OUT", help="folder of the step_<N>")
    unpack.add_argument("--steps", type=_steps_of, metavar="5,10-20", help="default: all")
    unpack.set_defaults(work=_unpack)
    bases = [unpack]
    for name, work, meaning in (
        ("verify", _verify, "read everything and name what is damaged"),
        ("show", _show, "sizes, and the share of the weights that changes from step to step"),
    ):
        command = commands.add_parser(name, help=meaning)
        command.add_argument("store", type=path_of, metavar="STORE")
        command.set_defaults(work=work)
        bases.append(command)
    for command in bases:
        command.add_argument(
            "--base", type=path_of, metavar="DIR", help="where the base is, if it has moved"
        )
    for command in (pack, unpack):
        command.add_argument(
            "--threads", type=count_of, default=2, metavar="N", help="default: %(default)s"
        )
    add_push(commands, "STORE", "to a repository of the hub, private if it is new", "a store")
    pull = commands.add_parser("pull", help="from a repository of the hub, and verify it")
    pull.add_argument("repository", metavar="OWNER/NAME")
    pull.add_argument("store", type=path_of, metavar="STORE")
    pull.add_argument("--revision", help="branch, tag or commit")
    pull.set_defaults(work=_pull)
    return parser


def _steps_of(text: str) -> list[int]:
    """Parse `5,10-20`."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ArgumentTypeError(f"given {text!r}, allowed: numbers and ranges, 5,10-20")
        if int(last or first) - int(first) not in range(_MOST_STEPS):
            raise ArgumentTypeError(f"given {part!r}, allowed: a range that rises, 10-20")
        found += range(int(first), int(last or first) + 1)
    return found


def _pack(given: Namespace) -> int:
    from rlvr_dynamics.store.pack import pack

    store = pack(
        given.folder,
        given.store,
        base=given.base,
        pattern=given.pattern,
        anchor_every=given.anchor_every,
        threads=given.threads,
    )
    return _told(store)


def _unpack(given: Namespace) -> int:
    from rlvr_dynamics.checkpoints.delta_open import open_store
    from rlvr_dynamics.checkpoints.delta_unpack import is_unpacked, unpack_step
    from rlvr_dynamics.checkpoints.step_names import shortened
    from rlvr_dynamics.store.pack import alone_in
    from rlvr_dynamics.system.progress import bar

    store = open_store(given.store, given.base)
    if given.steps is None:
        store.refuse_broken()
    steps = store.steps if given.steps is None else given.steps
    absent = [step for step in steps if step not in {*store.versions, *store.broken}]
    if absent:
        raise UserError(
            f"the store has no step {shortened(absent)}",
            where=str(given.store),
            way_out=f"it has {shortened(store.steps) or 'none'}",
        )
    given.out.mkdir(parents=True, exist_ok=True)
    with alone_in(given.out):
        for step in bar(steps, desc="unpack", unit="checkpoint"):
            target = given.out / f"step_{step}"
            if not is_unpacked(store, step, target):
                unpack_step(store, step, target, threads=given.threads)
    say(f"{len(steps)} checkpoints in {given.out}")
    return EXIT_DONE


def _verify(given: Namespace) -> int:
    from rlvr_dynamics.checkpoints.delta_open import open_store
    from rlvr_dynamics.checkpoints.step_names import shortened
    from rlvr_dynamics.store.contents import faults

    store = open_store(given.store, getattr(given, "base", None))
    found = list(faults(store))
    for step, what in found:
        say(f"step {step}: {what}", stream=sys.stderr)
    damaged = {step for step, _ in found}
    whole = [
        step
        for step in store.steps
        if store.reaches(step) and not damaged & {each.step for each in store.chain(step)}
    ]
    if found:
        raise UserError(
            f"{len(found)} tensors or files of a delta store are damaged",
            where=str(given.store),
            way_out="put the named versions back from a copy, or pack all steps into a new store; "
            f"whole are the steps {shortened(whole) or '(none)'}",
        )
    say(f"all {len(whole)} steps are whole")
    return EXIT_DONE


def _show(given: Namespace) -> int:
    from rlvr_dynamics.checkpoints.delta_open import open_store

    return _told(open_store(given.store, given.base))


def _told(store: "DeltaStore") -> int:
    from rlvr_dynamics.store.contents import table

    for line in table(store):
        say(line)
    store.refuse_broken()
    say(
        "next: python -m rlvr_dynamics.run +exp=trajectory source.base=BASE "
        f"source.checkpoints={store.folder}"
    )
    return EXIT_DONE


def _pull(given: Namespace) -> int:
    from rlvr_dynamics.store.hub import pull

    pull(given.repository, given.store, given.revision)
    return _verify(given)


if __name__ == "__main__":
    sys.exit(main())
