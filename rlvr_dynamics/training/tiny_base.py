"""Small base models of four families, pretrained here on arithmetic that contains mistakes.

The demo's base is small but real: it learned to work step by step from solutions of which many are
wrong, so it is right only some of the time, and reinforcement learning can improve it. The other
families have every kind of tensor name that occurs in the published models.
"""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.names import HEAD
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import Architecture, Family, TinyModel
from rlvr_dynamics.system.progress import bar
from rlvr_dynamics.training.arithmetic import CLEAN, ArithmeticTask, Noise, Problem, solution

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

END, START, STOP, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
SPECIAL = (END, START, STOP, PAD)
WORDS = ("system", "user", "assistant", "\\boxed{")
CHARACTERS = tuple(chr(code) for code in range(32, 127)) + ("\n",)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TITLES = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama 3.1", "glm4": "GLM-4"}
POSITIONS = 512
# Llama 3.1 stretches the wavelengths of a model trained on an eighth of its positions (factors from
# its published config.json); this model does the same within its own number of positions.
LLAMA_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
WARMUP_STEPS = 20
FLOOR = 0.1
THREADS = 1  # affects the result: more threads sum in another order; also safe on busy cores
BATCHES_PER_BUCKET = 16
Encoded = tuple[list[int], list[int]]


def vocabulary() -> list[str]:
    """Return the tokens in order of id: special tokens, a few words, single characters."""
    return [*SPECIAL, *WORDS, *CHARACTERS]


def architecture(settings: TinyModel) -> Architecture:
    """Return the shapes of the model, which determine its parameters as for published models.

    Raises:
        UserError: The embedding would have fewer rows than the tokenizer has tokens.
    """
    tokens = len(vocabulary())
    if settings.vocabulary is not None and settings.vocabulary < tokens:
        raise UserError(
            f"model.vocabulary={settings.vocabulary} is less than the tokenizer's {tokens} tokens",
            way_out=f"model.vocabulary=null, or at least {tokens}",
        )
    return Architecture(
        family=settings.family,
        hidden=settings.hidden,
        layers=settings.layers,
        heads=settings.heads,
        kv_heads=settings.kv_heads,
        head_dim=settings.hidden // settings.heads,
        intermediate=settings.intermediate,
        vocabulary=settings.vocabulary or tokens,
        context=settings.context or POSITIONS,
        tied=settings.tied,
    )


def describe(settings: TinyModel) -> str:
    """Describe the base and its pretraining in one sentence."""
    steps = settings.steps_clean + settings.steps_noisy
    count = architecture(settings).parameters
    size = f"{TITLES[settings.family]} architecture, {count:,} parameters"
    if steps == 0:
        return f"{size}, random weights"
    text = f"{size}, pretrained here for {steps} steps"
    if settings.steps_noisy == 0:
        return text
    return (
        f"{text}; of the last {settings.steps_noisy} steps' solutions {settings.careful:.0%} are "
        f"worked without mistakes, {settings.sloppy:.0%} have mistakes in their steps, the rest "
        "guess"
    )


def build_tokenizer(family: Family = "qwen3") -> "PreTrainedTokenizerFast":
    """Build a tokenizer with a token per character, per role name and for the opening of a box.

    All families map the same text to the same ids.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    named: dict[str, Any] = {
        "eos_token": STOP,
        "pad_token": PAD,
        "unk_token": PAD,
        "clean_up_tokenization_spaces": False,
        "model_max_length": POSITIONS,
    }
    if family == "qwen2":
        tokenizer: Any = _byte_level_tokenizer(named)
    else:
        core = Tokenizer(
            models.WordLevel({token: i for i, token in enumerate(vocabulary())}, unk_token=PAD)
        )
        pattern = r"system|user|assistant|\\boxed\{|[\s\S]"
        core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        core.decoder = decoders.Fuse()
        core.add_special_tokens(list(SPECIAL))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **named)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _byte_level_tokenizer(named: dict[str, Any]) -> Any:
    """Build the tokenizer in the class that transformers always uses for Qwen2.

    That class splits text its own way and stores a space as Ġ and a line break as Ċ; without
    merges every character stays a token.
    """
    from transformers import AddedToken, Qwen2Tokenizer

    stored = [token.replace(" ", "Ġ").replace("\n", "Ċ") for token in vocabulary()]
    tokenizer: Any = Qwen2Tokenizer(
        vocab={token: i for i, token in enumerate(stored)}, merges=[], **named
    )
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    words = [AddedToken(token, special=False, normalized=False) for token in WORDS]
    tokenizer.add_tokens(special + words)
    return tokenizer


def build_model(settings: TinyModel, tokenizer: "PreTrainedTokenizerFast") -> Any:
    """Build a float32 model of the family with random weights from torch's generator."""
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = architecture(settings)
    # transformers adds what else a family has: Qwen2's and GLM-4's q, k and v biases, Qwen3's q and
    # k norms, GLM-4's four norms per layer and its rotation of half of each head.
    special: dict[str, Any] = {
        "qwen2": {},  # its heads always divide `hidden` evenly
        "qwen3": {"head_dim": shape.head_dim},
        "llama": {
            "head_dim": shape.head_dim,
            "rope_parameters": {
                **LLAMA_ROPE,
                "original_max_position_embeddings": shape.context // 8,
            },
        },
        "glm4": {"head_dim": shape.head_dim},
    }[shape.family]
    config = AutoConfig.for_model(
        shape.family,
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=SPECIAL.index(STOP),
        pad_token_id=SPECIAL.index(PAD),
        **special,
    )
    model = AutoModelForCausalLM.from_config(config).float()
    generation: Any = model.generation_config
    generation.eos_token_id, generation.pad_token_id = config.eos_token_id, config.pad_token_id
    return model


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Fix torch's random state and thread count inside the block and restore both afterwards."""
    import torch

    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        torch.set_num_threads(THREADS)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def pretraining_data(task: ArithmeticTask, settings: TinyModel) -> list[Problem]:
    """Return all pretraining problems in order: those of the clean steps, then the noisy ones."""
    return task.pretraining((settings.steps_clean + settings.steps_noisy) * settings.batch_size)


def pretrain(task: ArithmeticTask, settings: TinyModel, folder: Path) -> None:
    """Train the base with a supervised loss and save it as a Hugging Face folder.

    It sees clean solutions first, then solutions with mistakes; with zero steps it stays random.
    Muon optimizes the matrices of the blocks, AdamW all other parameters. The same task and
    settings give the same bytes on the same machine.

    Args:
        task: Source of the problems; its seed also sets the initial weights.
        settings: Architecture, steps and noise.
        folder: Where config, tokenizer and float32 safetensors go.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = build_tokenizer(settings.family)
    with reproducible(task.seed):
        model = build_model(settings, tokenizer)
        _supervise(model, task, settings, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _supervise(
    model: "PreTrainedModel",
    task: ArithmeticTask,
    settings: TinyModel,
    tokenizer: "PreTrainedTokenizerFast",
) -> None:
    """Train the model in place for all clean and noisy steps."""
    import torch

    optimizers = _optimizers(model, settings)
    initial = [[group["lr"] for group in each.param_groups] for each in optimizers]
    total = settings.steps_clean + settings.steps_noisy
    batches = _batches(task, settings, tokenizer)
    with bar(batches, total=total, desc="pretrain base", unit="step") as progress:
        for step, (ids, labels) in enumerate(progress):
            scale = _schedule(step, total)
            for optimizer, rates in zip(optimizers, initial, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * scale
            logits = model(input_ids=ids).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=-100
            )
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def _optimizers(model: "PreTrainedModel", settings: TinyModel) -> "list[torch.optim.Optimizer]":
    import torch

    from rlvr_dynamics.training.muon import Muon

    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        block = parameter.ndim == 2 and "embed" not in name and name != HEAD
        (matrices if block else rest).append(parameter)
    return [
        Muon(matrices, lr=settings.muon_learning_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _schedule(step: int, total: int) -> float:
    """Learning-rate factor: linear warm-up, then cosine decay to a tenth."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / total))
    return min(1.0, (step + 1) / WARMUP_STEPS) * (FLOOR + (1 - FLOOR) * cosine)


def _batches(
    task: ArithmeticTask, settings: TinyModel, tokenizer: "PreTrainedTokenizerFast"
) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    """Yield right-padded batches of prompts of similar length; only solutions carry loss."""
    rng = random.Random(f"{task.seed}:solutions")  # noqa: S311
    noise = Noise(settings.careful, settings.sloppy, settings.step_error)
    problems = pretraining_data(task, settings)
    boundary = settings.steps_clean * settings.batch_size
    for part, style in ((problems[:boundary], CLEAN), (problems[boundary:], noise)):
        encoded = [_encode(problem, solution(problem, rng, style), tokenizer) for problem in part]
        for start in range(0, len(encoded), settings.batch_size * BATCHES_PER_BUCKET):
            bucket = encoded[start : start + settings.batch_size * BATCHES_PER_BUCKET]
            # Sort by prompt length only: sorting by the solution too would put the guesses into
            # batches of their own, where a token weighs several times more than in the others.
            bucket.sort(key=lambda pair: len(pair[0]))
            groups = [
                bucket[first : first + settings.batch_size]
                for first in range(0, len(bucket), settings.batch_size)
            ]
            rng.shuffle(groups)
            for group in groups:
                yield _pad(group)


def _encode(problem: Problem, text: str, tokenizer: "PreTrainedTokenizerFast") -> Encoded:
    messages = [{"role": "user", "content": problem.prompt}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return (
        tokenizer(str(prompt), add_special_tokens=False)["input_ids"],
        tokenizer(text + STOP, add_special_tokens=False)["input_ids"],
    )


def _pad(pairs: list[Encoded]) -> "tuple[torch.Tensor, torch.Tensor]":
    import torch

    width = max(len(prompt) + len(answer) for prompt, answer in pairs)
    ids = torch.full((len(pairs), width), vocabulary().index(PAD))
    labels = torch.full_like(ids, -100)
    for row, (prompt, answer) in enumerate(pairs):
        ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    return ids, labels
