"""Every table of a run's report sums up the stored tables as numpy does."""

import math

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.claims.ledger import ledger_of_run
from rlvr_dynamics.reporting.method_scores import answers_in_words, final_accuracy
from rlvr_dynamics.reporting.summaries import table_artefacts
from rlvr_dynamics.results.run import load_results
from tests.support.irregular_run import write_run
from tests.support.irregular_weights import FINAL, RANKS, SHAPES, WINDOWS
from tests.support.ledger_reference import Stored

REAL = f"step_{FINAL}"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Stored:
    return Stored(write_run(tmp_path_factory.mktemp("tables") / "run"))


@pytest.fixture(scope="module")
def tables(run) -> dict[str, pd.DataFrame]:
    results = load_results(run.folder)
    built = [
        table
        for artefact in table_artefacts(ledger_of_run(results))
        for table in artefact.make(results)
    ]
    return {table.name: table.frame for table in built}


def q(share: float):
    return lambda values: np.quantile(values, share)


def column(name: str, of=np.mean):
    """A statistic of the known values of a column."""
    return lambda rows: float(of(rows[name].dropna()))


def above(name: str, *bounds: str):
    """Share of the tensors above all of the bounds, of those that have all."""

    def of(rows: pd.DataFrame) -> float:
        known = rows.dropna(subset=[name, *bounds])
        return float((known[name] > known[list(bounds)].max(axis=1)).mean())

    return of


def more_than(name: str, cut: float):
    return lambda rows: float((rows[name].dropna() > cut).mean())


def sums(rows: pd.DataFrame) -> float:
    return rows["sigma"].sum() / rows["frobenius"].sum()


def used(rows: pd.DataFrame) -> float:
    return float((rows["numerical_rank"] / rows[["m", "n"]].min(axis=1)).median())


COUNT = len
LINE = {"r2": "R²", "loo_r2": "left-out R²", "heldout_r2": "held-out R²"}
SUMMARIES = {
    "update_norms": (
        ("norms", {"step": FINAL}),
        {
            "tensors": column("update_norm", COUNT),
            "mean ‖ΔW‖": column("update_norm"),
            "median ‖ΔW‖/‖W‖": column("relative_update", np.median),
            "highest ‖ΔW‖/‖W‖": column("relative_update", max),
            "median changed": column("changed_share", np.median),
            "lowest changed": column("changed_share", min),
            "median changed in one step": column("step_changed_share", np.median),
        },
    ),
    "rank1_share": (
        ("update_svd", {"step": FINAL, "index": 1}),
        {
            "matrices": column("norm_share", COUNT),
            "mean": column("norm_share"),
            "Gaussian null": column("norm_share_null"),
            "median": column("norm_share", np.median),
            "lowest": column("norm_share", min),
            "highest": column("norm_share", max),
            "ratio of sums": sums,
            "mean norm": column("frobenius"),
        },
    ),
    "update_rank": (
        ("update_rank", {"step": FINAL}),
        {
            "matrices": column("stable_rank", COUNT),
            "stable rank": column("stable_rank", np.median),
            "null stable rank": column("stable_rank_null", np.median),
            "effective rank": column("effective_rank", np.median),
            "null effective rank": column("effective_rank_null", np.median),
            "numerical rank share": used,
            "cosine left": column("base_cosine_left", np.median),
            "null left": column("base_cosine_left_null", np.median),
            "cosine right": column("base_cosine_right", np.median),
            "null right": column("base_cosine_right_null", np.median),
        },
    ),
    "pls_summary": (
        ("pls", {}),
        {
            "matrices": column("r2", COUNT),
            "checkpoints": column("T", max),
            "mean R²": column("r2"),
            "lowest R²": column("r2", min),
            "permuted, mean": column("r2_null_mean"),
            "permuted, 97.5 %": column("r2_null_high"),
            "random walk, mean": column("r2_walk_mean"),
            "random walk, 97.5 %": column("r2_walk_high"),
            "beyond both": above("r2", "r2_null_high", "r2_walk_high"),
            "median leave-one-out R²": column("loo_r2", np.median),
            "ceiling": column("r2_ceiling"),
            "corrected R²": column("r2_corrected"),
            "step number": column("step_r2"),
            "partial R²": column("partial_r2"),
        },
    ),
    "trajectory_summary": (
        ("trajectory_svd", {"index": 1}),
        {
            "tensors": column("explained_variance", COUNT),
            "mean": column("explained_variance"),
            "lowest": column("explained_variance", min),
            "median": column("explained_variance", np.median),
            "highest": column("explained_variance", max),
            "above null": above("explained_variance", "null_high"),
        },
    ),
    "linearity_summary": (
        ("linearity", {}),
        {
            "tensors": len,
            **{f"median {name}": column(key, np.median) for key, name in LINE.items()},
            **{f"{name} > 0.98": more_than(key, 0.98) for key, name in LINE.items()},
            **{
                f"{name}, random walk": column(f"{key}_null_mean", np.median)
                for key, name in LINE.items()
            },
            **{
                f"{name}, permuted": column(f"{key}_permuted_mean", np.median)
                for key, name in LINE.items()
            },
        },
    ),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_summaries_by_module(run, tables, name):
    (table, where), columns = SUMMARIES[name]
    rows, frame = run.table(table, **where), tables[name].set_index("module")
    modules = [module for module in frame.index if module != "all"]
    assert [module for module in modules if module in SHAPES] == list(SHAPES)
    assert set(modules) == set(rows["module"])
    for module in frame.index:
        here = rows if module == "all" else rows[rows["module"] == module]
        expected = {title: of(here) if len(here) else np.nan for title, of in columns.items()}
        assert frame.loc[module, list(columns)].to_dict() == pytest.approx(expected, nan_ok=True)


def test_both_clocks_stand_beside_every_null(run, tables):
    frame = tables["clocks"].set_index("trajectory")
    first = run.table("trajectory_svd", index=1)
    for row, prefix in (("the run", ""), ("null: optimizer's noise", "optimizer_")):
        variance = f"{prefix}null_mean" if prefix else "explained_variance"
        expected = {"explained variance": first[variance].median()}
        for clock, words in (("step", "training step"), ("path", "length of the path")):
            lines = run.table("linearity", clock=clock)
            for score, name in (("r2", "R²"), ("heldout_r2", "held-out R²")):
                column = f"{prefix}{score}_null_mean" if prefix else score
                expected[f"{name}, {words}"] = lines[column].median() if len(lines) else np.nan
        assert frame.loc[row, list(expected)].to_dict() == pytest.approx(expected, nan_ok=True)


def test_a_null_is_that_of_the_tensors_beside_it(run, tables):
    rows = run.table("trajectory_svd", index=1)
    rows = rows[rows["explained_variance"].notna()]
    frame = tables["trajectory_summary"].set_index("module")
    assert frame.loc["all", "null mean"] == pytest.approx(rows["null_mean"].mean())


def test_shares_of_ranks(run, tables):
    frame = tables["rank_shares"].set_index("rank")
    assert list(frame.index) == list(RANKS)
    for rank in RANKS:
        rows = run.table("rank_shares", step=FINAL, rank=rank)
        share, row = rows["norm_share"].dropna(), frame.loc[rank]
        found = row[["mean", "lower quartile", "upper quartile", "null mean"]].tolist()
        null = rows["norm_share_null"].mean()
        ends = np.quantile(share, [0.25, 0.75])
        assert found == pytest.approx([share.mean(), *ends, null])
        assert row["matrices"] == len(share)
        assert row["k"] == "–".join(dict.fromkeys([str(rows["k"].min()), str(rows["k"].max())]))


def test_reconstruction(run, tables):
    frame = tables["oracle"].set_index("directions")
    for rank in (1, 3, 5):
        rows = run.table("oracle", rank=rank)
        for step in (10, 30, 60, FINAL):  # the first, and those after a quarter and half of them
            here = rows.loc[rows["step"] == step, "cosine"].dropna()
            assert frame.loc[rank, f"step {step}"] == pytest.approx(here.median())
        assert frame.loc[rank, "lowest at the end"] == pytest.approx(here.min())
        assert frame.loc[rank, "tensors"] == 23
    assert [name for name in frame if name.startswith("step")] == [
        "step 10", "step 30", "step 60", f"step {FINAL}",
    ]  # fmt: skip


def ends_of(text: str) -> list[float]:
    return [float(end.replace("−", "-")) for end in text.strip("[]").split(",")]


def test_forecasts(run, tables):
    frame = tables["forecast_skill"].set_index(["observe", "step", "method"])
    names = {"RELEX": "relex", "two-point line": "weight_extrapolation"}
    names["line of the last two"] = "momentum"
    for observe in WINDOWS:
        for step in (160, FINAL):
            for name, method in names.items():
                rows = run.table("forecast", observe=observe, step=step, method=method)
                rows = rows[rows["skill"] != 0]  # kept as last observed: no forecast
                skill, row = rows["skill"].dropna(), frame.loc[(observe, step, name)]
                assert row["median skill"] == pytest.approx(skill.median())
                assert row["skill > 0"] == f"{(skill > 0).sum()} of {len(skill)}"
                assert row["median cosine"] == pytest.approx(rows["cosine"].median())
                ratio = rows["magnitude_ratio"].median()
                assert row["median magnitude ratio"] == pytest.approx(ratio)
                ends = skill.quantile([0.25, 0.75]).tolist()
                assert list(ends_of(row["quartiles"])) == pytest.approx(ends, abs=6e-4)


def test_recovery_of_the_final_model(run, tables):
    frame = tables["recovery"]
    methods = {
        "rank-1 update, rescaled (uses the future)": "rank1_recovery",
        "random update, same norm (uses the future)": "random_update",
        "RELEX": "relex",
    }
    for benchmark, title in (("sums", "Sums"), ("chains", "Chains"), ("products", "Products")):
        for name, method in methods.items():
            rows = frame[(frame["benchmark"] == title) & (frame["method"] == name)]
            models = run.table("scores", method=method, benchmark=benchmark, protocol="sampled")
            assert len(rows) == len(models)
            for row in rows.to_dict("records"):
                where = (models["step"] == row["step"]) & (
                    models["observe"].isna()
                    if math.isnan(row["observe"])
                    else models["observe"] == row["observe"]
                )
                (model,) = models.loc[where, "model"]
                own, full, base = (run.accuracy(m, benchmark) for m in (model, REAL, "base"))
                found = [row[key] for key in ("accuracy", "full", "base", "ratio", "gain share")]
                gain = (own - base) / (full - base)
                assert found == pytest.approx([own, full, base, own / full, gain])
                assert row["n"] == run.answers([model], benchmark).shape[1]
                low, high = ends_of(row["ratio interval"])
                assert low < own / full < high
                low, high = ends_of(row["gain share interval"])
                assert low < gain < high and high - low > 0.05


def test_methods_at_the_final_step(run, tables):
    frame = tables["methods"].set_index("method")
    stated = final_accuracy(load_results(run.folder))
    assert set(stated.loc[stated["method"] == "real", "model"]) == {REAL}  # no earlier checkpoint
    for split, title in (("in_domain", "in domain"), ("out_of_domain", "out of domain")):
        benchmarks = run.benchmarks(split)
        cells = {("base", "no window"): "base", ("real checkpoint", "no window"): REAL}
        for observe in WINDOWS:
            cells["RELEX", f"step {observe}"] = f"relex__observe_{observe}__{REAL}"
            cells["last observed checkpoint", f"step {observe}"] = f"step_{observe}"
        for (name, window), model in cells.items():
            accuracy = np.mean([run.accuracy(model, each) for each in benchmarks])
            shown = str(frame.loc[name, f"{title}, {window}"])
            assert float(shown.split(" %")[0]) == pytest.approx(100 * accuracy, abs=0.051)


def test_the_best_method_of_each_window(run, tables):
    frame = tables["best"].set_index(["split", "observe"])
    scores = run.table("scores", protocol="sampled", step=FINAL)
    scores = scores[scores["observe"].notna()]
    for split, title in (("in_domain", "in domain"), ("out_of_domain", "out of domain")):
        here = scores[scores["split"] == split]
        means = here.groupby(["observe", "method"])["accuracy"].mean()
        for observe in WINDOWS:
            row = frame.loc[(title, observe)]
            best = means.loc[observe]
            names = load_results(run.folder)
            assert row["method"] == names.method_name(best.idxmax())
            held = np.mean(
                [run.accuracy(f"step_{observe}", each) for each in run.benchmarks(split)]
            )
            found = [row["accuracy"], row["held"], row["points"]]
            assert found == pytest.approx([best.max(), held, 100 * (best.max() - held)])
            assert row["methods"] == (16 if observe == 80 else 14)
            assert row["n"] == (180 if split == "in_domain" else 120)
            own, corrected = ends_of(row["own interval"]), ends_of(row["corrected interval"])
            assert corrected[0] < own[0] < row["points"] < own[1] < corrected[1]


def test_accuracies_at_a_glance(run, tables):
    frame = tables["accuracy"].set_index(["method", "observe", "step"])
    scores = run.table("scores", protocol="sampled")
    for row in scores[scores["method"].isin(["relex", "real", "alpharl"])].to_dict("records"):
        name = {"relex": "RELEX", "real": "real checkpoint", "alpharl": "AlphaRL"}[row["method"]]
        key = (name, row["observe"], row["step"])
        shown = str(
            frame.loc[key, row["title"]]
            if not math.isnan(row["observe"])
            else frame.xs((name, row["step"]), level=("method", "step"))[row["title"]].iloc[0]
        )
        low, high = (round(100 * row[end], 0) for end in ("ci_low", "ci_high"))
        assert shown.startswith(f"{100 * row['accuracy']:.1f} % [{low:.0f}, {high:.0f}]")
        whole = row["questions"] * row["samples"]
        assert f"cut off {100 * row['truncated'] / whole:.1f} %" in shown
        assert f"no answer {100 * row['no_answer'] / whole:.1f} %" in shown


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        (["sampled", "sampled"], "sampled answers"),
        (["sampled", "greedy"], "sampled answers in domain and greedy answers out of domain"),
    ],
)
def test_how_answers_were_drawn_is_said_for_each_split(drawn, words):
    frame = pd.DataFrame({"split": ["in_domain", "out_of_domain"], "protocol": drawn})
    assert answers_in_words(frame) == words
