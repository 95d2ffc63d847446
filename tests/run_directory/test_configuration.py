"""config.json as readers see it: today's, an older version's, and somebody else's."""

import json

import pytest
from pydantic import BaseModel

from rlvr_dynamics.config import experiments, load
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.configuration import RecordedConfig, read_config, whole_config
from rlvr_dynamics.schema import HubModel, Published, RunConfig
from rlvr_dynamics.statistics.intervals import DRAWS


def write(folder, **config):
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def same(read: BaseModel, written: BaseModel) -> None:
    """Every key that readers see has the value that was written."""
    for name in type(read).model_fields:
        found, true = getattr(read, name), getattr(written, name, None)
        if isinstance(found, BaseModel) and isinstance(true, BaseModel):
            same(found, true)
        elif isinstance(found, dict):
            assert found == ({} if true is None else true.model_dump(mode="json"))
        else:
            assert found == true, name


@pytest.mark.parametrize("name", experiments()[::8])
def test_what_a_run_writes_is_what_its_readers_see(tmp_path, name):
    written = load([f"+exp={name}"])
    folder = write(tmp_path, **written.model_dump(mode="json"))
    same(read_config(folder), written)
    assert whole_config(folder) == written


def test_the_whole_configuration_of_an_older_run_is_none(tmp_path):
    assert whole_config(tmp_path) is None
    older = load([]).model_dump(mode="json")
    del older["algorithm"]["weight_decay"]
    assert whole_config(write(tmp_path, **older)) is None


def test_readers_ask_for_no_key_that_a_run_does_not_have():
    parts = {"model": HubModel}
    for name, field in RecordedConfig.model_fields.items():
        assert name in RunConfig.model_fields
        if isinstance(field.default, BaseModel):
            whole = parts.get(name) or RunConfig.model_fields[name].annotation
            parts_of = getattr(whole, "__args__", (whole,))
            names = {key for part in parts_of for key in part.model_fields}
            assert set(type(field.default).model_fields) <= names, name
    read = RecordedConfig.model_validate({"source": {"published": {"repo": "a/b"}}})
    assert set(type(read.source.published).model_fields) <= set(Published.model_fields)


def test_a_key_of_another_version_is_passed_over_and_a_missing_one_means_what_it_meant(tmp_path):
    older = {"name": "run", "seed": 3, "trainer": {"steps": 20, "wandb": "offline"}, "report": None}
    read = read_config(write(tmp_path, **older, scoring={"ladder": [0.5, 1.0], "novel": [1]}))
    assert (read.seed, read.trainer.steps, read.scoring.ladder) == (3, 20, (0.5, 1.0))
    assert read.report.bootstrap_draws == DRAWS
    assert read.source.published is None
    assert not read.data.shuffle_answers


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"hidden_size": 64, "model_type": "qwen3"}, "not the configuration of a run"),
        ({}, "not the configuration of a run"),
        ({"name": "run", "model": "gpt2"}, "model"),
        ({"name": "run", "algorithm": {"learning_rate": "fast"}}, r"algorithm\.learning_rate"),
    ],
)
def test_another_programs_config_is_refused_by_name(tmp_path, content, words):
    with pytest.raises(UserError, match=words) as caught:
        read_config(write(tmp_path, **content))
    assert str(tmp_path) in str(caught.value)


def test_a_folder_without_a_config_is_no_run_directory(tmp_path):
    with pytest.raises(UserError, match=r"not a run directory: it has no config\.json"):
        read_config(tmp_path)
