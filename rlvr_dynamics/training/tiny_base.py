"""The demo's base model: Qwen3 architecture, pretrained here on arithmetic with mistakes in it.

It is a real base and a small one: it has learned to work step by step from solutions of which many
are wrong, so it is right some of the time. Reinforcement learning has to do the rest.
"""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rlvr_dynamics.progress import bar
from rlvr_dynamics.training.arithmetic import CLEAN, ArithmeticTask, Noise, Problem, solution

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

END, START, STOP, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
SPECIAL = (END, START, STOP, PAD)
WORDS = ("system", "user", "assistant", "\\boxed{")
CHARACTERS = tuple(chr(code) for code in range(32, 127)) + ("\n",)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
POSITIONS = 512
WARMUP_STEPS = 20
FLOOR = 0.1
THREADS = 1  # part of the result: another number adds up in another order; safe on busy cores
BATCHES_PER_BUCKET = 16
Encoded = tuple[list[int], list[int]]


class Settings(Protocol):
    """The fields of `rlvr_dynamics.schema.TinyModel` that shape the base."""

    @property
    def hidden(self) -> int: ...  # noqa: D102
    @property
    def layers(self) -> int: ...  # noqa: D102
    @property
    def heads(self) -> int: ...  # noqa: D102
    @property
    def kv_heads(self) -> int: ...  # noqa: D102
    @property
    def intermediate(self) -> int: ...  # noqa: D102
    @property
    def steps_clean(self) -> int: ...  # noqa: D102
    @property
    def steps_noisy(self) -> int: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def muon_learning_rate(self) -> float: ...  # noqa: D102
    @property
    def careful(self) -> float: ...  # noqa: D102
    @property
    def sloppy(self) -> float: ...  # noqa: D102
    @property
    def step_error(self) -> float: ...  # noqa: D102


def vocabulary() -> list[str]:
    """Tokens in order of their ids: special tokens, a few words, single characters."""
    return [*SPECIAL, *WORDS, *CHARACTERS]


def parameter_count(settings: Settings) -> int:
    """Elements of the model's tensors (the head is tied to the embedding)."""
    head = settings.hidden // settings.heads
    attention = 2 * settings.hidden * head * (settings.heads + settings.kv_heads) + 2 * head
    block = attention + 3 * settings.hidden * settings.intermediate + 2 * settings.hidden
    return settings.layers * block + settings.hidden * (len(vocabulary()) + 1)


def build_tokenizer() -> "PreTrainedTokenizerFast":
    """One token per character, and one each for the role names and for the opening of a box."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate(vocabulary())}, unk_token=PAD)
    )
    pattern = r"system|user|assistant|\\boxed\{|[\s\S]"
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=STOP,
        pad_token=PAD,
        unk_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=POSITIONS,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(settings: Settings, tokenizer: "PreTrainedTokenizerFast") -> Any:
    """A Qwen3 model with random weights from torch's generator, float32, tied head."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        head_dim=settings.hidden // settings.heads,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=SPECIAL.index(STOP),
        pad_token_id=SPECIAL.index(PAD),
    )
    model = Qwen3ForCausalLM(config).float()
    generation: Any = model.generation_config
    generation.eos_token_id, generation.pad_token_id = config.eos_token_id, config.pad_token_id
    return model


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Fix torch's random numbers and threads inside the block, and put both back after it."""
    import torch

    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        torch.set_num_threads(THREADS)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def pretraining_data(task: ArithmeticTask, settings: Settings) -> list[Problem]:
    """Problems of the whole pretraining, in order: first the clean steps', then the noisy ones'."""
    return task.pretraining((settings.steps_clean + settings.steps_noisy) * settings.batch_size)


def pretrain(task: ArithmeticTask, settings: Settings, folder: Path) -> None:
    """Train the base by supervised loss and save it as a Hugging Face folder.

    First on clean solutions, then on solutions with mistakes. Muon moves the matrices and AdamW
    the rest. The same task and settings give the same bytes on the same machine.

    Args:
        task: Where the problems come from; its seed also sets the initial weights.
        settings: Architecture, steps and noise.
        folder: Where config, tokenizer and float32 safetensors go.
    """
    tokenizer = build_tokenizer()
    with reproducible(task.seed):
        model = build_model(settings, tokenizer)
        _supervise(model, task, settings, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _supervise(
    model: "Qwen3ForCausalLM",
    task: ArithmeticTask,
    settings: Settings,
    tokenizer: "PreTrainedTokenizerFast",
) -> None:
    """Move the model's weights in place over all clean and noisy steps."""
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


def _optimizers(model: "Qwen3ForCausalLM", settings: Settings) -> "list[torch.optim.Optimizer]":
    import torch

    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "embed" not in name else rest).append(parameter)
    return [
        torch.optim.Muon(
            matrices, lr=settings.muon_learning_rate, momentum=0.95, weight_decay=0.01
        ),
        torch.optim.AdamW(rest, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _schedule(step: int, total: int) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / total))
    return min(1.0, (step + 1) / WARMUP_STEPS) * (FLOOR + (1 - FLOOR) * cosine)


def _batches(
    task: ArithmeticTask, settings: Settings, tokenizer: "PreTrainedTokenizerFast"
) -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
    """Batches of prompts of similar length, padded on the right; the loss is on the solution."""
    rng = random.Random(f"{task.seed}:solutions")  # noqa: S311
    noise = Noise(settings.careful, settings.sloppy, settings.step_error)
    problems = pretraining_data(task, settings)
    boundary = settings.steps_clean * settings.batch_size
    for part, style in ((problems[:boundary], CLEAN), (problems[boundary:], noise)):
        encoded = [_encode(problem, solution(problem, rng, style), tokenizer) for problem in part]
        for start in range(0, len(encoded), settings.batch_size * BATCHES_PER_BUCKET):
            bucket = encoded[start : start + settings.batch_size * BATCHES_PER_BUCKET]
            # By the prompt alone: sorted by the solution too, the guesses would get batches of
            # their own, in which a token weighs several times more than in the others.
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
