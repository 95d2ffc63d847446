"""What lies beside the weights: copied as files, never through a link that leaves the folder."""

import os
from pathlib import Path

import pytest

from rlvr_dynamics.checkpoints.companions import companion_files, copy_companions
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.scoring.keys import frame_of
from rlvr_dynamics.system.copies import copy_folder


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "additional_chat_templates").mkdir(parents=True)
    (folder / "additional_chat_templates" / "tool.jinja").write_text("{{ tools }}")
    (folder / "config.json").write_text('{"hidden_size": 8}')
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).write_text("{}")
    for name in ("added_tokens.json", "generation_config.json", "chat_template.json"):
        (folder / name).write_text("{}")
    for name in ("chat_template.jinja", "merges.txt", "vocab.txt", "a.tiktoken", "spiece.model"):
        (folder / name).write_text("text")
    for name in (
        "model.safetensors",
        "manifest.json",
        "model.safetensors.index.json",
        ".hidden.json",
    ):
        (folder / name).write_text("{}")
    return folder


def test_every_companion_is_copied_and_no_weight(model, tmp_path):
    (model / "linked.json").symlink_to("tokenizer.json")
    (tmp_path / "copy").mkdir()
    copy_companions(model, tmp_path / "copy")
    copied = {
        p.relative_to(tmp_path / "copy") for p in (tmp_path / "copy").rglob("*") if p.is_file()
    }
    assert copied == {Path(name) for name in companion_files(model)}
    assert Path("additional_chat_templates/tool.jinja") in copied
    assert not any(p.is_symlink() for p in (tmp_path / "copy").rglob("*"))
    assert not {"model.safetensors", "manifest.json", ".hidden.json"} & {str(p) for p in copied}
    assert frame_of(tmp_path / "copy") == frame_of(model)


def test_every_companion_is_part_of_the_frame(model):
    for name in companion_files(model):
        path, before = model / name, frame_of(model)
        content = path.read_bytes()
        path.write_text('{"eos_token": "="}')
        assert frame_of(model) != before, name
        path.write_bytes(content)
        assert frame_of(model) == before
        path.rename(model / "away")
        if name != "config.json":
            assert frame_of(model) != before, name
        (model / "away").rename(path)


def test_what_no_engine_reads_is_not_part_of_the_frame(model):
    before = frame_of(model)
    (model / "config.json").write_text('{"dtype": "float32", "hidden_size": 8}')
    (model / "trainer_state.json").write_text('{"global_step": 7}')
    (model / "model.safetensors").write_text("other")
    assert frame_of(model) == before


@pytest.mark.parametrize("name", ["tokenizer_config.json", "notes.txt", "more.json"])
def test_a_link_that_leaves_the_folder_is_named(model, tmp_path, name):
    (tmp_path / "secret").write_text("secret")
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(tmp_path / "secret")
    (tmp_path / "copy").mkdir()
    for use in (lambda: copy_companions(model, tmp_path / "copy"), lambda: frame_of(model)):
        with pytest.raises(UserError, match=f"{name} is a link that leaves its folder"):
            use()
    assert not any("secret" in p.read_text() for p in (tmp_path / "copy").iterdir())


def test_a_folder_of_templates_elsewhere_and_a_link_to_nothing_are_named(model, tmp_path):
    templates = model / "additional_chat_templates"
    templates.rename(tmp_path / "elsewhere")
    templates.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="additional_chat_templates is a link that leaves"):
        companion_files(model)
    templates.unlink()
    (model / "vocab.txt").unlink()
    (model / "vocab.txt").symlink_to("nowhere.txt")
    with pytest.raises(UserError, match=r"vocab\.txt is a link that leads nowhere"):
        companion_files(model)


def test_the_cache_of_hugging_face_keeps_its_files_as_links(tmp_path):
    home = tmp_path / "models--owner--name"
    snapshot = home / "snapshots" / ("0" * 40)
    for folder in (home / "blobs", snapshot, tmp_path / "copy"):
        folder.mkdir(parents=True)
    (home / "blobs" / "abc").write_text('{"hidden_size": 8}')
    (snapshot / "config.json").symlink_to(os.path.relpath(home / "blobs" / "abc", snapshot))
    copy_companions(snapshot, tmp_path / "copy")
    assert not (tmp_path / "copy" / "config.json").is_symlink()
    assert (tmp_path / "copy" / "config.json").read_text() == '{"hidden_size": 8}'
    frame_of(snapshot)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"[" * 100_000),
        ("config.json", b"null"),
        ("config.json", b"\xff"),
    ],
)
def test_a_damaged_config_is_one_line(model, name, content):
    (model / name).write_bytes(content)
    with pytest.raises(UserError, match="damaged .*json"):
        frame_of(model)


def test_a_copied_folder_is_files_of_its_own(tmp_path):
    source = tmp_path / "tables"
    (source / "deeper").mkdir(parents=True)
    (source / "deeper" / "a.csv").write_text("a")
    (source / "b.csv").symlink_to("deeper/a.csv")
    copy_folder(source, tmp_path / "copy")
    assert (tmp_path / "copy" / "b.csv").read_text() == "a"
    assert not (tmp_path / "copy" / "b.csv").is_symlink()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "is a link that leaves"),
        (lambda path: path.symlink_to("/etc"), "is a link that leaves"),
        (lambda path: path.symlink_to("nowhere"), "leads nowhere"),
        (lambda path: path.symlink_to("."), "not a file"),
        (os.mkfifo, "not a file"),
    ],
)
def test_what_is_no_file_of_the_folder_is_not_copied(tmp_path, make, problem):
    source = tmp_path / "tables"
    source.mkdir()
    make(source / "a.csv")
    with pytest.raises(UserError, match=problem):
        copy_folder(source, tmp_path / "copy")
