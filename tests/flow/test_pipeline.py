"""Stages: done stays done, a change redoes what it touches, training is never thrown away."""

import json
import os
from pathlib import Path

import pytest

from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.execute import execute
from rlvr_dynamics.flow.pipeline import Known, plan
from rlvr_dynamics.flow.stage import Stage
from rlvr_dynamics.run_directory.lock import locked
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.system import atomic
from tests.support.stages import do_all


def make_run(folder: Path, *overrides: str) -> Run:
    return Run(config.load(list(overrides)), folder)


class Recorder:
    """Three stages that write a file and remember that they ran."""

    def __init__(self):
        self.ran = []

    def stage(self, name, needs=(), settings=("seed",), in_place=False):
        def work(run, folder):
            self.ran.append(name)
            (folder / "result.txt").write_text(name)

        def pick(loaded):
            values = loaded.model_dump(mode="json")
            return {key: values[key] for key in settings}

        return Stage(
            name=name,
            version=1,
            needs=needs,
            required=needs,
            packages=("numpy",),
            settings=pick,
            work=work,
            in_place=in_place,
        )

    def stages(self):
        return [
            self.stage("prepare", settings=("data",)),
            self.stage("train", ("prepare",), ("algorithm",), in_place=True),
            self.stage("measure", ("train",), ("measure",)),
        ]

    def go(self, run):
        self.ran.clear()
        do_all(run, self.stages())
        return list(self.ran)


THREE = "stages=[prepare,train,measure]"


def test_a_second_call_does_nothing_and_a_change_redoes_what_it_touches(tmp_path):
    recorder = Recorder()
    assert recorder.go(make_run(tmp_path, THREE)) == ["prepare", "train", "measure"]
    assert recorder.go(make_run(tmp_path, THREE)) == []
    assert recorder.go(make_run(tmp_path, THREE, "measure.top_k=3")) == ["measure"]


def test_another_configuration_is_refused_and_nothing_is_lost(tmp_path):
    recorder = Recorder()
    recorder.go(make_run(tmp_path, THREE))
    before = (tmp_path / "train" / "stage.json").read_text()
    with pytest.raises(UserError) as caught:
        recorder.go(make_run(tmp_path, THREE, "algorithm.learning_rate=0.5"))
    assert "algorithm.learning_rate: 1e-05 there, 0.5 now" in str(caught.value)
    assert "run_dir" in caught.value.way_out
    assert recorder.ran == []
    assert (tmp_path / "train" / "stage.json").read_text() == before


def test_a_missing_required_stage_is_named(tmp_path):
    with pytest.raises(UserError, match="measure needs train"):
        Recorder().go(make_run(tmp_path, "stages=[measure]"))


def test_an_interrupted_stage_is_run_again(tmp_path):
    recorder = Recorder()
    run = make_run(tmp_path, THREE)
    stages = recorder.stages()

    def broken(run, folder):
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt

    object.__setattr__(stages[0], "work", broken)
    with pytest.raises(KeyboardInterrupt):
        do_all(run, stages)
    assert not run.of("prepare").exists()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    object.__setattr__(stages[1], "work", broken)
    assert recorder.go(make_run(tmp_path, "stages=[prepare]")) == ["prepare"]
    planned = plan(run, stages, Known({}))
    assert [item.state for item in planned] == ["done", "run", "run"]
    with pytest.raises(KeyboardInterrupt):
        execute(run, planned[1])
    record = json.loads((run.of("train") / "stage.json").read_text())
    assert record["finished"] is False
    again = plan(make_run(tmp_path, "stages=[prepare,train]"), stages, Known({}))
    assert [item.state for item in again] == ["done", "resume"]


def test_two_runs_cannot_share_a_folder(tmp_path):
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            try:
                with locked(tmp_path):
                    os._exit(0)
            except UserError:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    leftover = tmp_path / f".measure{atomic.TEMPORARY_MARK}abc"
    leftover.mkdir()
    (tmp_path / "measure").mkdir()
    with locked(tmp_path):
        assert not leftover.exists()
        assert (tmp_path / "measure").exists()


def test_a_full_disk_is_the_users_matter(tmp_path):
    with pytest.raises(UserError, match="no space left"), atomic.atomic_path(tmp_path / "x") as _:
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [atomic.atomic_path, atomic.atomic_folder])
def test_a_failure_leaves_the_old_version(tmp_path, kind):
    target = tmp_path / "thing"
    with kind(target) as temporary:
        (temporary / "a").write_text("old") if temporary.is_dir() else temporary.write_text("old")
    with pytest.raises(RuntimeError), kind(target) as temporary:
        (temporary / "b").write_text("new") if temporary.is_dir() else temporary.write_text("new")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]
    assert (target / "a" if target.is_dir() else target).read_text() == "old"


def test_a_prepared_base_is_taken_over_from_a_run_with_the_same_preparation(tmp_path):
    recorder = Recorder()
    recorder.go(make_run(tmp_path / "first", THREE))
    (tmp_path / "first" / "models.lock.json").write_text("{}")
    again = make_run(
        tmp_path / "second", THREE, f"reuse={tmp_path / 'first'}", "algorithm.learning_rate=0.5"
    )
    assert recorder.go(again) == ["train", "measure"]
    assert (tmp_path / "second" / "prepare" / "result.txt").read_text() == "prepare"
    assert (tmp_path / "second" / "models.lock.json").exists()
    assert recorder.go(again) == []
    other = make_run(
        tmp_path / "third", THREE, f"reuse={tmp_path / 'first'}", "data.train_problems=9"
    )
    assert recorder.go(other) == ["prepare", "train", "measure"]


def test_what_is_taken_over_is_what_was_recorded(tmp_path):
    recorder = Recorder()
    recorder.go(make_run(tmp_path / "first", THREE))
    prepared = tmp_path / "first" / "prepare"
    second = make_run(tmp_path / "second", THREE, f"reuse={tmp_path / 'first'}")
    content = (prepared / "result.txt").read_text()
    (prepared / "result.txt").write_text("other")
    with pytest.raises(UserError, match="reuse: a file of its prepare is not what was written"):
        recorder.go(second)
    (prepared / "result.txt").write_text(content)
    (tmp_path / "secret").write_text("secret")
    (prepared / "more.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"more\.txt is a link that leaves"):
        recorder.go(second)
    assert not (tmp_path / "second" / "prepare").exists()
