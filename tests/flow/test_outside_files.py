"""What is read from outside of a run directory belongs to the keys of its stages."""

import json
import os

import pytest

from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow import stages
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.system.atomic import write_sealed_json
from tests.support.small_models import random_tensors, save_model


def settings_of(stage, loaded):
    return next(each for each in stages.ALL if each.name == stage).settings(loaded)


@pytest.fixture
def foreign(tmp_path):
    """Base and ten steps of somebody else, and the configuration that reads them."""
    for name in ("base", *(f"steps/step_{step}" for step in range(1, 11))):
        folder = save_model(tmp_path / name, random_tensors(1))
        (folder / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    return config.load(
        [
            "+exp=trajectory",
            f"source.base={tmp_path / 'base'}",
            f"source.checkpoints={tmp_path / 'steps'}",
            f"run_dir={tmp_path / 'run'}",
        ]
    )


@pytest.mark.parametrize(
    "name",
    [
        *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        *("generation_config.json", "chat_template.jinja", "tokenizer.json", "config.json"),
    ],
)
def test_a_file_beside_foreign_weights_changes_the_keys_of_what_reads_it(foreign, tmp_path, name):
    before = {stage: settings_of(stage, foreign) for stage in ("measure", "extrapolate", "score")}
    file = tmp_path / "base" / name
    old = file.read_bytes() if file.exists() else None
    file.write_text('{"eos_token": "="}')
    after = {stage: settings_of(stage, foreign) for stage in before}
    assert after["score"] != before["score"]
    assert after["extrapolate"] != before["extrapolate"]  # predictions take theirs from the base
    assert after["measure"] == before["measure"]
    file.unlink() if old is None else file.write_bytes(old)
    assert settings_of("score", foreign) == before["score"]


def test_a_file_beside_a_scored_step_changes_the_key_of_the_scores_alone(foreign, tmp_path):
    before = {stage: settings_of(stage, foreign) for stage in ("extrapolate", "score")}
    (tmp_path / "steps" / "step_10" / "generation_config.json").write_text('{"eos_token_id": 5}')
    assert settings_of("score", foreign) != before["score"]
    assert settings_of("extrapolate", foreign) == before["extrapolate"]


@pytest.fixture
def local(tmp_path):
    """A cell whose tables and model are local, and its run directory."""
    table = tmp_path / "problems.jsonl"
    table.write_text(json.dumps({"problem": "1+1?", "solution": "\\boxed{2}"}) + "\n")
    model = save_model(tmp_path / "model", random_tensors(1))
    return config.load(
        [
            "+exp=grpo_qwen3_4b",
            "benchmark=math",
            f"benchmark.math.repo={table}",
            f"data.train.repo={table}",
            f"model.repo={model}",
            f"run_dir={tmp_path / 'run'}",
        ]
    )


def recorded(loaded, tmp_path):
    settings = settings_of("prepare", loaded)
    folder = tmp_path / "run" / FOLDERS["prepare"]
    folder.mkdir(parents=True, exist_ok=True)
    write_sealed_json(folder / "stage.json", {"material": {"settings": settings}, "finished": True})
    return settings


def test_other_content_of_a_local_table_is_another_preparation(local, tmp_path):
    before = recorded(local, tmp_path)
    assert sorted(before["local"]) == ["benchmark.math", "data.train", "model.repo"]
    table = tmp_path / "problems.jsonl"
    status = table.stat()
    table.write_text(table.read_text().replace("{2}", "{3}"))
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = settings_of("prepare", local)
    assert after["local"]["benchmark.math"] != before["local"]["benchmark.math"]
    (tmp_path / "model" / "tokenizer_config.json").write_text("{}")
    assert settings_of("prepare", local)["local"]["model.repo"] != before["local"]["model.repo"]


def test_what_is_gone_counts_as_it_was_recorded(local, tmp_path):
    before = recorded(local, tmp_path)
    (tmp_path / "problems.jsonl").unlink()
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    assert settings_of("prepare", local) == before


def test_a_run_that_was_prepared_before_contents_were_recorded_stays_what_it_is(local, tmp_path):
    settings = recorded(local, tmp_path)
    settings.pop("local")
    folder = tmp_path / "run" / FOLDERS["prepare"]
    write_sealed_json(folder / "stage.json", {"material": {"settings": settings}, "finished": True})
    assert settings_of("prepare", local) == settings


def test_a_link_beside_foreign_weights_that_leaves_its_folder_is_named(foreign, tmp_path):
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "base" / "added_tokens.json").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"added_tokens\.json is a link that leaves"):
        settings_of("score", foreign)


def test_a_prediction_is_made_again_when_the_files_beside_the_base_change(tmp_path):
    from rlvr_dynamics.checkpoints import Trajectory
    from rlvr_dynamics.extrapolation import EXTRAPOLATORS

    save_model(tmp_path / "base", random_tensors(0))
    for step in (1, 2, 3):
        save_model(tmp_path / "steps" / f"step_{step}", random_tensors(step))
    config_file = tmp_path / "base" / "tokenizer_config.json"
    found = []
    for content in ('{"eos_token": "="}', '{"eos_token": "<|im_end|>"}'):
        config_file.write_text(content)
        trajectory = Trajectory.open(tmp_path / "base", tmp_path / "steps")
        (made,) = EXTRAPOLATORS["hold_last"].run(
            trajectory, 2, [3], tmp_path / "out", label="hold_last"
        )
        found.append((made.folder / "tokenizer_config.json").read_text())
    assert found == ['{"eos_token": "="}', '{"eos_token": "<|im_end|>"}']
