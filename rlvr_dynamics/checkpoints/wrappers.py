"""Remove the wrapper prefixes that training tools leave in tensor names.

`torch.compile`, FSDP, activation checkpointing, DDP and peft wrap modules, and some tools save the
tensors without removing the wrappers' names.
"""

from collections.abc import Iterable

_ANYWHERE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_OUTERMOST = ("module.", "base_model.model.")  # removed if all names have them


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Map each stored name to the name without wrappers, which may be the same.

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
