"""Models and answers that are not what was recorded are named, or asked for and fetched again."""

import json
import shutil
import sys
from dataclasses import replace

import pytest

from experiments.configured import Configured
from rlvr_dynamics.checkpoints import write_manifest
from rlvr_dynamics.checkpoints.identity import hashes_in
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.scoring.generation import RAW_FOLDER
from rlvr_dynamics.sinks.feeder import Feeder
from rlvr_dynamics.system.atomic import write_sealed_json
from tests.support.engine_stand_in import ALL, fake
from tests.support.flips import flip
from tests.support.hub_model_fixture import fetch, hub, model, published
from tests.support.small_models import random_tensors, save_model

FIXTURES = (fake, hub, published)


def give_weights(fake):
    """Put real weights beside the stand-in's digit; the engine is told their hashes."""
    for place, each in enumerate(fake.models):
        made = save_model(fake.root / "real" / str(place), random_tensors(place))
        shutil.copyfile(made / "model.safetensors", each.folder / "model.safetensors")
        manifest = write_manifest(each.folder, place, "test")
        fake.models[place] = replace(
            each, identity=manifest["identity"], hashes=hashes_in(manifest)
        )


def middle(path):
    return 8 * (path.stat().st_size // 2)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_engine_answers_with_no_damaged_model(fake, place):
    give_weights(fake)
    path = fake.models[place].folder / "model.safetensors"
    flip(path, middle(path), True)
    with pytest.raises(UserError, match="damaged shard") as caught:
        fake.run()
    assert str(path) in str(caught.value) and caught.value.way_out
    answered = {digit for digit, _ in fake.calls()}
    assert answered <= set(range(place))
    flip(path, middle(path), True)
    fake.run()
    assert {each.parent.name for each in fake.out.glob("*/*.parquet")} == {
        each.id for each in fake.models
    }


@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_damaged_answers_are_asked_for_again(fake, capsys, part):
    fake.run()
    before = fake.content()
    path = fake.out / "step_2" / "chain.parquet"
    flip(path, int(8 * part * path.stat().st_size), True)
    capsys.readouterr()
    assert fake.run() == [(1, 5), (1, 20)]
    assert f"damaged, made again: {path}" in capsys.readouterr().out
    assert fake.content() == before


def test_a_damaged_batch_that_waits_for_its_grades_is_asked_for_again(fake, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("rlvr_dynamics.scoring.generation.publish", killed)
        fake.run(models=fake.models[:1])
    waiting = sorted((fake.out / RAW_FOLDER).rglob("*.parquet"))
    assert waiting
    for path in waiting:
        flip(path, middle(path), True)
    assert fake.run(models=fake.models[:1]) == ALL[:2]
    assert len(fake.content()) == 2


def test_a_damaged_store_of_models_is_fetched_again(hub, tmp_path, capsys):
    fetch(tmp_path, model())
    stored = sorted((tmp_path / "home").rglob("model-*.safetensors"))
    whole = {path.name: path.read_bytes() for path in stored}
    flip(stored[1], middle(stored[1]), True)
    capsys.readouterr()
    fetch(tmp_path, model(), "again")
    assert f"cache, fetched again: {stored[1].name} of somebody/base" in capsys.readouterr().out
    for name, content in whole.items():
        assert (tmp_path / "again" / name).read_bytes() == content
    assert json.loads((tmp_path / "models.lock.json").read_text())


READERS = {
    "report": load_results,
    "sinks": lambda run: Feeder(run, [], sys.stderr),
    "plan of runs": lambda run: Configured.of_run("a cell", run, run.parent),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_a_runs_config_names_a_damaged_one(tmp_path, reader):
    path = tmp_path / "config.json"
    write_sealed_json(path, {"seed": 1, "trainer": {"steps": 16}})
    path.write_bytes(path.read_bytes().replace(b"16", b"17"))  # one bit, and still JSON
    with pytest.raises(UserError, match=r"damaged config\.json") as caught:
        READERS[reader](tmp_path)
    assert str(path) in str(caught.value)
