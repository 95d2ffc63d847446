"""The tables of a study hold the accuracies that its runs' answers give, by method and window."""

import numpy as np
import pandas as pd
import pytest

from analysis.registry import find
from rlvr_dynamics.results.study import load_study
from tests.support.irregular_run import write_run
from tests.support.irregular_weights import FINAL, WINDOWS
from tests.support.ledger_reference import Accuracies, Stored, gain, points, ratio

REAL = f"step_{FINAL}"
NAMES = ("alpharl_table_3", "alpharl_table_5", "alpharl_table_6", "alpharl_table_7")
NAMES += ("alpharl_table_8", "relex_main", "relex_out_of_domain", "relex_baselines")
NAMES += ("relex_ablation", "relex_oracle", "relex_far_extrapolation")
READABLE = {
    "RELEX": "relex",
    "per-weight line": "relex_raw",
    "RELEX, rank 5": "relex_rank5",
    "RELEX, polynomial": "relex_polynomial",
    "RELEX, neural network": "neural",
    "two-point line": "weight_extrapolation",
    "ExPO": "expo",
    "AlphaRL": "alpharl",
    "line of the last two": "momentum",
    "first update, scaled": "first_update",
    "last observed checkpoint": "hold_last",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Stored:
    return Stored(write_run(tmp_path_factory.mktemp("study") / "run"))


@pytest.fixture(scope="module")
def tables(run) -> dict[str, pd.DataFrame]:
    study = load_study([run.folder])
    built = [table for name in NAMES for table in find(name).make(study)]
    return {table.name: table.frame for table in built}


def model(method: str, share: float, step: int = FINAL) -> str:
    observe = round(share * FINAL)
    return (
        f"step_{observe}" if method == "hold_last" else f"{method}__observe_{observe}__step_{step}"
    )


def mean(run: Stored, name: str, *splits: str) -> float:
    benchmarks = [each for split in splits for each in run.benchmarks(split)]
    return float(np.mean([run.accuracy(name, each) for each in benchmarks]))


def test_accuracy_by_share_of_the_training(run, tables):
    both = ("in_domain", "out_of_domain")
    frame = tables["alpharl_table_3_here"].set_index(["method", "share"])
    assert frame.index.is_unique
    for observe in (*WINDOWS, FINAL):
        share = observe / FINAL
        for method, name in (("real checkpoint", f"step_{observe}"), ("AlphaRL", None)):
            if (method, share) not in frame.index:
                assert observe in (30, FINAL)  # no share of the paper's, or its end
                continue
            row = frame.loc[(method, share)]
            wanted = name or model("alpharl", share)
            assert row["average"] == pytest.approx(mean(run, wanted, *both))
            assert row["n"] == 300 and row["speed-up"] == pytest.approx(1 / share)
            for benchmark in ("sums", "chains", "products"):
                accuracy = run.accuracy(wanted, benchmark)
                assert row[benchmark.capitalize()] == pytest.approx(accuracy)
    base = frame.loc[("base", 0.0)]
    assert base["average"] == pytest.approx(mean(run, "base", *both))


def test_what_alpharl_keeps(run, tables):
    frame = tables["alpharl_table_3_retention"].query("cell == 'run' and method == 'AlphaRL'")
    frame = frame[frame["benchmarks"] == "in domain"].set_index("share")
    for observe in (10, 20, 40, 60, 80):
        row, own = frame.loc[observe / FINAL], model("alpharl", observe / FINAL)
        held = f"step_{observe}"
        found = [row[name] for name in ("kept", "checkpoint", "advantage", "gain")]
        wanted = [
            Accuracies(ratio, (own, REAL)),
            Accuracies(ratio, (held, REAL)),
            Accuracies(points, (own, held)),
            Accuracies(gain, (own, REAL, "base")),
        ]
        assert found == pytest.approx([each.value(run) for each in wanted])


@pytest.mark.parametrize(("number", "split"), [(5, "in_domain"), (6, "out_of_domain")])
def test_stages_of_the_training(run, tables, number, split):
    frame = tables[f"alpharl_table_{number}_here"].set_index("share")
    for step in (40, 80, FINAL):
        if step / FINAL not in frame.index:
            continue
        row = frame.loc[step / FINAL]
        assert row["checkpoint"] == pytest.approx(mean(run, f"step_{step}", split))
        for kind, name in (("rank-1", "rank1_recovery"), ("random update", "random_update")):
            there = f"{name}__step_{step}" in set(run.scores["model"])
            wanted = mean(run, f"{name}__step_{step}", split) if there else np.nan
            assert row[kind] == pytest.approx(wanted, nan_ok=True)
        if step < FINAL:
            own = mean(run, model("alpharl", step / FINAL), split)
            assert row["AlphaRL"] == pytest.approx(own)
            assert row["AlphaRL / end"] == pytest.approx(own / mean(run, REAL, split))
    assert set(frame.index) >= {0.4, 1.0}


def test_size_of_the_update_over_matrices(run, tables):
    (row,) = tables["alpharl_table_7_here"].to_dict("records")
    shares = run.table("rank_shares", step=FINAL)
    inside = set(shares["tensor"])
    norms = run.table("norms", step=FINAL).set_index("tensor")
    norms = norms[[name in inside for name in norms.index]]
    assert row["matrices"] == len(norms) == 21
    assert row["mean norm"] == pytest.approx(norms["update_norm"].mean())
    assert row["relative norm"] == pytest.approx(norms["relative_update"].mean())
    for rank, title in (("1", "rank-1 share"), ("1%", "rank-1 % share")):
        rows = shares[(shares["rank"] == rank) & shares["norm_share"].notna()]
        weight = norms.loc[rows["tensor"], "update_norm"]
        assert row[title] == pytest.approx(rows["norm_share"].mean())
        assert row[f"{title} null"] == pytest.approx(rows["norm_share_null"].mean())
        sums = np.average(rows["norm_share"], weights=weight)
        assert row[f"{title} of sums"] == pytest.approx(sums)


def test_leading_directions_beside_two_controls(run, tables):
    frame = tables["alpharl_table_8_here"].set_index("method")
    names = {"rank-1 update, rescaled (uses the future)": "rank1_recovery"}
    names |= {f"rank-{k} % update, rescaled": f"recovery_{k}_percent" for k in (1, 10, 90)}
    base, full, random = (
        mean(run, name, "in_domain") for name in ("base", REAL, f"random_update__{REAL}")
    )
    for shown, method in names.items():
        own = mean(run, f"{method}__{REAL}", "in_domain")
        row = frame.loc[shown]
        found = [row[name] for name in ("accuracy", "ratio", "gain", "random update", "base")]
        wanted = [own, own / full, (own - base) / (full - base), random / full, base / full]
        assert found == pytest.approx(wanted)


def test_relex_beside_the_held_and_the_real_checkpoint(run, tables):
    for name, split in (
        ("relex_main_here", "in_domain"),
        ("relex_out_of_domain_here", "out_of_domain"),
    ):
        frame = tables[name]
        frame = frame[frame["protocol"] == "sampled"].set_index("method")
        value = "accuracy" if split == "in_domain" else "mean"
        real, held = mean(run, REAL, split), mean(run, "step_30", split)
        for shown, model_ in (
            ("base", "base"),
            ("real checkpoint", REAL),
            ("last observed checkpoint", "step_30"),
            ("RELEX", model("relex", 0.15)),
        ):
            row, own = frame.loc[shown], mean(run, model_, split)
            assert row[value] == pytest.approx(own)
            gap = np.nan if model_ == REAL else 100 * (own - real)
            assert row["vs real"] == pytest.approx(gap, nan_ok=True)
            if shown == "RELEX":
                assert row["vs held"] == pytest.approx(100 * (own - held))
                assert row["share"] == 0.15


def test_other_extrapolations_of_the_same_window(run, tables):
    frame = tables["relex_baselines_here"].set_index("method")
    over = tables["relex_baselines_runs"].set_index("method")
    real, held = (mean(run, name, "in_domain") for name in (REAL, "step_30"))
    forecast = run.table("forecast", observe=30, step=FINAL)
    for shown in set(READABLE) & set(frame.index):
        method = READABLE[shown]
        own, row = mean(run, model(method, 0.15), "in_domain"), frame.loc[shown]
        assert row["accuracy"] == pytest.approx(own)
        if method != "hold_last":
            assert [row["vs real"], row["vs held"]] == pytest.approx(
                [100 * (own - real), 100 * (own - held)]
            )
            found = [over.loc[shown, name] for name in ("held", "real")]
            assert found == pytest.approx([100 * (own - held), 100 * (own - real)])
        rows = forecast[(forecast["method"] == method) & (forecast["skill"] != 0)]
        wanted = rows["skill"].median() if len(rows) else np.nan
        assert row["skill"] == pytest.approx(wanted, nan_ok=True) or method == "hold_last"


def test_ablation_at_every_window(run, tables):
    frame = tables["relex_ablation_here"].set_index(["method", "share", "target"])
    for shown in ("RELEX, rank 5", "RELEX, polynomial", "RELEX, neural network", "per-weight line"):
        for observe in WINDOWS:
            row = frame.loc[(shown, observe / FINAL, 1.0)]
            own = mean(run, model(READABLE[shown], observe / FINAL), "in_domain")
            plain = mean(run, model("relex", observe / FINAL), "in_domain")
            assert row["accuracy"] == pytest.approx(own)
            assert row["gap"] == pytest.approx(100 * (own - plain))


def test_reconstructions_beside_their_checkpoints(run, tables):
    frame = tables["relex_oracle_here"].set_index(["method", "step"])
    for step in (40, 110, FINAL):
        for rank in (1, 5):
            row = frame.loc[(f"trajectory rank-{rank}, oracle", step)]
            cosines = run.table("oracle", rank=rank, step=step)["cosine"].dropna()
            expected = [cosines.median(), cosines.min()]
            assert [row["cosine"], row["lowest"]] == pytest.approx(expected)
        row = frame.loc[("trajectory rank-1, oracle", step)]
        own, real = (
            mean(run, name, "in_domain")
            for name in (f"trajectory_oracle__step_{step}", f"step_{step}")
        )
        found = [row["accuracy"], row["real"], row["gap"]]
        assert found == pytest.approx([own, real, 100 * (own - real)])


def test_far_beyond_the_training(run, tables):
    frame = tables["relex_far_extrapolation_here"].set_index(["share", "target"])
    real = mean(run, REAL, "in_domain")
    for observe in (30, 60):
        held = mean(run, f"step_{observe}", "in_domain")
        for step in (FINAL, 250, 320):
            row = frame.loc[(observe / FINAL, step / FINAL)]
            own = mean(run, model("relex", observe / FINAL, step), "in_domain")
            found = [row[name] for name in ("accuracy", "last observed", "real", "factor")]
            assert found == pytest.approx([own, held, real, step / observe])
            gaps = [100 * (own - held), 100 * (own - real)]
            assert [row["vs held"], row["vs real"]] == pytest.approx(gaps)
