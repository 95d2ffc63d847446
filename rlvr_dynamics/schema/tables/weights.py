"""Columns of measure/weight_lines.parquet: lines through single weights. Data only.

Legend: W_t one weight at step t, W_0 its base; P points, base and checkpoints.
"""

from rlvr_dynamics.schema.tables.column import Column, needed, table
from rlvr_dynamics.schema.tables.parts import DRAWS, DTYPE, NULL_WALKS, SEED, null

L = "arXiv 2601.04537"
LINEAR_R2 = 0.7
"""The R² above which the paper calls a weight linear."""
PAPERS_MOVE, PAPERS_VALUES = 1e-4, 4
"""The paper's code keeps weights whose range exceeds the first and that take so many values."""
SELECTIONS = {
    "all": "every sampled weight that changed",
    "paper": f"those whose range over the run exceeds {PAPERS_MOVE:g} and that take at least "
    f"{PAPERS_VALUES} values",
    "half": "those whose range exceeds the median range of all sampled weights",
}
WEIGHT_NULLS = {
    "walk": "walks of the weights' own increments, each with a random sign; selected in the same "
    "way",
    "optimizer": "the same, with the correlation between steps that the run's optimizer gives to "
    "noise; only with checkpoints at even steps from the base on",
}
LINEAR_SCORES = {
    "kept_share": Column(
        "kept_share", "share", "weights that the selection keeps, of those sampled"
    ),
    "r2": Column(
        "r2", "R²", "median over them of R² of W_t on the clock, in sample", f"{L}, fig. 2"
    ),
    "above_share": Column("above_share", "share", f"share of them with R² > {LINEAR_R2}", L),
    "heldout_r2": Column(
        "heldout_r2",
        "R²",
        "median over them of R² on the second half of the points, of the line "
        "fitted to the first half",
    ),
}

TABLES = (
    table(
        "measure/weight_lines.parquet",
        "measure",
        Column(
            "clock",
            "name",
            "the positions of the points, as in `linearity`, the base at 0: `step`, `path` (of the "
            "weight's own tensor) or `optimizer`",
        ),
        needed(
            "selection",
            "name",
            "; ".join(f"`{name}`: {words}" for name, words in SELECTIONS.items()),
            f"{L}, its code",
        ),
        Column("points", "count", "P, base and checkpoints"),
        Column("tensors", "count", "tensors sampled: all but biases that are on this clock"),
        Column(
            "sampled",
            "count",
            "weights sampled: min(500, max(50, 0.1 %)) of each tensor, the same in every run; each "
            "counts as many times as the paper's max(50, 0.1 %) is larger",
            f"{L}, its code",
        ),
        Column("largest", "weight", "largest range of a sampled weight, max − min over the points"),
        needed("weights", "count", "sampled weights that the selection keeps and that changed"),
        *LINEAR_SCORES.values(),
        Column("r2_low", "R²", "lower quartile of R² over them, which is a spread"),
        Column("r2_high", "R²", "upper quartile of the same"),
        *(
            column
            for score in LINEAR_SCORES
            for walk, words in WEIGHT_NULLS.items()
            for column in null(NULL_WALKS[walk].of_score(score), score, words)
        ),
        DRAWS,
        SEED,
        DTYPE,
    ),
)
