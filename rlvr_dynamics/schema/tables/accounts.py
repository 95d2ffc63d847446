"""Columns of the accounts of a training: everything that it spent, and on what.

A rollout is one sampled answer. Seconds are verl's own, of all processes together as they wait for
each other; the bench's own evaluation and the start of the engines are no part of `seconds`.
"""

from rlvr_dynamics.schema.tables.column import Column, needed, table

VERL = "verl 0.9.1"
PARTS = {
    "generate": "drawing rollouts",
    "update": "log-probabilities, advantages and optimizer updates",
    "sync": "new weights to the engines",
    "save": "checkpoints and states that training waits for",
    "search": "computing jumps and undoing rejected ones",
    "validate": "answers that a gate asked for",
    "other": "all else: `seconds` minus the other parts",
}
ACCOUNTS = table(
    "accounts.parquet",
    "experiments.acceleration",
    needed("cell", "name", "run directory"),
    needed("arm", "name", "what was done beside plain steps"),
    Column("learning_rate", "number", "the policy's"),
    Column("seed", "number", "seed of training and sampling"),
    needed("steps", "count", "steps on record"),
    Column("rollouts", "count", "answers graded for training, with those that were dropped"),
    Column("gate_rollouts", "count", "answers asked before and after jumps, to decide on them"),
    Column("rejected_rollouts", "count", "those of them by candidates that were not kept"),
    Column("evaluation_rollouts", "count", "answers of verl's validation, not asked by a gate"),
    Column("tokens", "count", "tokens of the rollouts: verl's mean length x answers"),
    Column("gate_tokens", "count", "tokens of the gate's answers"),
    Column("updates", "count", "optimizer updates of the policy"),
    Column("trained_answers", "count", "answers passed backward: a step's x passes"),
    Column("fired", "count", "times that a jump was tried"),
    Column("jumped", "count", "times that it was kept"),
    Column("seconds", "seconds", "steps, with jumps, without evaluation and start"),
    *(Column(f"{name}_seconds", "seconds", words, VERL) for name, words in PARTS.items()),
    Column(
        "start_seconds", "seconds", "step 1 beyond the median step: engines warm up; not in seconds"
    ),
    Column("evaluation_seconds", "seconds", "verl's validation; not in seconds", VERL),
    Column("device_gib", "GiB", "most memory that torch held on a GPU; missing on a CPU", VERL),
    Column("host_gib", "GiB", "most memory in use on the machine, by all of its programs", VERL),
    Column("disk_gib", "GiB", "folder of the training now: weights of every step, states, logs"),
)
