"""A file is taken as it is only if it is whole and was made from what it would be made from now."""

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.system.keyed import (
    facts_of,
    is_made_from,
    keyed,
    read_arrays,
    stored_or_made,
    write_arrays,
    write_table,
)
from tests.support.flips import flip

TABLE = pd.DataFrame({"a": [1, 2, 3]})


def asked(path, material, made):
    def make():
        made.append(material)
        return TABLE * len(made)

    return stored_or_made(path, material, make)


def test_a_table_is_made_once_for_each_material(tmp_path):
    path, made = tmp_path / "part.parquet", []
    first = asked(path, {"seed": 1, "k": [1, 2]}, made)
    assert asked(path, {"k": [1, 2], "seed": 1}, made).equals(first)
    assert len(made) == 1
    assert asked(path, {"seed": 2, "k": [1, 2]}, made)["a"].tolist() == [2, 4, 6]
    assert len(made) == 2
    assert is_made_from(facts_of(path), {"seed": 2, "k": [1, 2]})


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "foreign"])
def test_a_damaged_table_counts_as_absent(tmp_path, damage, capsys):
    path, made = tmp_path / "part.parquet", []
    asked(path, "material", made)
    if damage == "flip":
        flip(path, 8 * 40, True)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "gone":
        path.unlink()
    else:
        TABLE.to_parquet(path)
    assert facts_of(path) == {}
    assert asked(path, "material", made)["a"].tolist() == [2, 4, 6]
    assert ("damaged, made again" in capsys.readouterr().out) == (damage == "flip")


def test_equal_content_and_facts_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_table(tmp_path / name, TABLE, keyed({"b": 1, "a": 2}) | {"seed": 0})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_arrays_come_back_with_their_facts_or_not_at_all(tmp_path):
    path = tmp_path / "arrays.safetensors"
    assert read_arrays(path) is None
    write_arrays(path, {"x": np.arange(4.0)}, {"version": "2", "base": "abc"})
    found = read_arrays(path)
    assert found is not None
    arrays, facts = found
    assert arrays["x"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert facts == {"version": "2", "base": "abc"}
    flip(path, 8 * (path.stat().st_size - 1), True)
    assert read_arrays(path) is None
