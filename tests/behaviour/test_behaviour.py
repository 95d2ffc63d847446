"""The behaviour of a trained model under its base, on tiny random models built here."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file, save_file

from analysis.registry import find
from rlvr_dynamics import config
from rlvr_dynamics.behaviour import statistics
from rlvr_dynamics.behaviour.embeddings import shift_table
from rlvr_dynamics.behaviour.job import Job, prefix_lengths
from rlvr_dynamics.behaviour.measure import measure
from rlvr_dynamics.behaviour.reading import read
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow import stages
from rlvr_dynamics.flow.behaviour import job_of
from rlvr_dynamics.reporting.figure_style import save, style
from rlvr_dynamics.results.study import Study, load_study
from rlvr_dynamics.run import main
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema.tables import BEHAVIOUR
from rlvr_dynamics.scoring.decoding import Answer, cut, decode
from rlvr_dynamics.scoring.local_model import load
from rlvr_dynamics.scoring.prompts import prompt_facts
from rlvr_dynamics.system.atomic import write_sealed_json
from rlvr_dynamics.system.sealed import digest
from tests.support.behaviour_fixture import STOP_ID, N, build, write_questions
from tests.support.reporting_fixture import build_run

NAMES = ("tokens", "summary", "embeddings", "prefix")
FIGURES = ("5b", "12a", "12b", "12c", "14")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("behaviour")
    for name, seed in (("base", 0), ("trained", 1), ("rank1", 2), ("random", 3)):
        build(root / name, seed)
    shutil.copytree(root / "base", root / "twin")
    write_questions(root / "sums.parquet")
    return root


def job(place: Path, out: Path, trained: str = "trained", **changes) -> Job:
    models = {"base": place / "base", "trained": place / trained}
    models |= changes.pop("more", {})
    settings = {"max_new_tokens": 12, "draws": 200, "device": "cpu", "batch": 4}
    return Job(models=models, questions=place / "sums.parquet", out=out, **(settings | changes))


def tables(out: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_parquet(out / f"{name}.parquet") for name in NAMES}


@pytest.fixture(scope="module")
def out(place: Path) -> Path:
    folder = place / "out"
    more = {"rank1_recovery": place / "rank1", "random_update": place / "random"}
    measure(job(place, folder, more=more), lambda line: None)
    return folder


def metric(summary: pd.DataFrame, name: str, writer: str, reader: str | None) -> pd.Series:
    rows = summary[(summary["metric"] == name) & (summary["writer"] == writer)]
    rows = rows[rows["reader"].isna() if reader is None else rows["reader"] == reader]
    assert len(rows) == 1
    return rows.iloc[0]


# The numbers of a model


def test_reading_agrees_with_one_pass_per_answer_by_hand(place: Path) -> None:
    folder = place / "base"
    prompt = prompt_facts(folder, job(place, place).put())
    runnable = load(folder, "float32", "cpu", prompt)
    prompts = [[5, 20, 21], [4], [6, 30, 31, 32, 33]]
    answers = [[22, 23], [9, 8, 7, 6, STOP_ID], [12]]
    found = read(runnable, prompts, answers, label="test", logit_bytes=1 << 14)
    for question, answer, reading in zip(prompts, answers, found, strict=True):
        with torch.inference_mode():
            logits = runnable.model(torch.tensor([question + answer])).logits[0].double()
        logs = logits.log_softmax(dim=1)
        begin = len(question) - 1
        by_hand = [float(logs[begin + at, token]) for at, token in enumerate(answer)]
        np.testing.assert_allclose(reading.log_probs, by_hand, rtol=0, atol=1e-5)
        likely = logits[begin : begin + len(answer)].argmax(dim=1).tolist()
        assert reading.greedy.tolist() == likely


def test_greedy_is_the_argmax_token_by_token(place: Path) -> None:
    folder = place / "trained"
    runnable = load(folder, "float32", "cpu", prompt_facts(folder, job(place, place).put()))
    prompts, room = [[5, 20, 21], [4], [6, 30, 31, 32, 33, 34]], [9, 4, 6]
    found = decode(runnable, prompts, room, batch=2, label="test")
    for question, most, answer in zip(prompts, room, found, strict=True):
        text = list(question)
        while len(text) - len(question) < most and text[-1] != STOP_ID:
            with torch.inference_mode():
                text.append(int(runnable.model(torch.tensor([text])).logits[0, -1].argmax()))
        assert list(answer.tokens) == text[len(question) :]
        assert answer.finish == ("stop" if text[-1] == STOP_ID else "length")


def test_an_answer_ends_at_its_stop_token_or_at_its_limit() -> None:
    assert cut([5, 6, 2, 0, 0], 5, (2,)) == Answer((5, 6, 2), "stop")
    assert cut([5, 6, 2], 2, (2,)) == Answer((5, 6), "length")
    assert cut([2, 2], 4, (2,)) == Answer((2,), "stop")


def test_a_repetition_penalty_of_the_model_does_not_reach_greedy_decoding(
    place: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "penalised"
    shutil.copytree(place / "trained", folder)
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"repetition_penalty": 50.0}))
    prompt = prompt_facts(folder, job(place, tmp_path).put())
    asked = ([[5, 20, 21], [4]], [12, 12])
    plain, penalised = (
        decode(load(each, "float32", "cpu", prompt), *asked, batch=2, label="test")
        for each in (place / "trained", folder)
    )
    assert plain == penalised
    assert any(len(set(answer.tokens)) < len(answer.tokens) for answer in plain), "none repeats"


# Statistics in closed form


def test_perplexity_by_hand() -> None:
    # Two answers whose tokens have probability 1/2 (three tokens) and 1/8 (one token).
    logs = np.array([3 * np.log(0.5), np.log(0.125)])
    found = statistics.perplexity(logs, np.array([3.0, 1.0]), draws=500, seed=0)
    assert found.value == pytest.approx(2 ** (6 / 4))
    # Drawn twice the same answer: 2 and 8 are the farthest a resample can go.
    assert found.low == pytest.approx(2.0)
    assert found.high == pytest.approx(8.0)


def test_share_by_hand_with_the_bootstrap_over_answers() -> None:
    found = statistics.share(np.array([1.0, 3.0]), np.array([4.0, 4.0]), draws=500, seed=0)
    assert found == pytest.approx((0.5, 0.25, 0.75))


def test_no_hit_at_all_has_an_upper_end_that_shrinks_with_the_answers() -> None:
    ends = []
    for n in (10, 1000):
        found = statistics.share(np.zeros(n), np.full(n, 20.0), draws=100, seed=0)
        assert found.value == found.low == 0
        ends.append(found.high)
    assert 0 < ends[1] < ends[0] < 0.05
    every = statistics.share(np.full(10, 20.0), np.full(10, 20.0), draws=100, seed=0)
    assert (every.value, every.high) == (1, 1)
    assert every.low == pytest.approx(1 - ends[0])


def test_nothing_written_is_not_measured() -> None:
    empty = np.empty(0)
    assert np.isnan(statistics.share(empty, empty, draws=100, seed=0).value)
    assert np.isnan(statistics.perplexity(empty, empty, draws=100, seed=0).value)


def test_positions_of_hits_against_positions_of_all_tokens() -> None:
    lengths = np.array([2, 4])
    assert statistics.relative_positions(lengths).tolist() == [
        *(0.25, 0.75),
        *(0.125, 0.375, 0.625, 0.875),
    ]
    hits = np.array([True, False, True, False, False, True])
    found = statistics.position_histogram(hits, lengths, draws=300, seed=0, bins=2)
    assert [part[0].value for part in found] == pytest.approx([2 / 3, 1 / 3])
    assert [part[1] for part in found] == [0.5, 0.5]
    assert found[0][0].low == pytest.approx(0.5)  # the second answer alone
    assert found[0][0].high == pytest.approx(1.0)  # the first alone
    nothing = statistics.position_histogram(~hits & hits, lengths, draws=100, seed=0, bins=2)
    assert all(np.isnan(part[0].value) and part[1] == 0.5 for part in nothing)


def test_shift_of_embeddings_by_hand() -> None:
    before = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0], [1.0, 0.0, 0.0]])
    after = before + np.array([[3.0, 4.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 0.0]])
    table = shift_table(before, after, np.array([True, True, False]))
    assert table["relative_shift"].tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert table["cosine"][:1].tolist() == pytest.approx([1.0])
    assert table["common"][:2].tolist() == pytest.approx([1.0, 1.0])
    assert table["x"].isna().tolist() == [False, False, True]
    # Four points in three dimensions: two axes cannot show more than all of the variance.
    assert 0.9 < table["x_explained"][0] + table["y_explained"][0] <= 1 + 1e-12
    moved = np.hypot(table["x"] - table["x_base"], table["y"] - table["y_base"])[:2]
    assert (moved <= table["shift_norm"][:2] + 1e-9).all()
    assert moved[0] > 0.9 * table["shift_norm"][0]


def test_prefix_lengths_double_until_the_longest_answer_is_used_up() -> None:
    assert prefix_lengths(None, 100) == [0, 1, 2, 5, 10, 20, 40, 80]
    assert prefix_lengths(None, 80) == [0, 1, 2, 5, 10, 20, 40]
    assert prefix_lengths(None, 4) == [0, 1, 2]
    assert prefix_lengths((0, 7, 30), 20) == [0, 7]


# Whole jobs


def test_a_model_that_is_its_base_agrees_with_it_everywhere(place: Path, tmp_path: Path) -> None:
    measure(job(place, tmp_path / "twin", "twin"), lambda line: None)
    found = tables(tmp_path / "twin")
    summary = found["summary"]
    for writer in ("base", "trained"):
        share = metric(summary, "non_greedy_share", writer, "base")
        assert (share["value"], share["low"], share["non_greedy_tokens"]) == (0, 0, 0)
        assert share["answers"] == N
    ours, own = (metric(summary, "perplexity", who, "base") for who in ("trained", "base"))
    assert ours["value"] == own["value"] > 1
    assert (found["embeddings"]["shift_norm"] == 0).all()
    prefix = found["prefix"]
    assert (prefix["accuracy"] == metric(summary, "accuracy", "base", None)["value"]).all()
    assert prefix["gap_closed"].isna().all()


def test_tables_say_the_same_thing(out: Path) -> None:
    found = tables(out)
    for name, table in found.items():
        assert list(table.columns) == BEHAVIOUR[name].names, name
    tokens, summary = found["tokens"], found["summary"]
    pairs = {
        (row["reader"], row["writer"]) for row in tokens[["reader", "writer"]].to_dict("records")
    }
    roles = ("base", "trained", "rank1_recovery", "random_update")
    others = {("rank1_recovery", "trained"), ("random_update", "trained")}
    assert pairs == {("base", role) for role in roles} | others
    for reader, writer in pairs:
        rows = tokens[(tokens["reader"] == reader) & (tokens["writer"] == writer)]
        share = metric(summary, "non_greedy_share", writer, reader)
        assert share["value"] == pytest.approx((rows["token"] != rows["greedy_token"]).mean())
        assert share["tokens"] == len(rows)
        surprise = metric(summary, "perplexity", writer, reader)["value"]
        assert surprise == pytest.approx(np.exp(-rows["log_prob"].mean()))
        parts = summary[
            (summary["metric"] == "non_greedy_position")
            & (summary["reader"] == reader)
            & (summary["writer"] == writer)
        ]
        assert len(parts) == 10
        # The middle of a token in tenths of its answer, in whole numbers.
        place = (2 * rows["position"] + 1) * 10 // (2 * rows["length"])
        counts = np.bincount(place, minlength=10)
        assert parts["null"].tolist() == pytest.approx((counts / len(rows)).tolist())
        hits = np.bincount(place[rows["token"] != rows["greedy_token"]], minlength=10)
        if share["non_greedy_tokens"]:
            assert parts["value"].tolist() == pytest.approx((hits / hits.sum()).tolist())
    # Unrelated random models disagree nearly everywhere: the share is not 0 by a mistake.
    assert metric(summary, "non_greedy_share", "trained", "base")["value"] > 0.5


def test_embeddings_are_those_on_disk(place: Path, out: Path) -> None:
    name = "model.embed_tokens.weight"
    before, after = (
        load_file(place / each / "model.safetensors")[name].double() for each in ("base", "trained")
    )
    table = tables(out)["embeddings"]
    mine = table[table["model"] == "trained"]
    rows = mine["token"].tolist()
    shift = (after - before)[rows].norm(dim=1)
    np.testing.assert_allclose(mine["shift_norm"], shift, rtol=1e-12)
    written = set(tables(out)["tokens"].query("writer == 'trained'")["token"])
    assert set(mine[mine["used"]]["token"]) == written
    assert mine["tied"].all()


def test_an_untied_head_is_compared_too(place: Path, tmp_path: Path) -> None:
    root = tmp_path / "untied"
    for name, seed in (("base", 0), ("trained", 1)):
        build(root / name, seed, tied=False)
    write_questions(root / "sums.parquet")
    measure(job(root, root / "out"), lambda line: None)
    table = tables(root / "out")["embeddings"]
    assert set(table["matrix"]) == {"input", "output"}
    assert not table["tied"].any()
    head = load_file(root / "base" / "model.safetensors")["lm_head.weight"]
    output = table[table["matrix"] == "output"]
    np.testing.assert_allclose(
        output["base_norm"], head[output["token"].tolist()].double().norm(dim=1), rtol=1e-6
    )


def test_the_base_goes_on_from_the_prefix(place: Path, out: Path) -> None:
    answers = pd.read_parquet(out / ".parts" / "answers__trained.parquet")
    led = pd.read_parquet(out / ".parts" / "prefix__trained__5.parquet")
    folder = place / "base"
    runnable = load(folder, "float32", "cpu", prompt_facts(folder, job(place, place).put()))
    tokenizer = runnable.tokenizer
    questions = pd.read_parquet(place / "sums.parquet")["prompt"]
    went_on = 0
    for question, whole, found in zip(
        questions, answers["tokens"], led.to_dict("records"), strict=True
    ):
        begin, result = list(map(int, whole[:5])), list(map(int, found["tokens"]))
        if len(whole) <= 5:
            assert result == list(whole) and not found["continued"]
            continue
        went_on += 1
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer.encode(text, add_special_tokens=False) + begin
        more = decode(runnable, [ids], [12 - 5], batch=1, label="test")[0]
        assert result == [*begin, *more.tokens]
    assert 0 < went_on < N


def test_what_is_there_stays_and_what_is_missing_is_made(place: Path, tmp_path: Path) -> None:
    folder, said = tmp_path / "out", []
    measure(job(place, folder), said.append)
    assert "answers trained" in said
    first = {name: (folder / f"{name}.parquet").read_bytes() for name in NAMES}
    said.clear()
    measure(job(place, folder), said.append)
    assert not said
    (folder / "prefix.parquet").unlink()
    (folder / ".parts" / "reading__base__base.parquet").unlink()
    measure(job(place, folder), said.append)
    assert said == ["reading base base"]
    assert {name: (folder / f"{name}.parquet").read_bytes() for name in NAMES} == first
    said.clear()
    measure(job(place, folder, max_new_tokens=11), said.append)
    assert "answers trained" in said


def test_an_interrupted_run_goes_on_and_leaves_no_half_table(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    begun: list[str] = []

    def stop_at_the_fourth(line: str) -> None:
        if len(begun) == 3:
            raise KeyboardInterrupt
        begun.append(line)

    with pytest.raises(KeyboardInterrupt):
        measure(job(place, folder), stop_at_the_fourth)
    assert not list(folder.glob("*.parquet"))
    said: list[str] = []
    measure(job(place, folder), said.append)
    assert begun and not set(begun) & set(said)
    measure(job(place, tmp_path / "whole"), said.append)
    for name in NAMES:
        one, other = (each / f"{name}.parquet" for each in (folder, tmp_path / "whole"))
        assert one.read_bytes() == other.read_bytes()


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Path:
    """Checkpoints of somebody else, and benchmarks that were prepared for them."""
    shutil.copytree(place / "base", tmp_path / "base")
    for step, name in ((1, "rank1"), (2, "trained")):
        shutil.copytree(place / name, tmp_path / "steps" / f"step_{step}")
    folder = tmp_path / "run"
    write_questions(folder / "prepare" / "benchmarks" / "a_far.parquet", "out_of_domain")
    write_questions(folder / "prepare" / "benchmarks" / "sums.parquet")
    write_record(folder, "prepare")
    return folder


def arguments(run: Path, *more: str) -> list[str]:
    given = {"source.base": run.parent / "base", "source.checkpoints": run.parent / "steps"}
    short = ("scoring.max_model_len=64", "scoring.max_tokens=9", "report.bootstrap_draws=100")
    return [
        "+exp=trajectory",
        *(f"{name}={value}" for name, value in given.items()),
        *(f"run_dir={run}", "stages=[behaviour]", "seed=5", "wandb.mode=disabled", *short, *more),
    ]


def write_record(run: Path, name: str) -> None:
    """A stage that is finished with the configuration of now."""
    stage = next(stage for stage in stages.ALL if stage.name == name)
    material = stage.material(config.load(arguments(run)), {})
    record = {"key": digest(material), "material": material, "identity": name, "seconds": 1.0}
    write_sealed_json(run / FOLDERS[name] / "stage.json", {**record, "finished": True})


def chosen(run: Path, *more: str) -> Job:
    return job_of(Run(config.load(arguments(run, *more)), run), run / "behaviour")


def test_a_run_names_its_own_models_and_puts_questions_as_its_scoring(run: Path) -> None:
    found = chosen(run)
    assert found.models == {"base": run.parent / "base", "trained": run.parent / "steps" / "step_2"}
    assert found.questions.name == "sums.parquet"
    assert (found.max_new_tokens, found.context, found.seed) == (9, 64, 5)
    path = "predictions/rank1_recovery/step_{}"
    index = [
        {"method": "rank1_recovery", "step": step, "path": path.format(step)} for step in (1, 2)
    ]
    (run / "predictions").mkdir()
    pd.DataFrame(index).to_parquet(run / "predictions" / "index.parquet")
    assert chosen(run).models["rank1_recovery"] == run / path.format(2)
    other = ("behaviour.benchmark=a_far", "behaviour.limit=2", "behaviour.dtype=bfloat16")
    asked = chosen(run, *other)
    assert (asked.questions.name, asked.limit, asked.dtype) == ("a_far.parquet", 2, "bfloat16")


def test_the_stage_is_done_once_and_again_where_it_is_asked_otherwise(run: Path, capsys) -> None:
    few = ("behaviour.limit=3", "behaviour.device=cpu")
    assert main(arguments(run, *few)) == 0
    summary = pd.read_parquet(run / "behaviour" / "summary.parquet")
    assert metric(summary, "non_greedy_share", "trained", "base")["answers"] == 3
    capsys.readouterr()
    assert main(arguments(run, *few, "behaviour.batch=2")) == 0
    assert "behaviour    done" in capsys.readouterr().out
    assert main(arguments(run, "behaviour.limit=4", "behaviour.device=cpu")) == 0
    assert len(pd.read_parquet(run / "behaviour" / "tokens.parquet")["question_id"].unique()) == 4


def test_a_run_without_the_stage_is_as_it_was_before_there_was_one(run: Path) -> None:
    usual = config.load(arguments(run, "stages=[measure,report]"))
    report = next(stage for stage in stages.ALL if stage.name == "report")
    without = report.material(usual, {"measure": "m"})
    assert without == report.material(usual, {"measure": "m", "another": "x"})
    assert report.material(usual, {"measure": "m", "behaviour": "b"}) != without


# Bad input


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("behaviour.limit=few", "behaviour.limit"),
        ("behaviour.limit=0", "behaviour.limit"),
        ("behaviour.guide_tokens=[5,10]", "behaviour.guide_tokens"),
        ("behaviour.dtype=int8", "behaviour.dtype"),
        ("behaviour.benchmark=poems", "one of a_far, sums"),
        ("behaviour.speed=1", "behaviour.speed"),
    ],
)
def test_a_mistake_is_named_and_ends_with_2(run, capsys, given, words) -> None:
    assert main(arguments(run, given)) == 2
    assert words in capsys.readouterr().err
    assert not list((run / "behaviour").glob("*.parquet"))


def test_without_benchmarks_in_domain_the_stage_says_what_to_name(run, capsys) -> None:
    (run / "prepare" / "benchmarks" / "sums.parquet").unlink()
    assert main(arguments(run)) == 2
    assert "behaviour.benchmark=a_far" in capsys.readouterr().err


def test_damaged_or_foreign_models_are_refused(place: Path, tmp_path: Path) -> None:
    def spoilt(name: str) -> Path:
        shutil.copytree(place / "trained", tmp_path / name)
        return tmp_path / name

    def refused(folder: Path, words: str) -> None:
        wrong = Job(
            models={"base": place / "base", "trained": folder},
            questions=place / "sums.parquet",
            out=tmp_path / "out",
            max_new_tokens=4,
            device="cpu",
        )
        with pytest.raises(UserError, match=words):
            measure(wrong, lambda line: None)
        assert not (tmp_path / "out" / "tokens.parquet").exists()

    short = spoilt("short")
    with (short / "model.safetensors").open("r+b") as file:
        file.truncate(5000)
    refused(short, "truncated|header")
    pickled = spoilt("pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    refused(pickled, "only safetensors")
    broken = spoilt("broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    refused(broken, "not finite")
    other = spoilt("other")
    (other / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    refused(other, "chat templates")
    foreign = spoilt("foreign")
    file = foreign / "tokenizer.json"
    file.write_text(file.read_text().replace('"user"', '"User"'))
    refused(foreign, "different tokens")


def test_a_prompt_that_fills_the_context_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fills the context"):
        measure(job(place, tmp_path / "out", context=8), lambda line: None)


# Figures


def figure_of(number: str):
    return find(f"alpharl_figure_{number}").make


def study_of(tmp_path: Path, out: Path | None) -> Study:
    run = build_run(tmp_path / "run")
    if out is not None:
        shutil.copytree(out, run / "behaviour")
    return load_study([run])


@pytest.mark.parametrize("number", FIGURES)
def test_a_figure_of_what_was_not_measured_says_what_writes_it(tmp_path, number) -> None:
    drawing = figure_of(number)(study_of(tmp_path, None))
    assert drawing.figure is None
    assert "stages=[behaviour,report]" in drawing.missing


def test_figures_show_the_numbers_of_the_tables(tmp_path: Path, out: Path) -> None:
    study = study_of(tmp_path, out)
    found = tables(out)
    with style():
        drawings = {number: figure_of(number)(study) for number in FIGURES}
    for drawing in drawings.values():
        assert drawing.figure is not None
        assert drawing.cells == ("run",)
        assert "seed 0" in drawing.facts
    assert f"n = {N} answers" in drawings["12a"].facts
    share = metric(found["summary"], "non_greedy_share", "trained", "base")["value"]
    assert any(x == pytest.approx(100 * share) for x in drawn_x(drawings["12a"].figure))
    surprise = metric(found["summary"], "perplexity", "trained", "base")["value"]
    assert any(x == pytest.approx(surprise) for x in drawn_x(drawings["12b"].figure))
    shifts = found["embeddings"].query("model == 'trained' and used")["relative_shift"]
    assert any(x == pytest.approx(100 * shifts.median()) for x in drawn_x(drawings["5b"].figure))


def drawn_x(figure: Figure) -> list[float]:
    """Where single marks stand on the horizontal axis."""
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return [float(line.get_xdata()[0]) for line in lines if len(line.get_xdata()) == 1]


def test_a_figure_has_the_same_bytes_twice(tmp_path: Path, out: Path) -> None:
    study = study_of(tmp_path, out)
    for number in ("5b", "12c"):
        pictures = []
        for place in ("one", "two"):
            (tmp_path / place).mkdir(exist_ok=True)
            with style():
                drawing = figure_of(number)(study)
                assert drawing.figure is not None
                save(drawing.figure, tmp_path / place, number)
            pictures.append((tmp_path / place / f"{number}.pdf").read_bytes())
        assert pictures[0] == pictures[1]


def test_a_table_that_lacks_columns_is_refused(tmp_path: Path, out: Path) -> None:
    study = study_of(tmp_path, out)
    path = study.cells[0].results.run_dir / "behaviour" / "prefix.parquet"
    pd.read_parquet(path).drop(columns="accuracy").to_parquet(path)
    with pytest.raises(UserError, match="lacks accuracy"):
        figure_of("14")(study)


def test_naming_the_figures_and_the_command_loads_no_torch() -> None:
    modules = ("behaviour_readings", "behaviour_places", "embeddings")
    names = ", ".join(f"analysis.alpharl.{module}" for module in modules)
    code = f"import sys, rlvr_dynamics.run, {names}; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
