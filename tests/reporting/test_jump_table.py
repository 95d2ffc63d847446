"""The report's table of jumps, from the rows of the training metrics alone."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.jump_table import jump_table
from rlvr_dynamics.schema.tables.training import JUMPED
from rlvr_dynamics.training.jump_record import empty_record, metrics_of

SECONDS = {"search": 0.1, "validate": 1.0, "sync": 0.2, "sketch": 0.0, "total": 1.3}


def record(step, tried, **known):
    costs = {"seconds": SECONDS, "rollouts": 256 * bool(tried), "tokens": 900 * bool(tried)}
    return empty_record("anchor", step, 0) | {"walked": 0.5, "tried": tried} | costs | known


def candidate(factor, gain):
    return {"factor": factor, "gain": gain, "lower": gain - 0.05, "accepted": gain > 0}


def shown(records):
    rows = [
        {
            "step": step,
            "rollouts/answers": 64,
            **(metrics_of(records[step]) if step in records else {}),
        }
        for step in range(1, 9)
    ]
    return jump_table(SimpleNamespace(tables={"metrics": pd.DataFrame(rows)}))


def test_a_firing_has_one_row_with_its_decision_its_gain_and_its_cost():
    kept = record(
        2, [candidate(2.0, 0.2), candidate(4.0, -0.1)], accepted=True, factor=2.0, length=0.5
    )
    refused = record(4, [candidate(2.0, -0.1)])
    declined = record(6, [], backtest={"skill": -0.3})
    table = shown({2: kept, 4: refused, 6: declined})
    frame = table.frame
    assert frame["after step"].tolist() == [2, 4, 6]
    assert frame["decision"].tolist() == ["jumped", "taken back", "not tried"]
    assert frame["gain"].tolist()[:2] == [0.2, -0.1] and np.isnan(frame["gain"][2])
    assert frame["factor"].tolist()[0] == 2.0 and np.isnan(frame["factor"][1])
    assert frame["backtest_skill"][2] == -0.3
    assert frame["rollouts"].tolist() == [256, 256, 0]
    assert "1 of 3 firings jumped" in table.caption
    assert "512 answers, 100.0 % of the 512 of the training" in table.caption


def test_every_number_of_a_record_is_a_declared_column():
    full = record(2, [candidate(2.0, 0.2)], accepted=True, factor=2.0, length=0.5)
    numbers = metrics_of(full | {"backtest": {"skill": 0.5}})
    assert numbers.keys() == {column.name for column in JUMPED}


def test_a_run_without_jumps_says_so():
    assert shown({}).frame is None
    assert "no acceleration" in shown({}).missing
