"""The typed, frozen configuration: every key, its type and allowed values."""

from rlvr_dynamics.schema.acceleration import Acceleration
from rlvr_dynamics.schema.analyses import Behaviour, Extrapolation, Method, Rebuilt, Scoring, Wandb
from rlvr_dynamics.schema.data import Benchmark, HubData, HubTable, TrainingData
from rlvr_dynamics.schema.models import Architecture, Family, GgufPackage, HubModel, TinyModel
from rlvr_dynamics.schema.run import RunConfig
from rlvr_dynamics.schema.source import Published
from rlvr_dynamics.schema.training import Algorithm, Critic, Lora, Trainer
from rlvr_dynamics.schema.types import STAGES, USUAL_STAGES, Frozen

__all__ = [
    "Acceleration",
    "Algorithm",
    "Architecture",
    "Behaviour",
    "Benchmark",
    "Critic",
    "Extrapolation",
    "Family",
    "Frozen",
    "GgufPackage",
    "HubData",
    "HubModel",
    "HubTable",
    "Lora",
    "Method",
    "Published",
    "Rebuilt",
    "RunConfig",
    "STAGES",
    "Scoring",
    "TinyModel",
    "Trainer",
    "TrainingData",
    "USUAL_STAGES",
    "Wandb",
]
