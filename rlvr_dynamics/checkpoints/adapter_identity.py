"""Which weights an adapter makes: its tensors, its settings and the base under it."""

from rlvr_dynamics.checkpoints.adapters import Adapter
from rlvr_dynamics.checkpoints.identity import (
    HashCache,
    combine,
    damaged_weights,
    hash_weights,
    sha256_of,
)


def adapter_identity(adapter: Adapter, base: str, cache: HashCache) -> str:
    """Return the identity of the weights that an adapter makes of its base.

    Args:
        adapter: The adapter.
        base: The base's identity.
        cache: Where hashes of files are remembered.
    """
    (tensors,) = cache.hashes([adapter.path.resolve()])
    return combine(
        {"base": base, "adapter": tensors.sha256, "settings": sha256_of(adapter.settings)}
    )


def prove_adapter(adapter: Adapter, cache: HashCache) -> None:
    """Read an adapter's file anew and compare it with the one whose identity was taken.

    Raises:
        UserError: It has another content since.
    """
    path = adapter.path.resolve()
    known = cache.known(path)
    if known is not None and hash_weights(path).sha256 != known.sha256:
        raise damaged_weights(path.parent, path.name, "the adapter", None)
