"""Where does predictability end?"""

from rlvr_dynamics.schema import Method

from .question import Plan, Question
from .runs import TRAINED

TABLES = ("norms", "trajectory_svd", "linearity")
METHODS = (Method(name="relex"), Method(name="relex_raw"), Method(name="weight_extrapolation"))

QUESTION = Question(
    name="regimes",
    asks="Up to which relative size of the update (learning rate x steps) do forecasts beat the "
    "last checkpoint?",
    sources=("ours; in neither paper",),
    plans=(
        Plan(
            cells=TRAINED,
            windows=(0.1, 0.2, 0.3),
            methods=METHODS,
            ladder=(0.1, 0.2, 0.3, 1.0),
            tables=TABLES,
        ),
        Plan(
            cells=("demo", "demo_large_updates"),
            windows=(0.15, 0.3),
            methods=METHODS,
            ladder=(0.15, 0.3, 1.0),
            tables=TABLES,
        ),
    ),
    artefacts=("regime_map", "regimes", "clocks_figure", "clocks_over_rates", "no_signal"),
)
