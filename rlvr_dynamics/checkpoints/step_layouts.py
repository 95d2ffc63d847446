"""The layout of a step, a full model or an adapter, under the tensor names of its base."""

from dataclasses import replace
from pathlib import Path

import torch

from rlvr_dynamics.checkpoints.adapters import read_adapter
from rlvr_dynamics.checkpoints.delta_names import number_of
from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.checkpoints.delta_store import DeltaStore
from rlvr_dynamics.checkpoints.layout import Adapter, Layout
from rlvr_dynamics.checkpoints.matching import check_match, under_names_of, working_dtypes
from rlvr_dynamics.checkpoints.model_config import says_tied
from rlvr_dynamics.checkpoints.proofs import Proofs
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.checkpoints.step_values import StepValues
from rlvr_dynamics.checkpoints.structure import vocabulary_role
from rlvr_dynamics.checkpoints.tying import Vocabulary, vocabulary_of_one
from rlvr_dynamics.checkpoints.weight_files import holds_adapter
from rlvr_dynamics.errors import UserError

_PIECE = 1 << 22


def step_layout(
    base: Layout, folder: Path, store: DeltaStore | None = None
) -> tuple[Layout, str | None]:
    """Return the layout of a step's folder under the base's names, and a note about it.

    Args:
        base: The base's layout.
        folder: The step's.
        store: The delta store of which the folder is a version, if it is open.

    Raises:
        UserError: The folder holds neither readable weights nor a readable adapter.
    """
    version = number_of(folder)
    if version is not None:
        store = store or open_store(folder.parent, base.folder)
        return under_names_of(base, store.layout(version))
    if not holds_adapter(folder):
        return under_names_of(base, read_layout(folder))
    adapter = read_adapter(folder, base)
    if any(vocabulary_role(name) for name in adapter.changes):
        _refuse_unsaid_head(base, adapter)
    said = "steps that are adapters: what they change is read as W_0 + scale B A, in float32"
    return replace(base, folder=folder, adapter=adapter), said


def _refuse_unsaid_head(base: Layout, adapter: Adapter) -> None:
    vocabulary = vocabulary_of_one(base)
    says = says_tied(base.folder)
    changed = sorted({vocabulary.embedding, vocabulary.head} & adapter.changes.keys())
    if vocabulary.tied and says is not False and changed and not adapter.ties:
        raise UserError(
            f"the adapter changes {changed[0]}, and the base's head and embedding are tied: "
            "whether the other follows is not said",
            where=str(adapter.path.parent),
            way_out="merge it with peft's merge_and_unload(), save each step whole, and give those",
        )


def check_step_zero(base: Layout, vocabulary: Vocabulary, folder: Path) -> str | None:
    """Check that a step 0 among the checkpoints equals the base, and return a note about it.

    Raises:
        UserError: It is a different model, or has different weights.
    """
    if folder.resolve() == base.folder.resolve():
        return None
    zero, _ = step_layout(base, folder)
    zero = vocabulary.apply(zero)
    check_match(base, zero, 0)
    layouts = {0: base, 1: zero}
    both = StepValues(layouts, working_dtypes(layouts), Proofs())
    for name in base.names:
        for start in range(0, both.numel(name), _PIECE):
            span = (name, start, min(both.numel(name), start + _PIECE))
            if not torch.equal(both.elements(0, *span), both.elements(1, *span)):
                raise UserError(
                    f"step 0 among the checkpoints is not the base: tensor {name} differs",
                    where=f"{base.folder} and {folder}",
                    way_out=f"if training started from it: source.base={folder}; if not, move it "
                    "away",
                )
    return f"{folder} is the base and no step of its own"
