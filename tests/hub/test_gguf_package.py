"""A model from a package: fetched with pip from a folder, read as it was written."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.gguf_package import write_packaged_model
from rlvr_dynamics.hub.model import fetch_model
from rlvr_dynamics.schema import Architecture, GgufPackage

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")

FILE = "tiny_model/tiny.Q8_0.gguf"
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}<end>{% endfor %}"
)
SHAPE = Architecture(
    family="llama",
    hidden=64,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    intermediate=96,
    vocabulary=264,
    context=128,
    tied=True,
)
PACKAGE = GgufPackage(name="tiny-model", version="0.1.2", file=FILE)
LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def vocabulary():
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<none>", "<start>", "<end>", *sorted(ByteLevel.alphabet())]
    # Never used where digits stand alone; a tokenizer that merges them reads other numbers.
    return [*tokens, "12", "Ġ1", "he", "Ġhe", "<word>"]


def gguf_name(name):
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{LAYER[rest.removesuffix('.weight')]}.weight"


def interleaved(weight, heads):
    """llama.cpp turns pairs of neighbours where transformers turns halves of a head."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, -1)


@pytest.fixture(scope="module")
def model():
    """A random Llama whose large matrices hold what Q8_0 can hold."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    settings = LlamaConfig(
        vocab_size=SHAPE.vocabulary,
        hidden_size=SHAPE.hidden,
        intermediate_size=SHAPE.intermediate,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        max_position_embeddings=SHAPE.context,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    made = LlamaForCausalLM(settings).eval()
    for name, weight in made.named_parameters():
        weight.data = torch.randn_like(weight) * (0.2 if weight.ndim == 2 else 1.0)
        if "mlp" in name:
            packed = gguf.quantize(weight.detach().numpy(), gguf.GGMLQuantizationType.Q8_0)
            weight.data = torch.tensor(
                gguf.dequantize(packed, gguf.GGMLQuantizationType.Q8_0)
            ).reshape(weight.shape)
    return made


def write_gguf(path, model, *, leave_out=(), pre="smollm"):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(SHAPE.layers)
    writer.add_context_length(SHAPE.context)
    writer.add_embedding_length(SHAPE.hidden)
    writer.add_feed_forward_length(SHAPE.intermediate)
    writer.add_head_count(SHAPE.heads)
    writer.add_head_count_kv(SHAPE.kv_heads)
    writer.add_rope_freq_base(5000.0)
    writer.add_rope_dimension_count(SHAPE.head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(SHAPE.vocabulary)
    tokens = vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 4) + [4])
    writer.add_token_merges(["1 2", "Ġ 1", "h e", "Ġ he"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, parameter in model.named_parameters():
        if name in leave_out:
            continue
        weight = parameter.detach().numpy()
        if "q_proj" in name:
            weight = interleaved(weight, SHAPE.heads)
        if "k_proj" in name:
            weight = interleaved(weight, SHAPE.kv_heads)
        kind = gguf.GGMLQuantizationType.Q8_0 if "mlp" in name else None
        weight = np.ascontiguousarray(weight)
        weight = weight if kind is None else gguf.quantize(weight, kind)
        writer.add_tensor(gguf_name(name), weight, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def wheelhouse(folder, model, **options):
    """A folder with the package's wheel, as pip wants it; importing the package would fail."""
    folder.mkdir()
    write_gguf(folder / "model", model, **options)
    about = "tiny_model-0.1.2.dist-info"
    with zipfile.ZipFile(folder / "tiny_model-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.write(folder / "model", FILE)
        wheel.writestr("tiny_model/__init__.py", "raise RuntimeError('imported')")
        wheel.writestr(
            f"{about}/METADATA",
            "Metadata-Version: 2.1\nName: tiny-model\nVersion: 0.1.2\nRequires-Dist: not-there\n",
        )
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
    (folder / "model").unlink()
    return folder


@pytest.fixture(scope="module")
def wheels(model, tmp_path_factory):
    return wheelhouse(tmp_path_factory.mktemp("wheels") / "house", model)


@pytest.fixture
def registry(wheels, monkeypatch):
    """A registry without network: pip finds what lies in the folder and nothing else."""

    def use(folder):
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    use(wheels)
    return use


def test_the_model_is_the_one_that_was_written(registry, model, tmp_path):
    from transformers import AutoModelForCausalLM

    facts = write_packaged_model(PACKAGE, SHAPE, tmp_path / "base")
    loaded, report = AutoModelForCausalLM.from_pretrained(
        tmp_path / "base", dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values())
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    theirs = dict(model.named_parameters())
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, theirs[name]), name
    ids = torch.randint(0, SHAPE.vocabulary, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(loaded.eval()(ids).logits, model(ids).logits)
    assert (
        loaded.config.tie_word_embeddings and "_model_name_or_path" not in loaded.config.to_dict()
    )
    assert (facts["package"], facts["version"]) == ("tiny-model", "0.1.2")
    assert facts["quantization"] == {"Q8_0": 6, "F32": 14}
    assert len(facts["wheel_sha256"]) == len(facts["gguf_sha256"]) == 64
    assert facts["weights"].endswith("dequantised to float32")


def test_the_tokenizer_is_the_one_that_was_written(registry, tmp_path):
    from transformers import AutoTokenizer, GenerationConfig

    write_packaged_model(PACKAGE, SHAPE, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    assert len(tokenizer) == SHAPE.vocabulary
    assert tokenizer.convert_ids_to_tokens(range(SHAPE.vocabulary)) == vocabulary()
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<start>", "<end>")
    assert (tokenizer.pad_token, tokenizer.unk_token) == ("<end>", "<none>")
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.tokenize(" he 123") == ["Ġhe", "Ġ", "1", "2", "3"]
    assert tokenizer.tokenize("<start>he<word><end>") == ["<start>", "he", "<word>", "<end>"]
    text = "<start>Was 12 , 7 ?  é<end>\n"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    generation = GenerationConfig.from_pretrained(tmp_path / "base")
    assert (generation.eos_token_id, generation.pad_token_id) == (2, 2)


def test_a_hub_that_does_not_answer_is_replaced_and_named(registry, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    real = config.load(["model=smollm2_135m", "data=sums"]).model
    small = real.model_copy(update={"architecture": SHAPE, "package": PACKAGE})
    facts = fetch_model(small, tmp_path / "base", tmp_path / "models.lock.json")
    assert facts["source"] == "package"
    assert facts["package"]["version"] == "0.1.2"
    assert "the hub does not answer" in capsys.readouterr().out
    assert (tmp_path / "base" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"file": "tiny_model/other.gguf"},
            "no file tiny_model/other.gguf.*it has tiny_model/tiny",
        ),
        ({"version": "0.9"}, "tiny-model 0.9 cannot be fetched"),
        ({"name": "not-there"}, "not-there 0.1.2 cannot be fetched"),
        ({"sha256": "0" * 64}, "another file than recorded"),
        ({"name": "--index-url=http://x"}, "does not name a .gguf file"),
        ({"version": "1.0 --pre"}, "does not name a .gguf file"),
        ({"file": "../tiny.gguf"}, "does not name a .gguf file"),
        ({"file": "/etc/passwd"}, "does not name a .gguf file"),
    ],
)
def test_a_package_that_is_not_what_was_meant(registry, tmp_path, change, message):
    with pytest.raises(UserError) as caught:
        write_packaged_model(PACKAGE.model_copy(update=change), SHAPE, tmp_path / "base")
    assert re.search(message, str(caught.value))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"leave_out": ["model.layers.1.mlp.up_proj.weight"]}, {}, "does not hold this model's"),
        ({"pre": "llama-bpe"}, {}, "tokenizer gpt2/llama-bpe is not known"),
        ({}, {"intermediate": 128, "tied": False}, "another model.*intermediate.*96.*tied"),
    ],
)
def test_a_file_of_another_kind(registry, model, tmp_path, options, shape, message):
    registry(wheelhouse(tmp_path / "house", model, **options))
    with pytest.raises(UserError, match=message):
        write_packaged_model(PACKAGE, SHAPE.model_copy(update=shape), tmp_path / "base")
    assert not (tmp_path / "base").exists()


@pytest.mark.slow
def test_the_real_package(tmp_path):
    """Answers what this model is known to answer, asked in its own chat form."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    real = config.load(["model=smollm2_135m", "data=sums"]).model
    try:
        write_packaged_model(real.package, real.architecture, tmp_path / "base")
    except UserError as error:
        if "cannot be fetched" in str(error):
            pytest.skip(str(error))
        raise
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    assert model.num_parameters() == 134_515_008
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    said = model.generate(**ids, max_new_tokens=20, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert tokenizer.decode(said) == "The capital of France is Paris.<|im_end|>"
    assert Path(tmp_path / "base" / "model.safetensors").stat().st_size == 538_090_408
