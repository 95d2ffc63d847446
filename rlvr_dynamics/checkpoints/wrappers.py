"""What training tools put into the names of tensors, and the names without it.

`torch.compile`, FSDP, activation checkpointing, DDP and peft wrap modules, and some savers forget
to take the wrappers' names off again.
"""

from collections.abc import Iterable

_ANYWHERE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_OUTERMOST = ("module.", "base_model.model.")  # taken off where all names have them


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Return each stored name and the name without the wrappers', which may be the same.

    Args:
        names: All names of a checkpoint.
    """
    found = {}
    for name in names:
        parts = name.split(".")
        kept = [part for part in parts if part not in _ANYWHERE]
        found[name] = ".".join(kept) if len(kept) < len(parts) else name
    taken = True
    while taken and found:
        taken = False
        for prefix in _OUTERMOST:
            if all(name.startswith(prefix) and name != prefix for name in found.values()):
                found = {stored: name.removeprefix(prefix) for stored, name in found.items()}
                taken = True
    return found
