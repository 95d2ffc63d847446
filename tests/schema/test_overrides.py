"""A command with other values of some keys, and values that are a number or a text."""

import pytest

from rlvr_dynamics.config import load
from rlvr_dynamics.schema.overrides import changed, key_of

COMMAND = "python -m rlvr_dynamics.run +exp=demo seed=0 'stages=[measure,score]' 'name=a b'"


@pytest.mark.parametrize(
    ("values", "tail"),
    [
        ({}, "+exp=demo seed=0 'stages=[measure,score]' 'name=a b'"),
        ({"stages": None}, "+exp=demo seed=0 'name=a b'"),
        ({"seed": 1, "run_dir": "x y"}, "+exp=demo seed=1 'stages=[measure,score]' 'name=a b'"),
        ({"reuse": None}, "+exp=demo seed=0 'stages=[measure,score]' 'name=a b'"),
    ],
)
def test_values_are_changed_in_place_added_or_left_out(values, tail):
    added = " 'run_dir=x y'" if "run_dir" in values else ""
    assert changed(COMMAND, values) == f"python -m rlvr_dynamics.run {tail}{added}"


@pytest.mark.parametrize("override", ["seed=1", "+seed=1", "~seed", "++seed=a=b"])
def test_the_key_of_an_override(override):
    assert key_of(override) == "seed"


@pytest.mark.parametrize(
    ("typed", "read"),
    [("2", 2), ("1.5", 1.5), ("1e-3", 1e-3), ("false", False), ("paper", "paper")],
)
def test_a_key_that_holds_numbers_or_text_reads_what_looks_like_either(typed, read):
    jump = ["acceleration=relex_once", "acceleration.method=alpharl"]
    found = load([*jump, f"+acceleration.parameters.some={typed}"]).acceleration
    assert found is not None
    assert found.parameters == {"some": read} and type(found.parameters["some"]) is type(read)
