"""The declarations of tables and columns: complete, and each name once."""

from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.schema import STAGES
from rlvr_dynamics.schema.tables import BEHAVIOUR, TABLES


def test_every_column_says_what_it_is_and_where_it_is_from():
    for table in (*TABLES.values(), *BEHAVIOUR.values()):
        assert len(set(table.names)) == len(table.names), table.name
        for column in table.columns:
            assert all((column.kind, column.formula, column.source)), (table.name, column.name)


def test_tables_are_in_the_order_of_their_stages():
    stages = list(dict.fromkeys(table.stage for table in TABLES.values()))
    assert stages == [stage for stage in STAGES if stage in stages]


def test_what_a_table_lacks_is_what_readers_need():
    norms = TABLES["norms"]
    assert norms.lacking(norms.names) == []
    assert norms.lacking(["step", "tensor", "module", "layer", "update_norm"]) == [
        "relative_update"
    ]
    assert norms.lacking(set(norms.names) - {"changed_share"}) == []


def test_readers_load_every_table(tmp_path):
    assert set(load_results(tmp_path).tables) == set(TABLES)
