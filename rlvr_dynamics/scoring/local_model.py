"""Loads a model and its tokenizer from a local folder: safetensors only, no custom code."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.identity import hashes_of, prove_folder
from rlvr_dynamics.checkpoints.shards import read_layout
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.scoring.prompts import stop_tokens
from rlvr_dynamics.system.threads import one_thread_each

if TYPE_CHECKING:
    import torch

SMALL = 10_000_000
"""Parameters up to which a model runs on one thread of a CPU."""


@dataclass(frozen=True)
class Runnable:
    """A loaded model.

    Attributes:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        stops: Tokens that end an answer.
        pad: Padding token; masked, so any token works.
        device: Device it runs on.
    """

    model: Any
    tokenizer: Any
    stops: tuple[int, ...]
    pad: int
    device: "torch.device"


@contextmanager
def inference(runnable: Runnable) -> Iterator[None]:
    """Run a model without gradients inside the block, a small one on one thread.

    The operations of a small model are too short to be shared: on busy cores two threads that wait
    for each other took 5 to 20 times as long as one.
    """
    import torch

    small = runnable.device.type == "cpu" and runnable.model.num_parameters() <= SMALL
    with torch.inference_mode(), one_thread_each() if small else nullcontext():
        yield


def not_finite(where: str) -> UserError:
    """Return the error for a model whose logits are not finite."""
    return UserError(
        "the model's probabilities are not finite",
        where=where,
        way_out="dtype=float32, or look for damage in its weights",
    )


def chosen_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``.

    Raises:
        UserError: A GPU is requested but there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise UserError("device=cuda, and this machine has no GPU", way_out="device=auto")
    return "cuda" if there and device != "cpu" else "cpu"


def stored_dtype(folder: Path) -> str:
    """Return the dtype of most elements of a folder's weights."""
    layout = read_layout(folder)
    sizes: dict[str, int] = {}
    for name in layout.names:
        entry = layout.entry(name)
        sizes[entry.dtype] = sizes.get(entry.dtype, 0) + entry.numel
    return max(sorted(sizes), key=sizes.__getitem__)


def load_tokenizer(folder: Path) -> Any:
    """Load a folder's tokenizer.

    Raises:
        UserError: There is none, or it needs custom code.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UserError(
            f"no tokenizer could be loaded: {' '.join(str(error).split())[:200]}",
            where=str(folder),
            way_out="save the tokenizer in the folder of the weights",
        ) from error


def load(folder: Path, dtype: str, device: str, prompt: Mapping[str, Any]) -> Runnable:
    """Load a model folder.

    Args:
        folder: Hugging Face folder.
        dtype: Precision in which the model runs.
        device: ``cpu`` or ``cuda``.
        prompt: From `rlvr_dynamics.scoring.prompts.prompt_facts`.

    Raises:
        UserError: The folder is not a causal language model, is damaged or needs custom code.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    read_layout(folder)  # for our own message if the files are wrong
    prove_folder(folder, hashes_of(folder, HashCache(None)) or {})
    tokenizer = load_tokenizer(folder)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise UserError(
            f"the model cannot be loaded: {' '.join(str(error).split())[:200]}",
            where=str(folder),
            way_out="give a folder with config.json and safetensors of a causal language model "
            "that transformers knows",
        ) from error
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    ends = [*ends, tokenizer.eos_token_id, *stop_tokens(tokenizer, prompt)]
    stops = tuple(sorted({int(end) for end in ends if end is not None}))
    # generate() takes its defaults from here; with a repetition penalty it would not be greedy.
    model.generation_config = GenerationConfig()
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (*stops, 0)[0]
    place = torch.device(device)
    return Runnable(model.to(place).eval(), tokenizer, stops, int(pad), place)


class OneAtATime:
    """Keeps one model loaded: the one requested last.

    Args:
        folders: Role to folder.
        dtype: Precision in which the models run.
        device: ``cpu`` or ``cuda``.
        prompt: From `rlvr_dynamics.scoring.prompts.prompt_facts`.
    """

    def __init__(
        self, folders: Mapping[str, Path], dtype: str, device: str, prompt: Mapping[str, Any]
    ) -> None:
        """Store the arguments without loading anything."""
        self._folders, self._dtype, self._device = folders, dtype, device
        self._prompt = prompt
        self._held: tuple[str, Runnable] | None = None

    def __call__(self, role: str) -> Runnable:
        """Return the model of a role, unloading any other first."""
        if self._held is None or self._held[0] != role:
            self._held = None
            gc.collect()
            self._held = (role, load(self._folders[role], self._dtype, self._device, self._prompt))
        return self._held[1]
