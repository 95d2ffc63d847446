"""Writes a base model's prompt form and end tokens into its folder.

verl's rollouts and our scoring both read the chat template and the end tokens from the model
folder, so training and evaluation always use the same ones.
"""

import difflib
import json
import shutil
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import HubModel
from rlvr_dynamics.scoring.keys import chat_template, model_json
from rlvr_dynamics.system.atomic import write_json, write_text

TEMPLATE = "chat_template.jinja"
GENERATION = "generation_config.json"
_PROBE = "What is 1+1?"
_OTHER_TEMPLATES = ("chat_template.json", "additional_chat_templates")


def set_prompt(model: HubModel, folder: Path) -> dict[str, Any]:
    """Set the prompt form and the end tokens of a model folder as configured.

    With `prompt: plain` the chat template becomes the bare text, preceded by whatever the tokenizer
    puts before any text. The ids of `stop_tokens` are added to the end tokens of
    generation_config.json: vLLM stops at each of them, in scoring and in verl's rollouts (which
    override other settings of that file, but not these).

    Returns:
        Facts for the report: prompt, stop_tokens, eos_token_ids (None if unchanged).

    Raises:
        UserError: The model has no chat template, its tokenizer does not load or lacks a token.
    """
    if model.prompt == "plain":
        _install_bare_text(folder)
    elif chat_template(folder) is None:
        raise UserError(
            f"{model.repo} has no chat template",
            where=f"model.{model.name}",
            way_out="model.prompt=plain gives it each problem as bare text",
        )
    ids = _add_end_tokens(folder, model.stop_tokens) if model.stop_tokens else None
    return {"prompt": model.prompt, "stop_tokens": list(model.stop_tokens), "eos_token_ids": ids}


def _install_bare_text(folder: Path) -> None:
    tokenizer = _tokenizer(folder)
    bare = tokenizer.encode(_PROBE, add_special_tokens=False)
    begun = tokenizer.encode(_PROBE)
    start = next((at for at in range(len(begun)) if begun[at : at + len(bare)] == bare), 0)
    prefix = "".join(tokenizer.convert_ids_to_tokens(begun[:start]))
    for name in _OTHER_TEMPLATES:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    settings_file = folder / "tokenizer_config.json"
    settings = model_json(settings_file)
    if settings.pop("chat_template", None) is not None:
        write_json(settings_file, settings)
    opening = f"{{{{ {json.dumps(prefix)} }}}}" if prefix else ""
    write_text(
        folder / TEMPLATE,
        opening + "{% for message in messages %}{{ message['content'] }}{% endfor %}",
    )
    asked = _tokenizer(folder).apply_chat_template(
        [{"role": "user", "content": _PROBE}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    if asked != begun[: start + len(bare)]:
        raise UserError(
            "the tokenizer does not support bare-text prompts: its ids differ from a template's",
            where=str(folder),
            way_out="model.prompt=chat",
        )


def _add_end_tokens(folder: Path, tokens: tuple[str, ...]) -> list[int]:
    tokenizer = _tokenizer(folder)
    vocabulary = tokenizer.get_vocab()
    for token in tokens:
        if token not in vocabulary:
            near = difflib.get_close_matches(token, list(tokenizer.get_added_vocab()), n=3)
            raise UserError(
                f"model.stop_tokens: the tokenizer has no token {token!r}",
                where=str(folder),
                way_out="leave it out" + (f", or use {', '.join(near)}" if near else ""),
            )
    generation = model_json(folder / GENERATION)
    own = generation.get("eos_token_id", model_json(folder / "config.json").get("eos_token_id"))
    own = own if isinstance(own, list) else [own]
    wanted = [*own, tokenizer.eos_token_id, *(vocabulary[token] for token in tokens)]
    ids = list(dict.fromkeys(number for number in wanted if number is not None))
    write_json(folder / GENERATION, generation | {"eos_token_id": ids})
    return ids


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"the model's tokenizer cannot be loaded: {str(error).splitlines()[0]}",
            where=str(folder),
            way_out="give a folder with the tokenizer's files",
        ) from error
