"""The demo predicts whatever a run predicts by default, and chooses AlphaRL's accuracy besides."""

from experiments.predictions import Predictions
from rlvr_dynamics import config


def triples(*overrides: str):
    made = config.load([*overrides]).extrapolation
    return Predictions.configured(made.model_dump(mode="json")).triples()


def test_the_demo_adds_one_method_to_the_usual_ones():
    more = triples("+exp=demo") - triples("+exp=demo", "extrapolation=default")
    assert more == {("alpharl_chosen", 0.4, 1.0)}
    assert not triples("+exp=demo", "extrapolation=default") - triples("+exp=demo")
    assert triples("+exp=demo_large_updates") == triples("+exp=demo")
