"""Is a real language model what the papers say, and more than its optimizer writes by itself?"""

from .question import Plan, Question
from .runs import AS

RATES = ("1e-6", "3e-6", "1e-5")
TRAINED = tuple(f"grpo_smollm2_135m-lr{rate}" for rate in RATES)
READ_AGAIN = tuple(f"{cell}{AS}bfloat16" for cell in TRAINED)
TABLES = ("norms", "trajectory_svd", "linearity", "checkpoints")

QUESTION = Question(
    name="real_model",
    asks="Does the papers' picture hold for a real language model in the papers' regime, is it "
    "more than the optimizer writes by itself, and how much of it is the files' dtype?",
    sources=(
        "ours; arXiv 2510.00553, section 2; arXiv 2605.21468, sections on rank and linearity",
    ),
    plans=(Plan(cells=TRAINED, tables=TABLES), Plan(cells=READ_AGAIN, tables=TABLES)),
    artefacts=("dtypes",),
    note="SmolLM2-135M on the CPU, at the papers' learning rate, 3 and 10 times it. -lr names the "
    "rate. A cell that ends in -as-bfloat16 reads the float32 checkpoints of the cell before it "
    "rounded to bfloat16: nothing is trained or copied.",
)
