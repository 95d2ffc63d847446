"""Check that a base and a checkpoint are the same model, and reconcile names and dtypes."""

import re
from collections.abc import Collection, Mapping

from rlvr_dynamics.checkpoints.buffers import placeholders_error
from rlvr_dynamics.checkpoints.layout import ITEM_BYTES, Layout
from rlvr_dynamics.errors import UserError

_GIVE_BASE = "give the base that this run started from"
_VALUE_HEAD = re.compile(r"(?:v_head|value_head|critic_head)\.")


def under_names_of(base: Layout, other: Layout) -> tuple[Layout, str | None]:
    """Return a checkpoint's layout with the tensor names of its base.

    Tools save the same model with different prefixes, such as `model.` or none. A prefix common to
    all names is replaced; any other difference is left for `check_match` to reject.

    Returns:
        The layout, and a note on what was done; None if the names are the same.
    """
    ours, theirs = base.home.keys() - other.home.keys(), other.home.keys() - base.home.keys()
    # The output head has no layer prefix, so it may be unmatched on either side.
    found = prefix_of(theirs, ours, left_over=1)
    if found is None or len(ours) > len(theirs) + 1:
        return other, None
    old, new = found
    names = {name: new + name.removeprefix(old) for name in theirs if name.startswith(old)}
    names = {name: known for name, known in names.items() if known in ours}
    said = f"the steps' names begin with {old!r} and the base's with {new!r}: they are taken alike"
    if not old or not new:
        longer = "base's" if new else "steps'"
        said = f"only the {longer} names begin with {old or new!r}: the others are taken alike"
    return other.renamed(names), said


def prefix_of(
    theirs: Collection[str], ours: Collection[str], left_over: int = 0
) -> tuple[str, str] | None:
    """Return the prefix of `theirs` and the prefix to replace it with to get names in `ours`.

    Args:
        theirs: Names that should be a subset of ours.
        ours: The existing names.
        left_over: How many of theirs may stay unmatched.

    Returns:
        The two prefixes, either of which may be empty; None if no pair fits.
    """
    there = set(ours)
    for old, new in sorted(_prefix_pairs(theirs, there)):
        fitting = {name for name in theirs if new + name.removeprefix(old) in there}
        fitting = {name for name in fitting if name.startswith(old)}
        if fitting and len(theirs) - len(fitting) <= left_over:
            return old, new
    return None


def _prefix_pairs(theirs: Collection[str], ours: Collection[str]) -> set[tuple[str, str]]:
    """Return the prefix pairs (theirs, ours) that map some name of one side to the other."""
    pairs = set()
    by_end: dict[str, list[str]] = {}
    for name in ours:
        by_end.setdefault(".".join(name.split(".")[-2:]), []).append(name)
    samples = sorted(theirs)
    for sample in {*samples[:1], *samples[-1:]}:
        parts = sample.split(".")
        for name in by_end.get(".".join(parts[-2:]), ()):
            known = name.split(".")
            same = 0
            while same < min(len(parts), len(known)) and parts[-1 - same] == known[-1 - same]:
                same += 1
            old, new = (
                "".join(f"{part}." for part in each[: len(each) - same]) for each in (parts, known)
            )
            if not re.search(r"\d", old + new):
                pairs.add((old, new))
    return pairs


def working_dtypes(layouts: Mapping[int, Layout]) -> dict[str, str]:
    """Return the dtype in which every tensor is read: the one shared by all steps.

    The base is cast to it. Widening is exact. Rounding the base like the steps is correct too: an
    untrained weight then has no update, while an unrounded base would give it one as large as the
    rounding error, the same at every step.

    Args:
        layouts: Base (step 0) and steps; without steps, the base's dtypes are used.

    Raises:
        UserError: The steps have different dtypes.
    """
    steps = [layout for step, layout in layouts.items() if step] or [layouts[0]]
    found = {name: steps[0].dtype_of(name) for name in layouts[0].names}
    if all(layout.adapter is not None for layout in steps):  # the first may change fewer tensors
        changed = {name for each in steps if each.adapter for name in each.adapter.changes}
        return found | dict.fromkeys(sorted(changed & found.keys()), "float32")
    for step, layout in layouts.items():
        for name, dtype in found.items():
            if step and layout.dtype_of(name) != dtype:
                raise UserError(
                    f"step {step} stores {name} in {layout.dtype_of(name)}, the first step in "
                    f"{dtype}: the rounding of one of them would count as an update",
                    where=str(layout.folder),
                    way_out="save all steps in one dtype; float32 keeps small updates",
                )
    return found


def dtype_note(base: Layout, dtypes: Mapping[str, str]) -> str | None:
    """Return a note if the base is stored in other dtypes than the steps."""
    differing = sorted(name for name in dtypes if base.entry(name).dtype != dtypes[name])
    if not differing:
        return None
    ours = "+".join(sorted({base.entry(name).dtype for name in differing}))
    theirs = "+".join(sorted({dtypes[name] for name in differing}))
    widened = all(
        ITEM_BYTES[base.entry(name).dtype] < ITEM_BYTES[dtypes[name]] for name in differing
    )
    how = (
        "the base is read in the steps' dtype, which is exact"
        if widened
        else "the base is rounded like the steps, so that a weight which was not trained has no "
        "update"
    )
    count = "" if len(differing) == len(dtypes) else f" ({len(differing)} tensors)"
    return f"the base is in {ours} and the steps are in {theirs}{count}: {how}"


def check_match(base: Layout, other: Layout, step: int) -> None:
    """Check that a checkpoint has the tensors of the base, in the same shapes.

    Raises:
        UserError: It is a different model, or only part of one.
    """
    where = f"{base.folder} and {other.folder}"
    ours, theirs = set(base.names), set(other.names)
    buffers = {name: each for shard in other.shards.values() for name, each in shard.others.items()}
    placeholders = sorted(name for name in ours & buffers.keys() if not buffers[name].numel)
    if placeholders:
        raise placeholders_error(f"step {step}: ", placeholders, other.folder)
    if ours != theirs:
        offenders = [f"{name} only in the base" for name in sorted(ours - theirs)[:2]]
        offenders += [f"{name} only in the checkpoint" for name in sorted(theirs - ours)[:2]]
        more = sorted(theirs - ours)
        value_head = not ours - theirs and all(map(_VALUE_HEAD.match, more))
        raise UserError(
            f"the base does not match step {step}: tensor {'; '.join(offenders)}",
            where=where,
            way_out="that is the value head of a critic: save the policy without it"
            if value_head
            else _GIVE_BASE,
        )
    wrong = [
        f"{name} is {base.entry(name).shape} in the base and {other.entry(name).shape} in the "
        "checkpoint"
        for name in base.names
        if base.entry(name).shape != other.entry(name).shape
    ]
    if wrong:
        raise UserError(
            f"the base does not match step {step} in shape: {'; '.join(wrong[:2])}"
            + (f" and {len(wrong) - 2} more" if len(wrong) > 2 else ""),
            where=where,
            way_out=_GIVE_BASE,
        )
