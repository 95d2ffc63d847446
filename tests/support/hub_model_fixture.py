"""A hub on loopback with one small model, and a run's requests to it."""

import pytest
import torch

from rlvr_dynamics import config
from rlvr_dynamics.hub.lock import MODELS
from rlvr_dynamics.hub.model import fetch_model
from rlvr_dynamics.training.prompt_setup import set_prompt
from tests.support.hub_server import Hub
from tests.support.small_models import random_tensors, save_model

REPO = "somebody/base"
TURNS = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"


def save_tokenizer(folder, *, begins_with=None, template=TURNS):
    """Save a tokenizer of single characters with Qwen's special tokens."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<bos>"]
    vocabulary = {
        token: i for i, token in enumerate([*specials, "<unk>", *map(chr, range(32, 127))])
    }
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.add_special_tokens([AddedToken(token, special=True) for token in specials])
    if begins_with:
        core.post_processor = processors.TemplateProcessing(
            single=f"{begins_with} $A", special_tokens=[(begins_with, vocabulary[begins_with])]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|endoftext|>", bos_token="<bos>", unk_token="<unk>"
    )
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)


@pytest.fixture
def published(tmp_path):
    """Save a bfloat16 model in three shards, along with files that no one asks for."""
    folder = save_model(tmp_path / "original", random_tensors(0, torch.bfloat16), shards=3)
    for name in ("tokenizer.json", "chat_template.jinja"):
        (folder / name).unlink()
    save_tokenizer(folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": 0, "temperature": 0.6}')
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "pytorch_model.bin.index.json").write_text("{}")
    (folder / "original.pt").write_bytes(b"pickled")
    (folder / "original").mkdir()
    (folder / "original" / "model.safetensors").write_bytes(b"another")
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch, published):
    """Start a hub on loopback with that model on its main branch, and an empty HF_HOME."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    with Hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        server.first = server.publish(REPO, "main", published)
        yield server


def model(*overrides, repo=REPO):
    return config.load(["+exp=grpo_qwen3_4b", f"model.repo={repo}", *overrides]).model


def fetch(tmp_path, wanted, name="base"):
    facts = fetch_model(wanted, tmp_path / name, tmp_path / MODELS)
    return facts | set_prompt(wanted, tmp_path / name)
