"""A tiny model under FSDP2 in several CPU processes, moved by every form of a jump."""

import tempfile

import torch
from safetensors.torch import load_file, save_file
from torch import distributed as dist
from torch import multiprocessing

from rlvr_dynamics.acceleration.sketch import Sketch
from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.checkpoints.names import is_norm
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.extrapolation.parameters import complete_parameters
from rlvr_dynamics.training.anchored import Anchored
from rlvr_dynamics.training.optimizer_state import reset
from rlvr_dynamics.training.predicted_shards import Prediction

STEPS = tuple(range(1, 9))
TARGET = 20
METHODS = {
    "relex": {},
    "relex_path": {"clock": "path"},
    "momentum": {},
    "alpharl": {},
    "alpharl_released": {"variant": "released"},
}
ACCURACY = {step: 0.9 - 0.6 * 0.9**step for step in (0, *STEPS)}


def tiny_model(seed=0):
    """A Qwen3 of two layers whose rows do not divide by two everywhere."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=37,
        hidden_size=16,
        intermediate_size=25,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).float()


def in_processes(world, folder):
    """Make every move in `world` processes that share a model; return what the model was then."""
    out = folder / f"out_{world}"
    out.mkdir()
    with tempfile.TemporaryDirectory() as meeting:
        multiprocessing.spawn(
            _process, (world, f"file://{meeting}/rendezvous", folder, out), nprocs=world
        )
    return {path.stem: load_file(path) for path in out.glob("*.safetensors")}


def _process(rank, world, meeting, folder, out):
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    try:
        model = tiny_model()
        model.load_state_dict(load_file(folder / "base/model.safetensors"), strict=False)
        for layer in model.model.layers:
            fully_shard(layer)
        fully_shard(model)
        process = _Process(model, folder, out, rank)
        moves(process)
        predictions(process)
        optimizer(process)
    finally:
        dist.destroy_process_group()


class _Process:
    """What one process holds, and where its results go."""

    def __init__(self, model, folder, out, rank):
        self.model, self.folder, self.out, self.rank = model, folder, out, rank
        self.anchored = Anchored(model.named_parameters, lambda name: not is_norm(name))

    def go_to(self, step):
        """Give the model the weights of a saved step; step 0 is the base."""
        place = f"checkpoints/step_{step}" if step else "base"
        whole = load_file(self.folder / place / "model.safetensors")
        for shard in self.anchored.shards():
            low, high = shard.span
            shard.values.copy_(whole[shard.name].reshape(-1)[low:high])

    def show(self, name, **numbers):
        """Save the whole weights, gathered, and some numbers."""
        whole = {key: value.full_tensor().clone() for key, value in self.model.named_parameters()}
        if self.rank == 0:
            more = {key: torch.as_tensor(value) for key, value in numbers.items()}
            save_file(whole | more, self.out / f"{name}.safetensors")


def moves(process):
    """Every form once, each from the base as anchor and step 8 as the present weights."""
    anchored = process.anchored

    def fresh():
        process.go_to(0)
        anchored.hold()
        process.go_to(STEPS[-1])

    fresh()
    process.show("now", walked=anchored.walked(), sketch=anchored.sketched(Sketch(64)))
    moved = anchored.along_anchor(3.0)
    process.show("anchor", length=moved.length, finite=moved.finite)
    anchored.restore()
    process.show("restored")
    fresh()
    anchored.at_random(3.0, seed=5)
    process.show("random")
    fresh()
    anchored.along_anchor(2.0)
    kept = process.out / f"kept_{process.rank}.pieces"
    anchored.exchange()
    process.show("exchanged")
    anchored.exchange()
    anchored.keep(kept)
    anchored.further(2.0, 4.0)
    process.show("further")
    anchored.come_back(kept)
    process.show("came_back")
    anchored.hold()
    process.show("accepted", walked=anchored.walked())
    saved = process.out / f"anchor_{process.rank}.pieces"
    anchored.write_copy(saved)
    process.go_to(STEPS[-1])
    again = Anchored(process.model.named_parameters)
    again.read_copy(saved)
    again.along_anchor(0.0)
    process.show("reread", copied=again.copy_bytes)


def predictions(process):
    """Every method of the registry, from step 8."""
    trajectory = Trajectory.open(process.folder / "base", process.folder / "checkpoints")
    for label, given in METHODS.items():
        process.go_to(STEPS[-1])
        method = EXTRAPOLATORS[label.partition("_")[0]]
        settings = complete_parameters(method.name, method.parameters, given)
        prediction = Prediction(method, trajectory, TARGET, settings, ACCURACY)
        everything = Anchored(process.model.named_parameters)
        everything.hold()
        prediction.prepare(everything.shards())
        everything.take(prediction.candidate)
        process.show(label)


def optimizer(process):
    """An update, then each way of treating AdamW's state, and the update that follows."""
    model = process.model
    for how in ("keep", "zero", "restart"):
        process.go_to(1)
        adam = torch.optim.AdamW(model.parameters(), lr=0.1)
        for _ in range(3):
            _update(model, adam)
        process.go_to(2)
        reset(adam, how)
        state = adam.state[next(iter(model.parameters()))]
        counter, moment = state["step"].clone(), state["exp_avg"].full_tensor().abs().sum()
        _update(model, adam)
        process.show(how, counter=counter, moment=moment)


def _update(model, adam):
    ids = torch.arange(12)[None] % 37
    model(input_ids=ids, labels=ids).loss.backward()
    adam.step()
    adam.zero_grad()
