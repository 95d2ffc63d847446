"""Answers from the extrapolated logits of two checkpoints, on tiny random models built here."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from rlvr_dynamics.checkpoints.identity import identity_of
from rlvr_dynamics.config import load as load_config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.checks import check_machine
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema.model_id import LOGITS, ModelId
from rlvr_dynamics.scoring.decoding import Sampling, decode
from rlvr_dynamics.scoring.generation import score_models
from rlvr_dynamics.scoring.jobs import EngineSettings, Mixed, Protocol, ScoredModel
from rlvr_dynamics.scoring.local_model import load
from rlvr_dynamics.scoring.prompts import prompt_facts
from rlvr_dynamics.scoring.sizes import planned_models
from rlvr_dynamics.scoring.table import scores_table
from tests.support.behaviour_fixture import STOP_ID, N, build, write_questions

SETTINGS = EngineSettings(device="cpu", dtype="float32", max_model_len=40)
PROTOCOLS = [
    Protocol("greedy", 0.0, 1.0, 1, 7),
    Protocol("sampled", 1.0, 0.9, 3, 7),
]
PROMPTS, ROOM = [[5, 20, 21], [4], [6, 30, 31, 32, 33, 34]], [9, 5, 7]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("two")
    for name, seed in (("base", 0), ("late", 1)):
        build(root / name, seed)
    write_questions(root / "sums.parquet")
    return root


@pytest.fixture(scope="module")
def two(place: Path):
    prompt = prompt_facts(place / "base", SETTINGS)
    return [load(place / name, "float32", "cpu", prompt) for name in ("base", "late")]


@pytest.mark.parametrize("alpha", [0.4, 2.5])
def test_logits_are_mixed_token_by_token(two, alpha: float) -> None:
    base, late = two
    found = decode(late, PROMPTS, ROOM, batch=3, label="test", earlier=base, alpha=alpha)
    plain = [decode(each, PROMPTS, ROOM, batch=3, label="test") for each in two]
    for question, most, answer in zip(PROMPTS, ROOM, found, strict=True):
        text = list(question)
        while len(text) - len(question) < most and text[-1] != STOP_ID:
            with torch.inference_mode():
                first, last = (each.model(torch.tensor([text])).logits[0, -1] for each in two)
            text.append(int((first + alpha * (last - first)).argmax()))
        assert list(answer.tokens) == text[len(question) :]
    assert found not in plain


def test_alpha_one_is_the_later_checkpoint_and_zero_the_earlier(two) -> None:
    base, late = two
    for alpha, alone in ((1.0, late), (0.0, base)):
        mixed = decode(late, PROMPTS, ROOM, batch=2, label="test", earlier=base, alpha=alpha)
        assert mixed == decode(alone, PROMPTS, ROOM, batch=2, label="test")


def test_sampling_is_after_the_mixture_and_repeats_with_its_seed(two) -> None:
    base, late = two
    both = {"batch": 3, "label": "test", "earlier": base, "alpha": 1.8}
    greedy = decode(late, PROMPTS, ROOM, **both)
    narrow = decode(late, PROMPTS, ROOM, **both, sampling=Sampling(1.0, 1e-6, 3))
    assert narrow == greedy
    drawn = [decode(late, PROMPTS, ROOM, **both, sampling=Sampling(1.0, 1.0, 3)) for _ in "ab"]
    assert drawn[0] == drawn[1] != greedy


def model(place: Path, alpha: float = 1.5) -> ScoredModel:
    late = place / "late"
    identity = f"{identity_of(late, None)} {alpha}"
    name = str(ModelId(LOGITS, 2, 3))
    return ScoredModel(name, late, identity, mixed=Mixed(place / "base", alpha))


def test_answers_are_stored_graded_and_kept_like_an_engine_s(place: Path, tmp_path: Path) -> None:
    benchmarks = {"sums": place / "sums.parquet"}
    given = (benchmarks, PROTOCOLS, SETTINGS, tmp_path / "samples", 5)
    assert score_models([model(place)], *given).generated == N * 4
    scored = model(place).id
    samples = pd.read_parquet(tmp_path / "samples" / scored / "sums.parquet")
    assert samples.groupby("protocol")["sample"].value_counts().to_dict() == {
        ("greedy", 0): N,
        **{("sampled", sample): N for sample in range(3)},
    }
    assert (samples["tokens"] <= 7).all() and set(samples["finish_reason"]) <= {"stop", "length"}
    table = scores_table(tmp_path / "samples", [scored], benchmarks).set_index("protocol")
    assert table["accuracy"].to_dict() == samples.groupby("protocol")["score"].mean().to_dict()
    assert (table["method"] == LOGITS).all() and (table["observe"] == 2).all()
    assert score_models([model(place)], *given).generated == 0
    assert score_models([model(place, 1.6)], *given).generated == N * 4


def test_a_run_plans_them_and_refuses_them_for_large_models(tmp_path: Path) -> None:
    asked = "scoring.extrapolated_logits=[{window: 0.2}, {window: 1.0, target: 1.5}]"
    small = load_config([f"run_dir={tmp_path}", "trainer.steps=60", asked])
    named = {str(each) for each in planned_models(small) if each.method == LOGITS}
    assert named == {f"{LOGITS}__observe_12__step_60", f"{LOGITS}__observe_60__step_90"}
    with pytest.raises(UserError, match="two models for every token"):
        large = load_config([f"run_dir={tmp_path}", "+exp=grpo_qwen3_4b", asked])
        check_machine(Run(large, tmp_path))
    with pytest.raises(UserError, match="not after the window"):
        load_config([f"run_dir={tmp_path}", "scoring.extrapolated_logits=[{window: 1.0}]"])
