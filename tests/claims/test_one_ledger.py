"""A run's ledger is that of a study of one; a claim is one entry."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.claims import ledger
from rlvr_dynamics.claims.claim import Claim, Threshold
from rlvr_dynamics.claims.judge import HOLDS, INCONCLUSIVE, NOT_MEASURED
from rlvr_dynamics.claims.measures import over_tensors, table
from rlvr_dynamics.results.formatting import DASH
from rlvr_dynamics.results.study import load_study
from tests.support.irregular_run import write_run
from tests.support.ledger_outputs import by_run, run_ledger, study_ledger
from tests.support.levels_run import write_levels
from tests.support.reporting_fixture import ACCURACY, build_run
from tests.support.study_settings import configure

FLAT = {**ACCURACY, "step_20": ACCURACY["base"]}
DISTILLED = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
MAKE = {
    "built": lambda place: build_run(place),
    "control": lambda place: configure(build_run(place), shuffled=True),
    "flat": lambda place: configure(build_run(place, FLAT)),
    "distilled": lambda place: configure(build_run(place), repo=DISTILLED),
    "irregular": lambda place: write_run(place, uneven=True, report={"bootstrap_draws": 150}),
    "levels": lambda place: write_levels(place, {"base": 1200, "step_200": 3200}, {}),
}


@pytest.fixture(scope="module", params=MAKE)
def run(request, tmp_path_factory) -> Path:
    return MAKE[request.param](tmp_path_factory.mktemp("runs") / request.param)


def test_a_run_says_what_a_study_of_it_alone_says(run, tmp_path):
    alone = run_ledger(run)
    alone.to_csv(tmp_path / "alone.csv")
    written = pd.read_csv(tmp_path / "alone.csv").set_index("id")
    pd.testing.assert_frame_equal(written, study_ledger([run], tmp_path / "out"), rtol=1e-9)
    rows = by_run([run]).set_index("id")
    measured = alone[alone["ours"].notna()]
    assert list(rows.index) == list(measured.index)
    assert rows["verdict"].equals(measured["verdict"]) and rows["note"].equals(measured["note"])


def test_low_ranks_are_no_finding_about_adapters_and_the_label_says_so(tmp_path):
    made = build_run(tmp_path / "run")
    shares = [claim for claim in ledger.CLAIMS if claim.id in ("A6", "A6p")]
    assert len(shares) == 2
    (whole,) = load_study([made]).cells
    assert all(claim.fits(whole) for claim in shares)
    (adapted,) = load_study([configure(made, lora={"rank": 4, "alpha": 8})]).cells
    assert not any(claim.fits(adapted) for claim in shares)
    assert adapted.algorithm == "grpo (LoRA, rank 4, alpha 8)"


def test_a_note_gives_greedy_answers_in_the_unit_of_the_claim(run):
    points = {claim.id: claim.threshold.unit == "points" for claim in ledger.CLAIMS}
    noted = run_ledger(run)["note"].str.extract(r"greedy: (\S+) ")[0].dropna()
    for name, shown in noted[noted != DASH].items():
        pattern = r"[+−]?\d+\.\d" if points[name] else r"−?\d+\.\d{3}"
        assert re.fullmatch(pattern, shown), (name, shown)


def test_without_a_gain_nothing_about_accuracy_holds_or_fails(run):
    claims = run_ledger(run)
    if claims.loc["P0", "verdict"] in (HOLDS, NOT_MEASURED):
        return
    about = claims.loc[[claim.id for claim in ledger.CLAIMS if claim.needs_gain]]
    assert set(about["verdict"]) <= {INCONCLUSIVE, NOT_MEASURED}
    measured = about[about["verdict"] == INCONCLUSIVE]
    assert len(measured) and measured["note"].str.contains("no gain to recover").all()


def test_a_control_alone_is_what_its_ledger_is_about(tmp_path):
    control = MAKE["control"](tmp_path / "control")
    claims = run_ledger(control)
    assert claims.loc["B1", "ours"] == pytest.approx(
        run_ledger(MAKE["built"](tmp_path / "plain")).loc["B1", "ours"]
    )
    assert claims["control"].isna().all()
    measured = claims[(claims["kind"] == "measured here") & claims["ours"].notna()]
    assert measured["note"].str.contains("this is a control run itself").all()


def test_a_claim_is_one_entry(tmp_path, monkeypatch):
    mine = Claim(
        "F0",
        "ours",
        "Updates are short.",
        "ours",
        "median over tensors of 1 − ‖ΔW‖/‖W‖ at the last step",
        Threshold(">", -1),
        needs="needs the measure stage",
        measure=over_tensors(
            table("norms", last=True), "relative_update", statistic=np.median, unit="tensors"
        ),
    )
    monkeypatch.setattr(ledger, "CLAIMS", (*ledger.CLAIMS, mine))
    run = build_run(tmp_path / "run")
    norms = pd.read_parquet(run / "measure" / "norms.parquet")
    row = run_ledger(run).loc["F0"]
    last = norms[norms["step"] == norms["step"].max()]
    assert row["ours"] == pytest.approx(last["relative_update"].median())
    assert row["verdict"] == HOLDS and row["threshold"] == "> −1"
