"""The base model of the demo: tokenizer, data, and that the same settings give the same bytes."""

import json
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr_dynamics.config import load
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import TinyModel
from rlvr_dynamics.training.arithmetic import CLEAN, ArithmeticTask, draw, solution
from rlvr_dynamics.training.muon import Muon, orthogonalized
from rlvr_dynamics.training.tiny_base import (
    PAD,
    SPECIAL,
    STOP,
    _batches,
    architecture,
    build_model,
    build_tokenizer,
    describe,
    pretrain,
    pretraining_data,
    reproducible,
    vocabulary,
)

TASK = ArithmeticTask(
    seed=5, train_problems=64, validation_problems=8, test_problems=32, ood_problems=8
)
TOKENIZER = build_tokenizer()
MADE_OF = {  # family: class, projections with a bias, norms of q and k, norms of a layer
    "qwen2": ("Qwen2", "qkv", 0, 2),
    "qwen3": ("Qwen3", "", 2, 2),
    "llama": ("Llama", "", 0, 2),
    "glm4": ("Glm4", "qkv", 0, 4),
}
TEXTS = st.text(st.sampled_from([chr(code) for code in range(32, 127)] + ["\n"]), max_size=60)


SMALL = {
    "hidden": 32, "layers": 2, "heads": 2, "kv_heads": 1, "intermediate": 48, "steps_clean": 3,
    "steps_noisy": 2, "batch_size": 8, "learning_rate": 3e-3, "muon_learning_rate": 2e-2,
    "careful": 0.4, "sloppy": 0.3, "step_error": 0.4,
}  # fmt: skip


def small(family="qwen3", tied=True, **other):
    return TinyModel(kind="tiny", name="small", family=family, tied=tied, **SMALL | other)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    pretrain(TASK, small(), folder)
    return folder


def chat(text):
    return TOKENIZER.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
    )


def test_every_row_of_the_embedding_is_a_token(base):
    config = json.loads((base / "config.json").read_text())
    weights = load_file(base / "model.safetensors")
    assert config["model_type"] == "qwen3" and config["vocab_size"] == len(TOKENIZER)
    assert len(TOKENIZER) == len(vocabulary()) == len(set(vocabulary()))
    assert weights["model.embed_tokens.weight"].shape == (len(TOKENIZER), small().hidden)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_what_is_saved_is_what_generation_reads(base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    assert tokenizer.eos_token == STOP and tokenizer.pad_token == PAD
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "6-5+1="}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = model.generate(**prompt, max_new_tokens=4, do_sample=False)
    assert answer.shape[1] > prompt["input_ids"].shape[1]


def test_chat_template_round_trip(base):
    saved = AutoTokenizer.from_pretrained(base)
    expected = "<|im_start|>user\n6-5+1=<|im_end|>\n<|im_start|>assistant\n"
    messages = [{"role": "user", "content": "6-5+1="}]
    text = saved.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == expected
    ids = saved(text, add_special_tokens=False)["input_ids"]
    assert saved.decode(ids) == expected
    assert ids.count(saved.eos_token_id) == 1
    turns = [*messages, {"role": "assistant", "content": "\\boxed{2}"}]
    assert saved.apply_chat_template(turns, tokenize=False) == expected + "\\boxed{2}<|im_end|>\n"


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "glm4"])
def test_every_family_reads_a_text_alike_after_loading(family, tmp_path):
    """transformers chooses the tokenizer's class by the model, whatever the folder asks for."""
    pretrain(TASK, small(family, steps_clean=0, steps_noisy=0), tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == len(TOKENIZER)
    assert loaded.convert_tokens_to_ids(list(SPECIAL)) == list(range(len(SPECIAL)))
    assert (loaded.eos_token, loaded.pad_token) == (STOP, PAD)
    assert loaded.encode("\n", add_special_tokens=False) == [vocabulary().index("\n")]
    rng = random.Random(0)
    made_up = ["".join(rng.choices(vocabulary(), k=30)) for _ in range(200)]
    for text in (chat("what is 6-5+1=?"), "".join(vocabulary()), "  6 \n\n7\n ", *made_up):
        ids = loaded(text, add_special_tokens=False)["input_ids"]
        assert ids == TOKENIZER(text, add_special_tokens=False)["input_ids"]
        assert loaded.decode(ids) == text
        for skip in (True, False):
            expected = TOKENIZER.decode(ids, skip_special_tokens=skip)
            assert loaded.decode(ids, skip_special_tokens=skip) == expected


@given(text=TEXTS)
def test_any_ascii_text_survives_the_tokenizer(text):
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_texts_are_short_enough_for_fast_rollouts():
    rng = random.Random(0)
    longest = {"arithmetic": 0, "other": 0}
    for family in ("arithmetic", "longer", "larger", "operations"):
        for _ in range(300):
            problem = draw(family, rng)
            assert len(TOKENIZER(chat(problem.prompt))["input_ids"]) <= 32
            length = len(TOKENIZER(solution(problem, rng, CLEAN) + STOP)["input_ids"])
            key = family if family in longest else "other"
            longest[key] = max(longest[key], length)
    assert longest["arithmetic"] <= 40
    assert longest["other"] <= 64


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "glm4"])
@pytest.mark.parametrize("tied", [True, False])
def test_parameter_count_is_that_of_the_model(family, tied):
    for settings in (small(family, tied), small(family, tied, hidden=48, heads=3, kv_heads=3)):
        model = build_model(settings, TOKENIZER)
        assert sum(p.numel() for p in model.parameters()) == architecture(settings).parameters
        assert model.config.vocab_size == len(TOKENIZER)


def test_the_demo_is_small_and_the_families_are_smaller():
    assert 500_000 <= architecture(load([]).model).parameters <= 2_000_000
    seen = set()
    for name in ("tiny_qwen2", "tiny_qwen3_untied", "tiny_llama", "tiny_glm4"):
        settings = load([f"model={name}"]).model
        assert architecture(settings).parameters < architecture(load([]).model).parameters
        model = build_model(settings, TOKENIZER)
        assert sum(p.numel() for p in model.parameters()) == architecture(settings).parameters
        seen.add((settings.family, settings.tied))
    assert {family for family, _ in seen} == {"qwen2", "qwen3", "llama", "glm4"}
    assert {tied for _, tied in seen} == {True, False}


def test_what_makes_a_family_is_in_its_model():
    models = {family: build_model(small(family), TOKENIZER) for family in MADE_OF}
    for family, (title, biases, qk_norms, norms) in MADE_OF.items():
        model = models[family]
        block = {name: p for name, p in model.model.layers[0].named_parameters()}
        assert type(model).__name__ == f"{title}ForCausalLM"
        assert {name for name in block if name.endswith("bias")} == {
            f"self_attn.{part}_proj.bias" for part in biases
        }
        assert sum(name.endswith(("q_norm.weight", "k_norm.weight")) for name in block) == qk_norms
        assert sum("layernorm" in name for name in block) == norms
        assert ("mlp.gate_up_proj.weight" in block) == (family == "glm4")
    rotated = {family: 2 * len(model.model.rotary_emb.inv_freq) for family, model in models.items()}
    assert rotated == {"qwen2": 16, "qwen3": 16, "llama": 16, "glm4": 8}
    llama = models["llama"].model.rotary_emb
    plain = 500_000.0 ** (-torch.arange(0, 16, 2) / 16)
    ratio = plain / llama.inv_freq
    # Short wavelengths stay, long ones are stretched by the published factor of 8.
    assert llama.rope_type == "llama3" and ratio[0] == 1
    torch.testing.assert_close(ratio[-1], torch.tensor(8.0))


def test_without_steps_the_base_is_random(tmp_path):
    settings = small("glm4", tied=False, steps_clean=0, steps_noisy=0)
    for name in ("one", "two"):
        pretrain(TASK, settings, tmp_path / name)
    assert pretraining_data(TASK, settings) == []
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert one["lm_head.weight"].std() == pytest.approx(0.02, rel=0.1)
    assert describe(settings).endswith("random weights") and "GLM-4" in describe(settings)


def test_a_random_base_takes_the_rows_and_positions_of_a_published_model():
    settings = small("llama", tied=False, vocabulary=200, context=4096)
    config = build_model(settings, TOKENIZER).config
    shape = architecture(settings)
    assert (config.vocab_size, config.max_position_embeddings) == (200, 4096)
    assert (shape.vocabulary, shape.context) == (200, 4096)
    assert config.rope_parameters["original_max_position_embeddings"] == 512
    assert shape.parameters - architecture(small("llama", tied=False)).parameters == (
        2 * (200 - len(TOKENIZER)) * settings.hidden
    )


def test_an_embedding_smaller_than_the_tokenizer_is_refused():
    with pytest.raises(UserError, match=f"less than the tokenizer's {len(TOKENIZER)} tokens"):
        architecture(small(vocabulary=len(TOKENIZER) - 1))


@pytest.mark.parametrize("family", ["qwen2", "llama", "glm4"])
def test_other_families_learn_too(family, tmp_path):
    settings = small(family, tied=False, steps_clean=1, steps_noisy=0)
    pretrain(TASK, settings, tmp_path)
    with reproducible(TASK.seed):
        start = build_model(settings, TOKENIZER).state_dict()
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        assert not torch.equal(tensor, start[name]), name


def test_same_settings_same_bytes(base, tmp_path):
    torch.manual_seed(99)
    pretrain(TASK, small(), tmp_path / "again")
    files = {path.name for path in base.iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json"} <= files
    assert files == {path.name for path in (tmp_path / "again").iterdir()}
    for name in files:
        assert (base / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_another_seed_gives_another_base(base, tmp_path):
    pretrain(replace(TASK, seed=6), small(), tmp_path / "other")
    other = (tmp_path / "other" / "model.safetensors").read_bytes()
    assert other != (base / "model.safetensors").read_bytes()


def test_random_numbers_and_threads_of_the_caller_are_left_alone():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with pytest.raises(KeyError), reproducible(1):
        torch.rand(3)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_loss_is_on_the_solution_and_its_end():
    settings = small(steps_clean=2, steps_noisy=0)
    seen = []
    for ids, labels in _batches(TASK, settings, TOKENIZER):
        assert ids.shape == labels.shape and ids.shape[0] == settings.batch_size
        for row, label in zip(ids, labels, strict=True):
            taught = label >= 0
            assert torch.equal(row[taught], label[taught])
            text = TOKENIZER.decode(label[taught])
            whole = TOKENIZER.decode(row[row != SPECIAL.index(PAD)])
            prompt = whole.removesuffix(text)
            assert prompt.endswith("<|im_start|>assistant\n") and text.endswith("}<|im_end|>")
            seen.append((prompt, text))
    problems = pretraining_data(TASK, settings)
    rng = random.Random(0)
    expected = [(chat(p.prompt), solution(p, rng, CLEAN) + STOP) for p in problems]
    assert sorted(seen) == sorted(expected)


def test_guesses_and_worked_solutions_share_their_batches():
    settings = small(steps_clean=0, steps_noisy=32, batch_size=64, careful=0.5, sloppy=0.0)
    box = vocabulary().index("\\boxed{")
    for ids, labels in _batches(TASK, settings, TOKENIZER):
        first = (labels >= 0).int().argmax(dim=1, keepdim=True)
        guesses = (ids.gather(1, first) == box).float().mean()
        assert 0.2 < guesses < 0.8


@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (16, 16)])
def test_muon_is_torchs_without_its_rounding(shape):
    generator = torch.Generator().manual_seed(0)
    start, pulls = (
        torch.randn(shape, generator=generator),
        torch.randn(3, *shape, generator=generator),
    )
    settings = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}
    moved = []
    for kind in (Muon, torch.optim.Muon):
        weights = [torch.nn.Parameter(start.clone()), torch.nn.Parameter(2.0 * start)]
        optimizer = kind(weights, **settings)
        for pull in pulls:
            weights[0].grad, weights[1].grad = pull.clone(), -pull
            optimizer.step()
        moved.append(torch.stack([weight.detach() for weight in weights]))
    ours, torchs = (each - torch.stack([start, 2.0 * start]) for each in moved)
    # bfloat16 has 8 bits
    assert float((ours - torchs).norm() / torchs.norm()) < 0.02


def test_a_step_of_muon_has_singular_values_near_one():
    generator = torch.Generator().manual_seed(1)
    values = torch.linalg.svdvals(orthogonalized(torch.randn(2, 12, 30, generator=generator)))
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3
