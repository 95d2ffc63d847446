"""The table and the figure of cosines between runs, from rows that are known."""

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main as analysis
from analysis.ours import directions as page
from rlvr_dynamics.results.study import load_study
from tests.support.analysis_fixture import build_cells, set_config
from tests.support.figure_text import check_texts

ROW = {"module": "q_proj", "layer": 0, "d": 10_000, "noise_sd": 0.01, "dtype": "float32"}


def row(a, b, tensor, update, drift, reliability, identities):
    return {
        **{"run_a": a, "run_b": b, "identity_a": identities[a], "identity_b": identities[b]},
        **ROW,
        "tensor": tensor,
        "update_cosine": update,
        "drift_cosine": drift,
        **{f"{window}_reliability_a": reliability for window in ("update", "drift")},
        **{f"{window}_reliability_b": 4 * reliability for window in ("update", "drift")},
    }


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    """Three runs of one base that differ in their own seed, with rows for two of them."""
    runs = build_cells(tmp_path, 3)
    for seed, run in enumerate(runs):
        set_config(run, seed=seed, base_seed=0, model={"name": "tiny"})
    steps = [pd.read_parquet(run / "measure" / "checkpoints.parquet") for run in runs]
    names = [run.name for run in runs]
    identities = dict(zip(names, (table["identity"].iloc[-1] for table in steps), strict=True))
    (a, b), values = names[:2], [(0.1, 0.02, 0.2), (0.3, 0.04, 0.4), (0.005, 0.5, 0.01)]
    rows = [row(a, b, f"t{place}", *each, identities) for place, each in enumerate(values)]
    pd.DataFrame(rows).to_parquet(tmp_path / "directions.parquet")
    return runs


def test_a_pair_has_its_median_its_noise_and_its_ceiling(runs):
    study = load_study(runs)
    found = page.pairs(study)
    assert len(found) == 1
    pair = found.iloc[0]
    assert (pair["update"], pair["drift"], pair["tensors"]) == (0.1, 0.04, 3)
    assert (pair["beyond"], pair["noise"]) == (2, 0.01)  # 0.005 lies within 1.96 x 0.01
    assert pair["ceiling"] == pytest.approx(0.4)  # sqrt(0.2 x 0.8)
    # The third tensor's reliability is below the least: it is left out and counted.
    assert pair["of"] == 2 and pair["corrected"] == pytest.approx(0.05)
    (table,) = page.tables(study)
    assert table.frame is not None and list(table.frame["of"]) == ["2 of 3"]
    drawing = page.draw(study)
    check_texts({"directions": drawing.figure})
    assert drawing.figure is not None and drawing.cells == tuple(run.name for run in runs[:2])
    assert "seeds 0, 1 on base 0" in drawing.facts


def test_rows_of_weights_that_are_gone_are_left_out(runs, tmp_path):
    table = pd.read_parquet(tmp_path / "directions.parquet")
    table.loc[table["tensor"] == "t1", "identity_b"] = "trained before"
    table.to_parquet(tmp_path / "directions.parquet")
    assert page.pairs(load_study(runs)).iloc[0]["tensors"] == 2
    assert not len(page.pairs(load_study([runs[0], runs[2]])))  # the other run is not in the study
    (tmp_path / "directions.parquet").unlink()
    drawing, (empty,) = page.draw(load_study(runs)), page.tables(load_study(runs))
    assert drawing.figure is None and "experiments.directions" in drawing.missing == empty.missing


def test_labels_tell_the_seeds_apart(runs):
    study = load_study(runs)
    config = json.loads((runs[1] / "config.json").read_text())
    assert (config["seed"], config["base_seed"]) == (1, 0)
    labels = [cell.label for cell in study.cells]
    assert len(set(labels)) == 3 and any("seed 1 on base 0" in label for label in labels)
    assert {cell.base for cell in study.cells} == {("tiny", 0)}


def test_a_note_stands_at_the_head_of_the_page(runs, tmp_path):
    given = f"run_dirs=[{','.join(map(str, runs))}]"
    note = "Left out: rate 3e-4 (python -m experiments.study --wide)."
    assert analysis(["directions", given, f"out={tmp_path / 'out'}", f"note={note}"]) == 0
    assert note in (tmp_path / "out" / "index.html").read_text()
