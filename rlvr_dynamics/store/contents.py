"""What a delta store holds, and whether it is whole."""

from collections.abc import Iterator

from rlvr_dynamics.checkpoints.delta_names import BASE
from rlvr_dynamics.checkpoints.delta_store import DeltaStore
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.command_line import aligned
from rlvr_dynamics.system.progress import bar

_BAR_WIDTH = 24
_MIB = 2**20


def table(store: DeltaStore) -> list[str]:
    """Return the lines that show the versions of a store: sizes, and how much changed.

    The bars are the share of elements that differ from the version before, the longest one full.
    """
    largest = max((each.share for each in store.versions.values()), default=0.0) or 1.0
    rows: list[list[str]] = [["step", "follows", "MiB", "smaller", "changed", ""]]
    whole = packed = 0
    for version in store.versions.values():
        if not store.reaches(version.step):
            continue
        dense = sum(shard.size for shard in store.shards(version.step).values())
        if version.base is None:
            name = "base" if version.step == BASE else str(version.step)
            rows.append([name, "-", f"{version.size / _MIB:.2f}", "-", "-", ""])
            continue
        whole, packed = whole + dense, packed + version.size
        smaller = f"{dense / version.size:.1f}x" if version.size else "-"
        follows = "base" if version.base == BASE else str(version.base)
        length = round(_BAR_WIDTH * version.share / largest)
        size = f"{version.size / _MIB:.2f}"
        rows.append(
            [str(version.step), follows, size, smaller, f"{version.share:.2%}", "#" * length]
        )
    lines = aligned(rows, right=(0, 1, 2, 3, 4))
    deltas = [version for version in store.versions.values() if version.base is not None]
    if packed:
        lines.append(
            f"{len(deltas)} deltas: {packed / _MIB:,.1f} MiB where the checkpoints have "
            f"{whole / _MIB:,.1f} MiB, {whole / packed:.1f} times smaller"
        )
    return lines


def faults(store: DeltaStore) -> Iterator[tuple[int, str]]:
    """Read everything in a store; yields (step, what is wrong), each fault where it arises.

    Steps that follow a damaged one are not named: they follow from it.
    """
    for step, error in store.broken.items():
        yield step, error.what
    reachable = []
    for step, version in store.versions.items():
        try:
            store.check_beside(step)
        except UserError as error:
            # What a chain's first version has is a fault of that version alone.
            if not store.reaches(step) or error.where == str(version.folder):
                yield step, error.what
                continue
        reachable.append(step)
    names = sorted({name for step in reachable for name in _names(store, step)})
    for name in bar(names, desc="verify", unit="tensor"):
        steps = [step for step in reachable if name in _names(store, step)]
        found = store.faults(name, steps)
        if found:
            yield min(found), found[min(found)]


def _names(store: DeltaStore, step: int) -> set[str]:
    return {
        shard.stored.get(name, name)
        for shard in store.shards(step).values()
        for name in (*shard.entries, *shard.others)
    }
