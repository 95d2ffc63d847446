"""What is known of a model's behaviour is asked again when something that it rests on changed."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from rlvr_dynamics.behaviour.job import Job
from rlvr_dynamics.behaviour.measure import measure
from tests.support.behaviour_fixture import build, write_questions

NAMES = ("tokens", "summary", "embeddings", "prefix")
SETTINGS = {"max_new_tokens": 6, "draws": 40, "device": "cpu", "batch": 3, "limit": 3}


class Stop(Exception):
    """The first part that is made again has said so."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("behaviour_keys")
    for name, seed in (("base", 0), ("trained", 1), ("rank1", 2)):
        build(root / name, seed)
    write_questions(root / "sums.parquet")
    measure(job(root), lambda line: None)
    return root


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "place", copy_function=shutil.copy2)
    return tmp_path / "place"


def job(root: Path, out: str = "out", **changes) -> Job:
    roles = {"base": "base", "trained": "trained", "rank1_recovery": "rank1"}
    models = {role: root / name for role, name in roles.items()}
    given = {"models": models, "questions": root / "sums.parquet", "out": root / out}
    return Job(**{**given, **SETTINGS, **changes})


def other_weights(root: Path, name: str, tensor: str = "model.norm.weight") -> None:
    file = root / name / "model.safetensors"
    weights = load_file(file)
    # One of the numbers gets another sign.
    weights[tensor].view(-1)[3] *= -1.0
    save_file(weights, file, {"format": "pt"})


def other_questions(root: Path, column: str) -> None:
    table = pd.read_parquet(root / "sums.parquet")
    table.loc[1, column] = {"prompt": "7+1+1=", "gold": "9"}[column]
    table.to_parquet(root / "sums.parquet", index=False)


def other_companion(root: Path) -> None:
    for name in ("base", "trained", "rank1"):
        (root / name / "generation_config.json").write_text('{"eos_token_id": 5}')


CHANGES = {
    "base": (lambda root: other_weights(root, "base"), {}),
    "trained": (lambda root: other_weights(root, "trained"), {}),
    "rank1": (lambda root: other_weights(root, "rank1"), {}),
    "prompt": (lambda root: other_questions(root, "prompt"), {}),
    "gold": (lambda root: other_questions(root, "gold"), {}),
    "companion": (other_companion, {}),
    "limit": (None, {"limit": 4}),
    "length": (None, {"max_new_tokens": 5}),
    "dtype": (None, {"dtype": "bfloat16"}),
    "template": (None, {"template": "qwen_math"}),
    "context": (None, {"context": 40}),
    "guides": (None, {"guide_tokens": (0, 1, 3)}),
    "draws": (None, {"draws": 41}),
    "seed": (None, {"seed": 9}),
}
# The first part that is made again; the rest follow from the same keys.
FIRST = {"base": "answers base", "rank1": "answers rank1_recovery", "guides": "prefix", "draws": ""}
FIRST["seed"] = "embeddings"


@pytest.mark.parametrize("change", CHANGES)
def test_one_changed_input_is_asked_about_again(place, change):
    alter, settings = CHANGES[change]

    def stop(line: str) -> None:
        said.append(line)
        raise Stop

    said: list[str] = []
    measure(job(place), stop)  # all is there
    if alter:
        alter(place)
    wanted = FIRST.get(change, "answers trained")
    if wanted:
        with pytest.raises(Stop):
            measure(job(place, **settings), stop)
        assert said[0].startswith(wanted)
    else:
        before = pd.read_parquet(place / "out" / "summary.parquet")
        measure(job(place, **settings), stop)
        assert not said
        assert not pd.read_parquet(place / "out" / "summary.parquet").equals(before)


def test_what_is_made_again_is_what_would_be_made_afresh(place):
    weights = load_file(place / "base" / "model.safetensors")
    other = {name: -tensor.flip(0) for name, tensor in weights.items()}  # answers other than before
    save_file(other, place / "base" / "model.safetensors", {"format": "pt"})
    before = {name: (place / "out" / f"{name}.parquet").read_bytes() for name in NAMES}
    found = {}
    for out in ("out", "fresh"):
        measure(job(place, out), lambda line: None)
        found[out] = {name: (place / out / f"{name}.parquet").read_bytes() for name in NAMES}
    assert found["out"] == found["fresh"] != before


def test_tables_name_the_benchmark_of_now(place):
    renamed = (place / "sums.parquet").rename(place / "totals.parquet")
    measure(job(place, questions=renamed), lambda line: None)
    summary = pd.read_parquet(place / "out" / "summary.parquet")
    assert set(summary["benchmark"]) == {"totals"}
