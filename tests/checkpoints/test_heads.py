"""Equal bytes decide whether head and embedding are one tensor; predictions load as they should."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from rlvr_dynamics.checkpoints import CheckpointWriter, Trajectory
from rlvr_dynamics.checkpoints.whole_folders import whole_folder
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS

V, H = 61, 16
COMMON = {"vocab_size": V, "bos_token_id": 0, "eos_token_id": 1}
WIDE = COMMON | {"hidden_size": H, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = WIDE | {"num_key_value_heads": 1, "intermediate_size": 24}
FAMILIES = {  # settings, embedding, head
    "gpt2": (
        COMMON | {"n_embd": H, "n_layer": 2, "n_head": 2, "n_positions": 32},
        "transformer.wte.weight",
        "lm_head.weight",
    ),
    "falcon": (WIDE, "transformer.word_embeddings.weight", "lm_head.weight"),
    "bloom": (COMMON | {"hidden_size": H, "n_layer": 2, "n_head": 2},)
    + ("transformer.word_embeddings.weight", "lm_head.weight"),
    "gpt_neox": (WIDE | {"intermediate_size": 24}, "gpt_neox.embed_in.weight", "embed_out.weight"),
    "llama": (LLAMA, "model.embed_tokens.weight", "lm_head.weight"),
    "qwen3": (LLAMA | {"head_dim": 8}, "model.embed_tokens.weight", "lm_head.weight"),
}
STEPS = (1, 2, 3)


def model_of(family, tied):
    settings, *_ = FAMILIES[family]
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **settings, tie_word_embeddings=tied)
    return AutoModelForCausalLM.from_config(config)


def save_steps(root, family, how, *, tied=True, config=None):
    """A base and steps on a line in every tensor; `how` says what is stored of the vocabulary.

    both: head and embedding, the same; apart: both, and they come apart at the last step; head,
    embedding: one alone; late: only the embedding in the base, in the steps both, which differ.
    """
    _, embedding, head = FAMILIES[family]
    model = model_of(family, tied)
    weights = {}
    for step in (0, *STEPS):
        folder = root / ("base" if step == 0 else f"checkpoints/step_{step}")
        model.save_pretrained(folder)
        tensors = load_file(folder / "model.safetensors")
        generator = torch.Generator().manual_seed(5)
        for name in sorted(tensors):
            drawn = torch.randn(tensors[name].shape, generator=generator)
            if tensors[name].is_floating_point() and step:
                tensors[name] = tensors[name] + 0.02 * step * drawn
        matrix = tensors[embedding]
        apart = (how == "apart" and step == STEPS[-1]) or (how == "late" and step)
        copy = matrix * (2.0 if apart else 1.0)
        if how != "embedding" and not (how == "late" and step == 0):
            tensors[head] = copy.clone()
        if how == "head":
            del tensors[embedding]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        if config is not None:
            path = folder / "config.json"
            path.write_text(json.dumps(config(json.loads(path.read_text()))))
        weights[step] = tensors
    return weights


def opened(root):
    return Trajectory.open(root / "base", root / "checkpoints")


def logits(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.arange(9)[None]).logits


@pytest.mark.parametrize("how", ["both", "apart", "head", "embedding", "late"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_answers_as_the_checkpoint_that_it_equals(tmp_path, family, how):
    save_steps(tmp_path, family, how)
    trajectory = opened(tmp_path)
    _, embedding, head = FAMILIES[family]
    own = how in ("apart", "late")
    assert trajectory.tied is not own
    assert (head in trajectory.names) is (own or how == "head")
    assert (embedding in trajectory.names) is (how != "head")
    # Holding the last step repeats it, so both models must answer alike.
    (made,) = EXTRAPOLATORS["hold_last"].run(trajectory, 3, [9], tmp_path / "out")
    assert torch.equal(logits(made.folder), logits(tmp_path / "checkpoints" / "step_3"))
    stored = load_file(
        tmp_path / ("base" if how != "late" else "checkpoints/step_1") / "model.safetensors"
    )
    written = load_file(made.folder / "model.safetensors")
    assert set(written) == set(stored)
    (rebuilt,) = RECONSTRUCTIONS["rank1_recovery"].run(trajectory, [3], tmp_path / "out")
    base = load_file(tmp_path / "base" / "model.safetensors")
    for name, tensor in load_file(rebuilt.folder / "model.safetensors").items():
        if name in (embedding, head):
            assert torch.equal(tensor, base.get(name, base.get(embedding)))


CONFIGS = {
    "says yes": lambda config: config | {"tie_word_embeddings": True},
    "silent": lambda config: {k: v for k, v in config.items() if k != "tie_word_embeddings"},
    "says no": lambda config: config | {"tie_word_embeddings": False},
    "in a part": lambda config: (
        {k: v for k, v in config.items() if k != "tie_word_embeddings"}
        | {"text_config": {"tie_word_embeddings": True}}
    ),
    "is not there": lambda config: {},
}


@pytest.mark.parametrize("said", CONFIGS)
@pytest.mark.parametrize("how", ["both", "apart"])
def test_bytes_decide_whatever_the_config_says(tmp_path, how, said):
    save_steps(tmp_path, "llama", how, config=CONFIGS[said])
    trajectory = opened(tmp_path)
    assert trajectory.tied is (how == "both")
    assert ("lm_head.weight" in trajectory.names) is (how == "apart")


@pytest.mark.parametrize("said", ["says yes", "silent", "in a part"])
@pytest.mark.parametrize("how", ["both", "apart", "late"])
@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_an_engine_is_told_of_a_head_of_its_own(tmp_path, family, how, said):
    """vLLM skips a stored head where the config ties it, so such a config is never left to it."""
    weights = save_steps(tmp_path, family, how, config=CONFIGS[said])
    trajectory = opened(tmp_path)
    _, embedding, head = FAMILIES[family]
    (made,) = EXTRAPOLATORS["hold_last"].run(trajectory, 3, [9], tmp_path / "out")
    # GPT-2 is tied where its config is silent; no other config of these is silent and tied.
    ties = said != "silent" or family == "gpt2"
    for step, folder in ((3, made.folder), (3, whole_folder(trajectory, 3, tmp_path / "merged"))):
        config = json.loads((folder / "config.json").read_text())
        if how == "both" or not ties:
            assert config == CONFIGS[said](config)
            continue
        assert config["tie_word_embeddings"] is False
        parts = [part for part in config.values() if isinstance(part, dict)]
        assert not any(part.get("tie_word_embeddings") for part in parts)
        stored = load_file(folder / "model.safetensors")
        assert torch.equal(stored[head], weights[step][head])
        assert torch.equal(stored[embedding], weights[step][embedding])
    if how == "both" or not ties:
        assert folder == tmp_path / "checkpoints" / "step_3"


def test_a_base_without_a_copy_matches_steps_with_one(tmp_path):
    save_steps(tmp_path, "qwen3", "both", config=CONFIGS["silent"])
    path = tmp_path / "base" / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path)
    trajectory = opened(tmp_path)
    assert trajectory.tied and "lm_head.weight" not in trajectory.names


def test_a_head_under_an_unknown_name_is_found_by_its_bytes(tmp_path):
    weights = save_steps(tmp_path, "llama", "both")
    for step, tensors in weights.items():
        tensors["model.words.weight"] = tensors.pop("model.embed_tokens.weight")
        folder = tmp_path / ("base" if step == 0 else f"checkpoints/step_{step}")
        save_file(tensors, folder / "model.safetensors")
    trajectory = opened(tmp_path)
    assert trajectory.tied and "lm_head.weight" not in trajectory.names


def test_a_head_that_a_config_calls_its_own_must_be_there(tmp_path):
    save_steps(tmp_path, "llama", "apart", tied=False)
    path = tmp_path / "checkpoints" / "step_2" / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path)
    with pytest.raises(UserError, match="output head"):
        opened(tmp_path)


def test_the_comparison_is_remembered_until_a_file_changes(tmp_path):
    weights = save_steps(tmp_path, "llama", "both")
    cache = tmp_path / "identities.json"
    open_again = lambda: Trajectory.open(tmp_path / "base", tmp_path / "checkpoints", cache=cache)  # noqa: E731
    assert open_again().tied
    weights[2]["lm_head.weight"][-1, -1] += 1.0
    save_file(weights[2], tmp_path / "checkpoints" / "step_2" / "model.safetensors")
    assert not open_again().tied


def test_a_writer_notices_a_tensor_that_was_not_filled(tmp_path):
    weights = save_steps(tmp_path, "gpt2", "apart")
    layout = opened(tmp_path).template
    with (
        pytest.raises(ValueError, match=r"lm_head\.weight"),
        CheckpointWriter(
            tmp_path / "base", tmp_path / "out", step=1, source="test", layout=layout
        ) as writer,
    ):
        for name, tensor in weights[0].items():
            if name != "lm_head.weight":
                writer.write(name, tensor)
    assert not (tmp_path / "out").exists()
