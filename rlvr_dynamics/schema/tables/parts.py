"""Columns and texts shared by several tables."""

from dataclasses import dataclass

from rlvr_dynamics.schema.tables.column import Column, needed

A = "AlphaRL, arXiv 2510.00553"
B = "RELEX, arXiv 2605.21468"
STEP = needed("step", "step", "training step t of the checkpoint")
DTYPE = Column(
    "dtype", "name", "number format in which weights are read: the files', or `measure.round_to`"
)
DRAWS = Column("draws", "count", "draws behind the null")
SEED = Column("seed", "number", "seed of the null; every tensor draws its own stream from it")
STEPS_COUNT = Column("T", "count", "T, the number of steps in the trajectory")
TENSOR = (
    needed("tensor", "name", "name of the tensor in the checkpoint"),
    needed("module", "name", "module type, such as q_proj or embed_tokens"),
    needed("layer", "number", "index of the transformer block; missing outside the blocks"),
)
SHAPE = (
    Column("m", "count", "rows of the weight matrix (outputs)"),
    Column("n", "count", "columns of the weight matrix (inputs)"),
)


def null(
    prefix: str, what: str, source: str, *, required: tuple[str, ...] = ()
) -> tuple[Column, ...]:
    """Return the three columns of a null: its mean and the ends of its central 95 %."""
    ends = {
        "mean": f"mean of {what} over {source}",
        "low": f"2.5 % quantile of {what} over {source}",
        "high": f"97.5 % quantile of {what} over {source}",
    }
    return tuple(
        Column(f"{prefix}_{end}", "null", formula, required=end in required)
        for end, formula in ends.items()
    )


LINE_SCORES = ("r2", "heldout_r2", "loo_r2")
LAGS = (1, 10, 30, 60)


@dataclass(frozen=True)
class NullWalk:
    """A model of a run without signal, with the observed step norms and dimension.

    Attributes:
        prefix: Beginning of its columns; empty for the first one, whose names came earlier.
        words: What it is.
    """

    prefix: str
    words: str

    @property
    def of_variance(self) -> str:
        """Beginning of its columns about explained variance."""
        return f"{self.prefix}_null" if self.prefix else "null"

    def of_score(self, score: str) -> str:
        """Beginning of its columns about a score of the line."""
        return f"{self.prefix}_{score}_null" if self.prefix else f"{score}_null"


NULL_WALKS = {
    "walk": NullWalk("", "random walks with the same step norms and dimension d"),
    "optimizer": NullWalk(
        "optimizer", "the steps of the run's optimizer on noise, with the same step norms and d"
    ),
    "drift": NullWalk(
        "optimizer_drift",
        "the optimizer's steps on noise and one constant drift of the share "
        "`optimizer_drift_share`, with the same step norms and d",
    ),
}


FUNCTION_NULLS = {
    "walk": NullWalk(
        "null_",
        "random walks of the observed increments: all tokens' increments between two checkpoints "
        "get one random sign",
    ),
    "optimizer": NullWalk(
        "optimizer_null_",
        "the same, with the correlation between steps that the run's optimizer gives to noise; "
        "only with checkpoints at even steps from the base on",
    ),
}
