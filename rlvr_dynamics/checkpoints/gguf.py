"""Convert a GGUF file to a Hugging Face folder.

transformers dequantises the tensors to float32. The tokenizer is built here from the file's own
vocabulary: transformers 5.10 mistakes the token that opens a turn for the one that ends it, and
does not split numbers into digits as this vocabulary requires.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import Architecture

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_CONTROL, _USER_DEFINED = 3, 4  # kinds of token in `tokenizer.ggml.token_type`


def convert(gguf: Path, architecture: Architecture, folder: Path) -> dict[str, int]:
    """Save the model of a GGUF file as a Hugging Face folder.

    Args:
        gguf: The file.
        architecture: The expected model; the file must hold exactly its tensors.
        folder: Existing folder to write weights, configuration and tokenizer to.

    Returns:
        Number of tensors per type in the file.

    Raises:
        UserError: The file cannot be read, or is not of this architecture.
    """
    if find_spec("gguf") is None:
        raise UserError("reading GGUF files needs the package gguf", way_out="pip install gguf")
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM

    try:
        reader = GGUFReader(gguf)
        tokenizer = build_tokenizer(reader)
        found: Any = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True
        )
        loaded, report = found
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise UserError(
            f"GGUF file cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}",
            way_out="give a model folder instead: model.repo=DIR",
        ) from error
    _check_shapes(loaded.config, architecture, len(tokenizer))
    # transformers fills missing tensors with random numbers and only warns.
    wrong = {key: sorted(names) for key, names in report.items() if names}
    if wrong:
        raise UserError(f"GGUF file does not hold this model's tensors: {wrong}")
    # A fresh model, because the loaded one keeps the name of its file.
    model = type(loaded)(type(loaded.config)(**_settings(loaded.config)))
    model.load_state_dict(loaded.state_dict(), strict=True)
    generation: Any = model.generation_config
    generation.bos_token_id = tokenizer.bos_token_id
    generation.eos_token_id = tokenizer.eos_token_id
    generation.pad_token_id = tokenizer.pad_token_id
    model.float().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return dict(Counter(tensor.tensor_type.name for tensor in reader.tensors))


def _settings(config: Any) -> dict[str, Any]:
    values = config.to_dict()
    for name in ("_name_or_path", "_model_name_or_path", "architectures", "quantization_config"):
        values.pop(name, None)
    return values


def _check_shapes(config: Any, wanted: Architecture, tokens: int) -> None:
    found = {
        "family": config.model_type,
        "hidden": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "intermediate": config.intermediate_size,
        "vocabulary": config.vocab_size,
        "context": config.max_position_embeddings,
        "tied": config.tie_word_embeddings,
    }
    other = {key: value for key, value in found.items() if value != getattr(wanted, key)}
    if other:
        raise UserError(f"GGUF file is another model than model.architecture says: {other}")
    # verl masks ids missing from the tokenizer in vLLM but not in the trainer.
    if tokens != config.vocab_size:
        raise UserError(f"GGUF file has {tokens} tokens and {config.vocab_size} embeddings")


def build_tokenizer(reader: Any) -> "PreTrainedTokenizerFast":
    """Build the tokenizer of a GGUF file: byte-level BPE with one token per digit.

    llama.cpp calls this "smollm". Other pre-tokenizers split numbers differently, so they are
    rejected instead of guessed.

    Args:
        reader: A `gguf.GGUFReader`.

    Raises:
        ValueError: The file has a different tokenizer, or no chat template.
        KeyError: Part of the tokenizer is missing.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = {
        name.removeprefix("tokenizer."): field.contents()
        for name, field in reader.fields.items()
        if name.startswith("tokenizer.")
    }
    kind = fields.get("ggml.model"), fields.get("ggml.pre")
    if kind != ("gpt2", "smollm"):
        raise ValueError(f"tokenizer {kind[0]}/{kind[1]} is not known here, only gpt2/smollm")
    if "chat_template" not in fields:
        raise ValueError("no chat template")
    tokens: list[str] = fields["ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in fields["ggml.merges"]]
    core = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)  # pyright: ignore[reportArgumentType]
    )
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    core.decoder = decoders.ByteLevel()
    for token, role in zip(tokens, fields["ggml.token_type"], strict=True):
        if role == _CONTROL:
            core.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif role == _USER_DEFINED:
            core.add_tokens([AddedToken(token, normalized=False)])
    name = reader.fields["general.architecture"].contents()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=tokens[fields["ggml.bos_token_id"]],
        eos_token=tokens[fields["ggml.eos_token_id"]],
        unk_token=tokens[fields["ggml.unknown_token_id"]],
        pad_token=tokens[fields["ggml.padding_token_id"]],
        clean_up_tokenization_spaces=False,
        model_max_length=reader.fields[f"{name}.context_length"].contents(),
    )
    tokenizer.chat_template = fields["chat_template"]
    return tokenizer
