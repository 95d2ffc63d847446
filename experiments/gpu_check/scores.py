"""Step 8: weights reloaded into a running engine beside a fresh load, with and without seeds."""

from rlvr_dynamics.results.frames import numbers
from rlvr_dynamics.scoring.generation import PROOF_FILE, TIMES_FILE
from rlvr_dynamics.system.files import read_object

from . import shapes
from .bench import Bench, Command, Commands
from .finding import Finding, holds, noted
from .product import run, table

NAME = "scores"
# One seed for every answer, and one for a batch of an engine.
SEEDING = ("request", "batch")


def commands(bench: Bench) -> Commands:
    """Return the score stage of the run of step 4, once for each kind of seeds."""
    trained = shapes.commands(bench)[shapes.RUN]
    tokens, context, samples = (64, 128, 4) if bench.rehearses else (512, 1024, 16)
    common = (
        *trained.overrides,
        "stages=[prepare,train,extrapolate,score]",
        "extrapolation.methods=[]",
        "extrapolation.reconstructions=[]",
        "scoring.ladder=[1.0]",
        "scoring.engines=1",
        f"scoring.max_model_len={context}",
        f"scoring.max_tokens={tokens}",
        f"scoring.protocols=[{{name:sampled,temperature:1.0,top_p:1.0,samples:{samples}}}]",
    )
    return {
        seeding: Command(trained.folder, (*common, f"scoring.seeding={seeding}"))
        for seeding in SEEDING
    }


def work(bench: Bench) -> list[Finding]:
    """Score base and last step in one engine, with the proof that the product makes of it."""
    found: list[Finding] = []
    for seeding, command in commands(bench).items():
        seconds = run(command)
        proof = _read(command, PROOF_FILE)
        engines = _read(command, TIMES_FILE)["engines"]
        answers, tokens, spent = (
            sum(each[name] for each in engines) for name in ("answers", "tokens", "generating")
        )
        scored = numbers(table(command, "scores"), "accuracy")
        label = f"a seed for each {seeding}"
        found += [
            holds(f"{label}: weights", proof["mode"], proof["mode"] == "in_place", "in_place"),
            noted(
                f"{label}: largest difference of a log-probability from a fresh load",
                proof["max_abs_diff"],
                "nats",
            ),
            holds(f"{label}: scored models x benchmarks", len(scored), len(scored) > 0, "above 0"),
            noted(f"{label}: answers", answers),
            noted(f"{label}: tokens a second", tokens / spent if spent else None),
            noted(f"{label}: generating", spent, "s"),
            noted(f"{label}: the stage", seconds, "s"),
        ]
    return found


def _read(command: Command, name: str) -> dict:
    return read_object(command.folder / "scores" / name, way_out="run the step again")
