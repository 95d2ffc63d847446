"""Tiny random models and their questions, for the tests of behaviour."""

from pathlib import Path

import pandas as pd
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from rlvr_dynamics.training.tiny_base import build_tokenizer

N = 6
STOP_ID = 2


def build(folder: Path, seed: int, *, tied: bool = True) -> Path:
    tokenizer = build_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        eos_token_id=STOP_ID,
        pad_token_id=0,
        bos_token_id=None,
        initializer_range=0.3,
    )
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():  # some answers end before they are cut off
        model.get_output_embeddings().weight[STOP_ID] *= 1.5
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_questions(path: Path, split: str = "in_domain") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "question_id": f"q-{number}",
            "prompt": "+".join(["7", *map(str, range(1, number + 2))]) + "=",
            "gold": str(number),
            "kind": "integer",
            "split": split,
            "title": "Sums",
        }
        for number in range(N)
    ]
    pd.DataFrame(rows).to_parquet(path, index=False)
    return path
