"""Models are kept in the Hugging Face cache: others find what we fetch, and we what they did."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants, hf_hub_download, scan_cache_dir, try_to_load_from_cache

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.lock import MODELS, read_lock
from tests.support.hub_model_fixture import REPO, fetch, hub, model, published

FIXTURES = (hub, published)
SHARD = "model-00001-of-00003.safetensors"


@pytest.fixture
def cache(hub, tmp_path):
    return tmp_path / "home" / "hub"


def fetched_by_others(hub, cache, names):
    for name in names:
        hf_hub_download(REPO, name, endpoint=hub.endpoint, cache_dir=cache)


def gets(hub):
    return [request.path for request in hub.requests if request.method == "GET"]


def test_what_we_fetch_other_tools_find(hub, cache, tmp_path, published, monkeypatch):
    fetch(tmp_path, model())
    (repo,) = scan_cache_dir(cache).repos
    assert repo.repo_id == REPO and not scan_cache_dir(cache).warnings
    assert {each.commit_hash: each.refs for each in repo.revisions} == {hub.first: {"main"}}
    hub.stop()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in (SHARD, "config.json", "tokenizer.json"):
        found = hf_hub_download(REPO, name, cache_dir=cache)
        assert Path(found).read_bytes() == (published / name).read_bytes()
    base = tmp_path / "base" / SHARD
    assert base.samefile(found.replace("tokenizer.json", SHARD)) and not base.is_symlink()


def test_what_other_tools_fetched_is_not_fetched_again(hub, cache, tmp_path, published):
    names = sorted(
        path.name
        for path in published.iterdir()
        if path.suffix in (".safetensors", ".json", ".jinja") and ".bin." not in path.name
    )
    fetched_by_others(hub, cache, names)
    before = len(gets(hub))
    fetch(tmp_path, model())
    assert not any("/resolve/" in path for path in gets(hub)[before:])
    assert (tmp_path / "base" / SHARD).samefile(cached(cache, hub, SHARD))


def cached(cache, hub, name):
    return try_to_load_from_cache(REPO, name, revision=hub.first, cache_dir=cache)


def test_without_a_network_the_cache_is_enough(hub, cache, tmp_path, published, monkeypatch):
    names = [path.name for path in published.iterdir() if path.is_file()]
    fetched_by_others(hub, cache, names)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(hub.requests)
    facts = fetch(tmp_path, model())
    assert facts["revision"] == hub.first and len(hub.requests) == before
    assert not list((tmp_path / "base").glob("*.bin*"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert read_lock(tmp_path / MODELS)["qwen3_4b"]["weights"] == facts["weights"]
    assert fetch(tmp_path, model(), "online") == facts


def test_a_damaged_file_of_the_cache_is_fetched_again(hub, cache, tmp_path, published, capsys):
    fetched_by_others(hub, cache, [SHARD, "config.json"])
    with open(cached(cache, hub, SHARD), "r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    fetch(tmp_path, model())
    assert f"damaged in Hugging Face's cache, fetched again: {SHARD}" in capsys.readouterr().out
    assert (tmp_path / "base" / SHARD).read_bytes() == (published / SHARD).read_bytes()
    found = hf_hub_download(REPO, SHARD, endpoint=hub.endpoint, cache_dir=cache)
    assert Path(found).read_bytes() == (published / SHARD).read_bytes()


def test_files_of_one_content_are_one_blob(hub, cache, tmp_path, published):
    for name in ("special_tokens_map.json", "added_tokens.json"):
        (published / name).write_text("{}")
    hub.publish(REPO, "main", published)
    fetch(tmp_path, model())
    for name in ("special_tokens_map.json", "added_tokens.json"):
        assert json.loads((tmp_path / "base" / name).read_text()) == {}


def test_a_cache_that_cannot_be_written_serves_what_it_has(hub, cache, tmp_path, monkeypatch):
    fetch(tmp_path, model())

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("rlvr_dynamics.hub.cache.held", refuse)
    fetch(tmp_path, model(), "again")
    shutil.rmtree(cache / "models--somebody--base" / "blobs")
    with pytest.raises(UserError, match="models cannot be stored: Permission denied"):
        fetch(tmp_path, model(), "third")


def test_the_former_store_is_moved_into_the_cache(hub, cache, tmp_path, published):
    fetch(tmp_path, model())
    store = tmp_path / "home" / "rlvr_dynamics" / "models" / "somebody--base" / hub.first
    store.mkdir(parents=True)
    for path in (tmp_path / "base").iterdir():
        shutil.copy(published / path.name, store / path.name)
    shutil.rmtree(cache)
    before = len(hub.requests)
    fetch(tmp_path, model(), "again")
    assert len(hub.requests) == before and not list(store.iterdir())
    assert cached(cache, hub, SHARD)


def test_a_lock_of_before_is_kept_to(hub, tmp_path):
    facts = fetch(tmp_path, model())
    entry = read_lock(tmp_path / MODELS)["qwen3_4b"]
    del entry["folder"]
    (tmp_path / MODELS).write_text(json.dumps({"qwen3_4b": entry}))
    assert fetch(tmp_path, model(), "again") == facts


def test_the_loopback_hub_speaks_to_huggingface_hub(hub, tmp_path, published):
    api = huggingface_hub.HfApi(hub.endpoint)
    info = api.model_info(REPO, files_metadata=True)
    sizes = {each.rfilename: each.size for each in info.siblings}
    tree = {each.path: each.size for each in api.list_repo_tree(REPO, recursive=True)}
    files = [path for path in published.rglob("*") if path.is_file()]
    there = {str(path.relative_to(published)): path.stat().st_size for path in files}
    assert info.sha == hub.first and sizes == there
    assert {path: size for path, size in tree.items() if path in there} == there
