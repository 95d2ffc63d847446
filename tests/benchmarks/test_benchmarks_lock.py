"""The hub without a network: commits that are resolved, recorded and kept to, and split names."""

import json
import shutil

import datasets
import datasets.config
import huggingface_hub
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.benchmarks import build_benchmark
from rlvr_dynamics.benchmarks.written import write_benchmarks
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.lock import TABLES, read_lock

OLD, NEW = "a" * 40, "b" * 40
REPO = "someone/sums"


class Hub:
    """A hub with one repository; `cached` is all that can be had without a connection."""

    def __init__(self):
        self.head, self.tags, self.cached = OLD, {"v1": OLD}, None
        self.splits = {"test": 4}
        self.error = None
        self.asked = []

    def rows(self, commit, split):
        first = 0 if commit == OLD else 100
        numbers = range(first, first + self.splits[split])
        return [{"problem": f"{n}+{n}?", "answer": str(2 * n)} for n in numbers]


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()

    class Api:
        def dataset_info(self, repo, revision=None):
            hub.asked.append(revision)
            commit = hub.head if revision is None else hub.tags[revision]
            return type("Info", (), {"sha": commit})()

    class Builder:
        def __init__(self, repo, subset, revision):
            if hub.error is not None:
                raise hub.error
            self.hash = hub.cached or revision
            self.info = type("Info", (), {"splits": hub.splits})()

        def download_and_prepare(self):
            pass

        def as_dataset(self, split):
            return datasets.Dataset.from_list(hub.rows(self.hash, split))

    def load_dataset_builder(repo, subset, revision=None):
        return Builder(repo, subset, revision)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(datasets, "load_dataset_builder", load_dataset_builder)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    return hub


def sums(**update):
    loaded = config.load(["+exp=grpo_qwen3_4b", "benchmark=math500"])
    changes = {"repo": REPO, "rows": 4, "id": None, **update}
    return loaded.benchmark["math500"].model_copy(update=changes)


def write(folder, benchmark, lock=None):
    lock = lock or folder / TABLES
    shutil.rmtree(folder / "prepare", ignore_errors=True)  # a stage begins with an empty folder
    return write_benchmarks({"sums": benchmark}, folder / "prepare", lock)["benchmark.sums"]


def test_the_newest_commit_is_resolved_once_and_kept_to(hub, tmp_path):
    first = write(tmp_path, sums())
    assert first["revision"] == OLD
    entry = read_lock(tmp_path / TABLES)["benchmark.sums"]
    assert (entry["repo"], entry["revision"]) == (REPO, OLD)
    assert entry["content_sha256"] == first["content_sha256"]
    hub.head = NEW
    assert write(tmp_path, sums()) == first
    assert hub.asked == [None]
    elsewhere = write(tmp_path / "elsewhere", sums())
    assert elsewhere["revision"] == NEW
    assert elsewhere["content_sha256"] != first["content_sha256"]


def test_a_copied_lock_gives_the_same_elsewhere(hub, tmp_path):
    first = write(tmp_path, sums())
    hub.head = NEW
    assert write(tmp_path / "elsewhere", sums(), lock=tmp_path / TABLES) == first
    paths = [
        tmp_path / part / "benchmarks" / "sums.parquet" for part in ("prepare", "elsewhere/prepare")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("revision", [OLD, "v1"])
def test_the_configuration_goes_before_the_lock(hub, tmp_path, revision):
    hub.head = NEW
    assert write(tmp_path, sums())["revision"] == NEW
    assert write(tmp_path, sums(revision=revision))["revision"] == OLD
    assert read_lock(tmp_path / TABLES)["benchmark.sums"]["revision"] == OLD


def test_a_lock_of_another_repository_does_not_count(hub, tmp_path):
    write(tmp_path, sums())
    hub.head = NEW
    assert write(tmp_path, sums(repo="someone/else"))["revision"] == NEW


def test_other_questions_at_the_same_commit_are_refused(hub, tmp_path, monkeypatch):
    write(tmp_path, sums())
    monkeypatch.setattr(hub, "rows", lambda *_: [{"problem": "1?", "answer": "1"}] * 4)
    with pytest.raises(UserError, match="not those that were recorded"):
        write(tmp_path, sums())
    assert write(tmp_path, sums(instruction="Other."))["revision"] == OLD


def test_offline_takes_the_cache_and_records_what_it_found(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    hub.cached = NEW
    assert write(tmp_path, sums())["revision"] == NEW
    assert hub.asked == []
    assert read_lock(tmp_path / TABLES)["benchmark.sums"]["revision"] == NEW


def test_a_cache_of_another_commit_is_refused(hub, tmp_path, monkeypatch):
    write(tmp_path, sums())
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    hub.cached = NEW
    with pytest.raises(UserError, match=f"available at {NEW}, but {OLD} is required"):
        write(tmp_path, sums())
    with pytest.raises(UserError, match="what commit v1 is cannot be looked up offline"):
        write(tmp_path, sums(revision="v1"))


@pytest.mark.parametrize(
    ("offline", "error", "way_out"),
    [
        (True, ConnectionError("Couldn't reach it"), "HF_DATASETS_OFFLINE"),
        (False, ConnectionError("Name or service not known"), "check the network"),
        (False, FileNotFoundError("someone/sums is a gated dataset on the Hub."), "hf auth login"),
    ],
)
def test_a_table_that_cannot_be_had_says_the_way_out(
    hub, tmp_path, monkeypatch, offline, error, way_out
):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    hub.error = error
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        write(tmp_path, sums())
    assert way_out in caught.value.way_out
    assert not (tmp_path / TABLES).exists()


def test_splits(hub):
    hub.splits = {"train": 4}
    with pytest.raises(UserError, match="has no split test"):
        build_benchmark("sums", sums())
    _, facts = build_benchmark("sums", sums(fallback_split="train"))
    assert facts["split"] == "train"
    hub.splits = {"train": 5, "test": 4}
    _, facts = build_benchmark("sums", sums(fallback_split="train"))
    assert facts["split"] == "test"


def test_a_local_file_is_locked_by_its_content(tmp_path):
    file = tmp_path / "sums.jsonl"
    rows = [{"problem": f"{n}+{n}?", "answer": str(2 * n)} for n in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = write(tmp_path, sums(repo=str(file)))
    assert first["revision"].startswith("sha256:")
    assert write(tmp_path, sums(repo=str(file))) == first
    file.write_text(file.read_text().replace("3+3", "3 + 3"))
    with pytest.raises(UserError, match="available at sha256:.*but sha256:"):
        write(tmp_path, sums(repo=str(file)))


def test_generated_puzzles_are_locked_to_the_package(tmp_path):
    loaded = config.load(
        ["+exp=grpo_qwen3_4b", "benchmark=countdown", "benchmark.countdown.rows=2"]
    )
    puzzles = loaded.benchmark["countdown"]
    lock = tmp_path / TABLES
    first = write(tmp_path, puzzles)
    assert read_lock(lock)["benchmark.sums"]["revision"] == first["revision"]
    lock.write_text(lock.read_text().replace(first["revision"], "0.0.7"))
    with pytest.raises(UserError, match="generated by reasoning_gym 0.0.7, installed is"):
        write(tmp_path, puzzles)


@pytest.mark.parametrize("text", ["{", "[]", '{"benchmark.sums": "v1"}'])
def test_a_broken_lock_is_refused(tmp_path, text):
    (tmp_path / TABLES).write_text(text)
    with pytest.raises(UserError, match="not a lock file|damaged benchmarks.lock.json"):
        read_lock(tmp_path / TABLES)
