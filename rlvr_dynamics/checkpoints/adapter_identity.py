"""Identity of the weights an adapter produces: from its tensors, its settings and its base."""

from rlvr_dynamics.checkpoints.file_hashes import sha256_of
from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.identity import combine, damaged_weights
from rlvr_dynamics.checkpoints.layout import Adapter


def adapter_identity(adapter: Adapter, base: str, cache: HashCache) -> str:
    """Return the identity of the weights obtained by applying an adapter to its base.

    Args:
        adapter: The adapter.
        base: The base's identity.
        cache: Cache of file hashes.
    """
    (tensors,) = cache.hashes([adapter.path.resolve()])
    return combine(
        {"base": base, "adapter": tensors.sha256, "settings": sha256_of(adapter.settings)}
    )


def prove_adapter(adapter: Adapter, base: str, identity: str) -> None:
    """Read an adapter's files again and compare them with the recorded identity.

    Raises:
        UserError: Their content has changed since.
    """
    if adapter_identity(adapter, base, HashCache(None)) != identity:
        path = adapter.path
        raise damaged_weights(path.parent, path.name, "the adapter or its settings", None)
