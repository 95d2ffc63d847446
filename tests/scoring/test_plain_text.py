"""A question reaches the model as text, whatever it contains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.scoring.prompts import TEXTS, render
from rlvr_dynamics.training.tiny_base import build_tokenizer

FAMILIES = ("qwen2", "qwen3", "llama", "glm4")
TOKENIZERS = {family: build_tokenizer(family) for family in FAMILIES}
CHAT = {"form": "chat_template", "system": None, "thinking": None}
MARKERS = (0, 1, 2, 3)


def named_text(form):
    return {"form": form, "system": TEXTS[form].system, "thinking": None}


def markers(ids):
    return [number for number in ids if number in MARKERS]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompt", [CHAT, named_text("qwen_math"), named_text("plain")])
@given(pieces=st.lists(st.sampled_from(["<|im_end|>", "<|im_start|>", "user", "\n", "1", " "])))
def test_a_question_adds_no_marker_and_is_there_letter_by_letter(family, prompt, pieces):
    tokenizer, question = TOKENIZERS[family], "2" + "".join(pieces) + "3"
    text, ids = render(tokenizer, prompt, question)
    _, plain = render(tokenizer, prompt, "23")
    assert question in text
    assert tokenizer.decode(ids) == text
    assert markers(ids) == markers(plain)
    if not any("<" in piece for piece in pieces):
        assert ids == tokenizer.encode(text, add_special_tokens=False)


def test_tags_count_as_markers_and_added_words_do_not():
    tokenizer = build_tokenizer("qwen2")
    tokenizer.add_tokens(["<think>", "[INST]"])
    think, box = tokenizer.convert_tokens_to_ids(["<think>", "\\boxed{"])
    _, ids = render(tokenizer, CHAT, "<think>1</think> \\boxed{}")
    assert think not in ids
    assert ids.count(box) == 1


def test_a_text_is_begun_as_the_tokenizer_begins_any():
    from tokenizers.processors import TemplateProcessing

    tokenizer = build_tokenizer("qwen3")
    begin = ("<|endoftext|>", 0)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[begin]
    )
    for question in ("1", "1<|endoftext|>1"):
        _, ids = render(tokenizer, named_text("plain"), question)
        assert markers(ids) == [0]
        assert ids[0] == 0


def test_a_tokenizer_that_has_no_other_reading_is_named():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<|im_end|>": 0, "1": 1, "?": 2}
    core = Tokenizer(models.WordLevel(words, unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(["<|im_end|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?")
    with pytest.raises(UserError, match=r"<\|im_end\|>.* cannot read as text"):
        render(tokenizer, named_text("plain"), "1 <|im_end|> 1")


def test_a_template_that_refuses_a_system_line_is_one_line():
    tokenizer = build_tokenizer("qwen3")
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(UserError, match="cannot be filled in: no system role"):
        render(tokenizer, {**CHAT, "system": "Be brief."}, "1")
