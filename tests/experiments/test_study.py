"""The study: its cells are runs, its control has answers that say nothing."""

import pandas as pd
import pytest

from experiments import study
from rlvr_dynamics import config
from rlvr_dynamics.training.task_tables import shuffle_answers


@pytest.mark.parametrize("cell", study.study_cells(), ids=lambda cell: cell.name)
def test_every_cell_is_a_run(cell, tmp_path):
    loaded = config.load(cell.overrides(tmp_path))
    assert loaded.run_dir == str(tmp_path / cell.name)
    assert (loaded.algorithm.name, loaded.algorithm.learning_rate, loaded.seed) == (
        cell.algorithm,
        cell.learning_rate,
        cell.seed,
    )
    assert loaded.data.shuffle_answers is cell.shuffled


def test_the_study_covers_three_algorithms_two_rates_two_seeds_and_a_control():
    cells = study.study_cells()
    assert len({cell.name for cell in cells}) == len(cells) == 13
    facts = {(cell.algorithm, cell.learning_rate, cell.seed) for cell in cells if not cell.shuffled}
    assert len(facts) == 12
    assert [cell.name for cell in cells if cell.shuffled] == ["grpo_lr1e_5_shuffled_seed0"]


def test_more_seeds_and_rates_keep_the_cells_that_are_there():
    more = study.study_cells(3, [3e-5, 1e-5])
    assert set(study.study_cells()) < set(more) and len(more) == 13 + 2 + 3
    assert [cell.name for cell in more if cell.learning_rate == 3e-5] == [
        f"grpo_lr3e_5_seed{seed}" for seed in range(3)
    ]


def test_rates_that_are_near_have_folders_of_their_own():
    names = [cell.name for cell in study.study_cells(1, [3e-5, 3.2e-5])]
    assert {"grpo_lr3e_5_seed0", "grpo_lr3.2e_5_seed0"} < set(names) and len(set(names)) == 9


@pytest.mark.parametrize("rate", ["0", "nan", "inf", "-1e-5"])
def test_a_rate_that_is_none_is_refused_before_any_run(rate, tmp_path, capsys):
    assert study.main([f"--rates={rate}", "--runs", str(tmp_path)]) == 2
    assert "above 0" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_the_list_names_every_cell_and_starts_nothing(tmp_path, capsys):
    assert study.main(["--list", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13 and all(line.startswith("missing python -m") for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_a_base_is_made_once_a_seed(tmp_path, capsys):
    first = study.study_cells()[0]
    (tmp_path / first.name / "prepare").mkdir(parents=True)
    (tmp_path / first.name / "prepare" / "stage.json").write_text("{}")
    study.main(["--list", "--runs", str(tmp_path)])
    reused = [line for line in capsys.readouterr().out.splitlines() if "reuse=" in line]
    assert len(reused) == 5 and all("seed=0" in line for line in reused)
    assert not any("shuffle_answers" in line for line in reused)


def rows(answers):
    return pd.DataFrame(
        {
            "prompt": [[{"role": "user", "content": f"{index}="}] for index in range(len(answers))],
            "reward_model": [{"style": "rule", "ground_truth": answer} for answer in answers],
        }
    )


def test_shuffled_answers_are_the_same_answers_elsewhere(tmp_path):
    answers = [str(index % 40) for index in range(400)]
    table = tmp_path / "train.parquet"
    rows(answers).to_parquet(table)
    facts = shuffle_answers(table, seed=3)["shuffled_answers"]
    after = pd.read_parquet(table)
    found = [reward["ground_truth"] for reward in after["reward_model"]]
    assert sorted(found) == sorted(answers)
    assert [prompt[0]["content"] for prompt in after["prompt"]][:2] == ["0=", "1="]
    right = sum(one == other for one, other in zip(found, answers, strict=True)) / 400
    assert facts == {"still_right": right, "seed": 3}
    assert right < 0.1  # 1 in 40 by chance
    rows(answers).to_parquet(table)
    shuffle_answers(table, seed=3)
    assert [reward["ground_truth"] for reward in pd.read_parquet(table)["reward_model"]] == found


def test_a_killed_cell_does_not_stop_the_others_and_an_interrupted_one_does(
    tmp_path, monkeypatch, capsys
):
    place = tmp_path / "rlvr_dynamics"
    place.mkdir()
    (place / "__init__.py").touch()
    (place / "run.py").write_text(
        "import os, sys, pathlib, signal, time\n"
        f"log = pathlib.Path({str(tmp_path / 'called')!r})\n"
        "log.open('a').write('x')\n"
        "if os.environ['END'] == 'told':\n"
        "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "    os.kill(os.getppid(), signal.SIGTERM)\n"
        "    time.sleep(30)\n"
        "os.kill(os.getpid(), 9) if os.environ['END'] == 'killed' else sys.exit(75)\n"
    )
    monkeypatch.chdir(tmp_path)  # `python -m` looks here first, unless it is told not to
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setenv("END", "killed")
    assert study.main(["--runs", str(tmp_path / "runs")]) == 1
    assert (tmp_path / "called").read_text() == "x" * 13
    monkeypatch.setenv("END", "interrupted")
    assert study.main(["--runs", str(tmp_path / "runs")]) == 75
    assert (tmp_path / "called").read_text() == "x" * 14
    assert "goes on" in capsys.readouterr().err
    monkeypatch.setenv("END", "told")  # SIGTERM to the study alone reaches its run
    assert study.main(["--runs", str(tmp_path / "runs")]) == 75
    assert (tmp_path / "called").read_text() == "x" * 15
