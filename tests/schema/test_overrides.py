"""A command with other values of some keys."""

import pytest

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
