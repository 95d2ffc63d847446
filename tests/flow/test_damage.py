"""A flipped bit is named, healed or without effect; a kill loses nothing."""

import random
import shutil

import pytest

from rlvr_dynamics.checkpoints import Trajectory, write_manifest
from rlvr_dynamics.extrapolation import streaming
from rlvr_dynamics.measurement import engine as measurement_engine
from tests.support.flips import call, files_of, flip, results, same, try_flip
from tests.support.kills import kill_at_random
from tests.support.small_models import random_tensors, save_model
from tests.support.trajectory_source import FEW, write_source

WORK = "stages=[measure,extrapolate]"


def command(folder, *overrides):
    given = (
        f"source.base={folder / 'source' / 'base'}",
        f"source.checkpoints={folder / 'source' / 'checkpoints'}",
    )
    few = [*(each for each in FEW if "methods" not in each), "extrapolation.windows=[0.6]"]
    methods = "extrapolation.methods=[relex,weight_extrapolation]"
    return ["+exp=trajectory", *given, f"run_dir={folder / 'run'}", *few, methods, *overrides]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    write_source(folder / "source", 0, steps=5)
    code, said = call(command(folder, WORK))
    assert code == 0, said
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run at a place of its own, and the command that takes it as done."""
    shutil.copytree(finished, tmp_path / "it")
    code, said = call(command(tmp_path / "it", WORK))
    assert code == 0 and "everything was done already" not in said
    return tmp_path / "it"


def test_a_copied_run_is_done_and_the_same(run, finished):
    code, said = call(command(run, WORK))
    assert code == 0 and said.count("done (finished") == 2
    assert same(results(finished / "run"), results(run / "run"))


@pytest.mark.parametrize(
    "forget", [(), ("measure/stage.json", "predictions/stage.json")], ids=["done", "resumed"]
)
def test_random_flips_are_named_healed_or_without_effect(run, forget):
    draw, reference = random.Random(len(forget)), results(run / "run", not forget)
    for _ in range(8):
        found = try_flip(run / "run", command(run, WORK), draw, reference, forget)
        assert not found.verdict.startswith("WRONG"), found


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("measure/norms.parquet", "measure"),
        ("measure/directions/*.safetensors", "measure"),
        ("predictions/forecast.parquet", "extrapolate"),
        ("predictions/relex/*/step_5/model.safetensors", "extrapolate"),
        ("predictions/relex/*/step_5/manifest.json", "extrapolate"),
    ],
)
@pytest.mark.parametrize("keep_times", [False, True])
def test_a_finished_stage_makes_damaged_files_again(run, file, stage, keep_times):
    before = results(run / "run")
    path = sorted((run / "run").glob(file))[0]
    content = path.read_bytes()
    flip(path, 8 * (len(content) // 2), keep_times)
    code, said = call(command(run, WORK))
    assert code == 0 and "damaged, made again" in said and path.name in said
    assert path.read_bytes() == content and same(before, results(run / "run"))
    assert f"{stage:<12} done" in call(command(run, WORK))[1]


def test_every_flip_in_stored_statistics_is_noticed_when_they_are_used(run):
    before = results(run / "run")
    for place, path in enumerate(sorted((run / "run/measure/statistics").iterdir())):
        flip(path, 8 * (path.stat().st_size - 1 - 7 * place) + place, True)
    (run / "run/measure/stage.json").unlink()
    code, said = call(command(run, "stages=[measure]"))
    assert code == 0 and "damaged, made again" in said
    assert same(before, results(run / "run"))


@pytest.mark.parametrize("read_by", ["measure", "extrapolate"])
@pytest.mark.parametrize("manifests", [False, True])
def test_weights_rewritten_after_their_identity_was_taken_are_named(
    tmp_path, monkeypatch, read_by, manifests
):
    folder = tmp_path / "it"
    write_source(folder / "source", 0, steps=5)
    step = folder / "source" / "checkpoints" / "step_3"
    if manifests:
        for each in (folder / "source/base", *(folder / "source/checkpoints").iterdir()):
            write_manifest(each, 0, "test")
    save_model(tmp_path / "other", random_tensors(99))
    place = measurement_engine if read_by == "measure" else streaming
    name = "_on_threads" if read_by == "measure" else "_write_all"
    original = getattr(place, name)

    def rewrite_first(*given):
        shutil.copyfile(tmp_path / "other/model.safetensors", step / "model.safetensors")
        return original(*given)

    monkeypatch.setattr(place, name, rewrite_first)
    code, said = call(command(folder, f"stages=[{read_by}]"))
    assert code == 2
    assert str(step / "model.safetensors") in said and "error: " in said
    made = "measure/norms.parquet" if read_by == "measure" else "predictions/index.parquet"
    assert not (folder / "run" / made).exists()


def test_each_tensor_is_proved_by_the_pass_that_reads_it(tmp_path):
    write_source(tmp_path, 0, steps=2)
    step = tmp_path / "checkpoints/step_2"
    write_manifest(step, 2, "test")
    trajectory = Trajectory.open(tmp_path / "base", tmp_path / "checkpoints")
    trajectory.prove_on_reading()
    flip(step / "model.safetensors", 8 * ((step / "model.safetensors").stat().st_size - 1), True)
    failed = []
    for name in trajectory.names:
        try:
            trajectory.elements(2, name, 0, 1)
            trajectory.settle()
        except Exception as error:
            failed.append((name, str(error)))
    assert len(failed) == 1
    assert failed[0][0] in failed[0][1] and "damaged shard" in failed[0][1]


def test_kills_at_random_moments_lose_nothing(run):
    assert files_of(run / "run")
    killed = list(kill_at_random(run / "run", command(run, WORK), 2, 0, ("measure", "extrapolate")))
    assert [wrong for _, wrong in killed] == ["", ""]
