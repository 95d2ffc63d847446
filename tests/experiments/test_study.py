"""The study: its cells are runs, its control has answers that say nothing."""

import pandas as pd
import pytest

from experiments import study
from rlvr_dynamics import config
from rlvr_dynamics.training.task_tables import shuffle_answers

DEFAULT, WIDE = study.study_cells(), study.study_cells(wide=True)


@pytest.mark.parametrize("cell", WIDE, ids=lambda cell: cell.name)
def test_every_cell_is_a_run(cell, tmp_path):
    loaded = config.load(cell.overrides(tmp_path))
    assert loaded.run_dir == str(tmp_path / cell.name)
    assert (loaded.algorithm.name, loaded.algorithm.learning_rate, loaded.seed) == (
        cell.algorithm,
        cell.learning_rate,
        cell.seed,
    )
    assert cell.preparation == (loaded.prepare_seed, loaded.data.shuffle_answers)
    assert loaded.data.reward == {"random": "random", "constant": "constant"}.get(
        cell.control, "exact"
    )
    assert loaded.algorithm.optimizer == ("sgd" if cell.optimizer == "sgd" else "adamw")
    assert loaded.algorithm.betas[0] == (0.0 if cell.optimizer == "beta1_0" else 0.9)


def test_the_study_has_what_its_tables_compare():
    """Names of cells that ran before, and every factor at least once on the first base."""
    names = [cell.name for cell in DEFAULT]
    assert set(names) == {
        *(f"grpo_lr{rate}_seed0" for rate in ("1e_5", "3e_5", "1e_4", "3e_4")),
        *("grpo_lr1e_5_seed1", "grpo_lr1e_4_seed1", "grpo_lr1e_5_base0_seed1"),
        *("rloo_lr1e_5_seed0", "grpo_lr1e_5_shuffled_seed0", "grpo_lr1e_5_random_seed0"),
    }
    (again,) = [cell for cell in DEFAULT if cell.donor]
    assert names.index(again.donor) < names.index(again.name)
    assert again.preparation == (0, False)


def test_the_wide_study_keeps_the_cells_that_are_there():
    names = [cell.name for cell in WIDE]
    assert WIDE[: len(DEFAULT)] == DEFAULT and len(set(names)) == len(names)
    assert {f"grpo_lr{rate}_seed2" for rate in ("1e_5", "3e_5", "1e_4", "3e_4")} < set(names)
    known = set(names)
    assert all(cell.donor in known for cell in WIDE if cell.donor)
    said = study.left_out(DEFAULT)
    for part in ("reinforce_pp", "sgd", "beta1_0", "constant", "base seed 2"):
        assert part in said
    assert f"{len(WIDE) - len(DEFAULT)} of the {len(WIDE)} runs" in said
    assert "Nothing" in study.left_out(WIDE)


def test_an_unknown_cell_is_refused_before_any_run(tmp_path, capsys):
    assert study.main(["grpo_lr1e_5_seed00", "--runs", str(tmp_path)]) == 2
    assert "did you mean grpo_lr1e_5_seed0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_list_names_every_cell_and_starts_nothing(tmp_path, capsys):
    assert study.main(["--list", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(DEFAULT)
    assert all(line.startswith("missing python -m") for line in lines)
    assert study.main(["--list", "--runs", str(tmp_path), "grpo_lr1e_3_sgd_seed0"]) == 2
    assert study.main(["--list", "--runs", str(tmp_path), WIDE[-1].name]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_base_is_made_once_and_a_direction_borrowed_once_it_is_there(tmp_path, capsys):
    first = DEFAULT[0]
    (tmp_path / first.name / "prepare").mkdir(parents=True)
    (tmp_path / first.name / "prepare" / "stage.json").write_text("{}")
    study.main(["--list", "--runs", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    reused = [line for line in lines if "reuse=" in line]
    # All of base 0 but the first itself and the control whose answers are shuffled.
    assert len(reused) == 6 and not any("shuffle_answers" in line for line in reused)
    assert any("seed=1 base_seed=0" in line for line in reused)
    assert not any("donor" in line for line in lines)
    (tmp_path / first.name / "scores").mkdir()
    study.main(["--list", "--runs", str(tmp_path)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "donor" in line]
    assert f"extrapolation.donor={tmp_path / first.name}" in line and "base0_seed1" in line


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
    ran = len(DEFAULT)
    assert (tmp_path / "called").read_text() == "x" * ran
    out = capsys.readouterr().out.splitlines()
    assert "Left out" in out[0] and out[-1] == out[0] and "hours on 2 cores" in out[0]
    monkeypatch.setenv("END", "interrupted")
    assert study.main(["--runs", str(tmp_path / "runs")]) == 75
    assert (tmp_path / "called").read_text() == "x" * (ran + 1)
    assert "goes on" in capsys.readouterr().err
    monkeypatch.setenv("END", "told")  # SIGTERM to the study alone reaches its run
    assert study.main(["--runs", str(tmp_path / "runs")]) == 75
    assert (tmp_path / "called").read_text() == "x" * (ran + 2)
