r"""Turns a question into the text that a model continues.

`scoring.template` selects the form: ``model`` is the model's own chat template (``plain`` if it has
none), every other name an entry of `TEXTS`. A benchmark's prompt already ends with its instruction
("... within \boxed{}"), so these texts only mark the roles.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.scoring.jobs import EngineSettings
from rlvr_dynamics.scoring.keys import chat_template
from rlvr_dynamics.scoring.plain_text import encode, foreign_part
from rlvr_dynamics.system.sealed import digest

MODEL, PLAIN, CHAT_TEMPLATE = "model", "plain", "chat_template"
_MARK = "\ue000question\ue001"  # characters that occur in no template and no question


@dataclass(frozen=True)
class PromptText:
    """A named prompt text for models without a chat template, or to replace their own.

    Attributes:
        text: The text, with placeholders ``{system}`` and ``{prompt}``.
        system: System message unless the configuration sets another.
        end: Token that also ends an answer, if the tokenizer has it; a base model that adopts
            the form writes it and would then continue as the user.
    """

    text: str
    system: str | None
    end: str | None


TEXTS = {
    # Only the question and its instruction, after the tokens the tokenizer puts before any text.
    PLAIN: PromptText("{prompt}", None, None),
    # Qwen's chat form with the plain system line, which RELEX (arXiv 2605.21468) uses for every
    # model: Qwen2.5-Math's own template has another system line.
    "qwen_math": PromptText(
        "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n"
        "<|im_start|>assistant\n",
        "You are a helpful assistant.",
        "<|im_end|>",
    ),
}
TEMPLATES = (MODEL, *TEXTS)


def prompt_facts(folder: Path, settings: EngineSettings) -> dict[str, Any]:
    """Describe a model's prompt form, which is recorded and part of its answers' key.

    Returns:
        form (``chat_template`` or a name of `TEXTS`), sha256 (of the template or the named text),
        system, thinking.

    Raises:
        UserError: The template is unknown, or does not support the system prompt or thinking.
    """
    if settings.template not in TEMPLATES:
        raise UserError(
            f"unknown scoring.template {settings.template!r}",
            way_out=f"one of {', '.join(TEMPLATES)}",
        )
    own = chat_template(folder) if settings.template == MODEL else None
    asked = {"system": settings.system_prompt, "thinking": settings.thinking}
    if own is not None:
        return {
            "form": "chat_template",
            "sha256": hashlib.sha256(own.encode()).hexdigest(),
            **asked,
        }
    form = PLAIN if settings.template == MODEL else settings.template
    named = TEXTS[form]
    for key, wanted, possible in (
        ("system_prompt", settings.system_prompt, named.system is not None),
        ("thinking", settings.thinking, False),
    ):
        if wanted is not None and not possible:
            raise UserError(
                f"scoring.{key} has no place in the prompt text {form!r}",
                where=str(folder) if settings.template == MODEL else "scoring.template",
                way_out=f"scoring.{key}=null, or another scoring.template"
                + (" (the model has no chat template)" if settings.template == MODEL else ""),
            )
    system = named.system if settings.system_prompt is None else settings.system_prompt
    return {"form": form, "sha256": digest(asdict(named)), "system": system, "thinking": None}


def render(tokenizer: Any, prompt: Mapping[str, Any], question: str) -> tuple[str, list[int]]:
    """Return the whole prompt of one question and its token ids.

    Everything in the question is plain text to the model, even the template's special tokens.

    Args:
        tokenizer: The model's.
        prompt: From `prompt_facts`.
        question: The benchmark's prompt.

    Raises:
        UserError: The chat template rejects the question, or it cannot be read as plain text.
    """
    if prompt["form"] == PLAIN:
        return question, encode(tokenizer, question, slice(0, len(question)), begin=True)
    # Templates and named texts already contain the special tokens.
    text = _rendered(tokenizer, prompt, question)
    part = foreign_part(text, _rendered(tokenizer, prompt, _MARK), _MARK)
    return text, encode(tokenizer, text, part)


def _rendered(tokenizer: Any, prompt: Mapping[str, Any], question: str) -> str:
    if prompt["form"] != CHAT_TEMPLATE:
        before, _, after = TEXTS[prompt["form"]].text.partition("{prompt}")
        return f"{before.replace('{system}', prompt['system'])}{question}{after}"
    from jinja2 import TemplateError

    messages = [{"role": "user", "content": question}]
    if prompt["system"] is not None:
        messages.insert(0, {"role": "system", "content": prompt["system"]})
    more = {} if prompt["thinking"] is None else {"enable_thinking": prompt["thinking"]}
    try:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **more
        )
    except TemplateError as error:
        raise UserError(
            f"the model's chat template cannot be filled in: {error}",
            way_out="scoring.system_prompt=null, or another scoring.template",
        ) from error


def stop_tokens(tokenizer: Any, prompt: Mapping[str, Any]) -> list[int]:
    """Return the ids that end an answer besides the model's own end of text."""
    token = TEXTS[prompt["form"]].end if prompt["form"] in TEXTS else None
    known = None if token is None else tokenizer.get_vocab().get(token)
    return [] if known is None else [known]
