"""The acceleration bench: its arms are runs, and its default takes under an hour and a half."""

import pytest

from experiments import acceleration
from experiments.arms import ALL, ARMS, DEFAULT, STEPS, arm_cells
from rlvr_dynamics import config
from rlvr_dynamics.flow.acceleration import check_acceleration
from rlvr_dynamics.results.arms import arm_of
from rlvr_dynamics.run_directory.configuration import RecordedConfig

EVERY = arm_cells([ALL])
KINDS = {
    "two_passes": "passes",
    "restart": "restart",
    "rolled_back": "rolled_back",
    "random": "random",
    "effopd": "line_search",
    "momentum": "momentum",
    "gated": "gated",
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    return {cell.name: (cell, config.load(cell.overrides(place))) for cell in EVERY}


def test_every_cell_is_a_run_of_the_bench(loaded):
    for name, (cell, found) in loaded.items():
        assert found.name == name and found.trainer.steps == STEPS, name
        assert found.algorithm.learning_rate == cell.learning_rate
        assert (found.prepare_seed, found.seed) == (0, 0)
        ladder = [share * STEPS for share in found.scoring.ladder]
        assert ladder == pytest.approx(range(5, STEPS + 1, 5), abs=0.01)
        check_acceleration(found)


def test_every_arm_is_known_by_what_it_does(loaded):
    found = {}
    for cell, run in loaded.values():
        recorded = RecordedConfig.model_validate(run.model_dump(mode="json"))
        arm = arm_of(recorded)
        name = cell.arm.name
        wanted = KINDS.get(name) or ("plain" if not cell.arm.overrides else name.split("_")[0])
        assert arm.kind == wanted, name
        found.setdefault((arm, cell.learning_rate), []).append(name)
    assert all(len(names) == 1 for names in found.values()), found
    words = [arm.words for arm, rate in found if rate == 1e-5]
    assert len(set(words)) == len(words)


def test_the_shares_of_the_papers_are_steps(loaded):
    def at(name):
        return loaded[f"{name}_lr1e_5_seed0"][1].acceleration

    assert at("alpharl_10").when.steps == (6,) and at("alpharl_40").when.steps == (24,)
    assert at("relex_15").when.steps == (9,) and at("relex_15_path").clock == "path"
    # 150 of 400 steps, and the change over the next 50.
    assert (at("next").when.steps, at("next").how_far.horizon) == ((22,), 8)
    assert at("regrounding_5_25").how_far.factor == 6 and at("regrounding_5_25").when.every == 5


def test_the_default_takes_under_an_hour_and_a_half_by_its_own_estimate():
    assert len(arm_cells()) * acceleration.MINUTES < 90
    assert set(DEFAULT) < set(ARMS)
    names = [cell.name for cell in arm_cells()]
    assert {f"plain_lr{rate}_seed0" for rate in ("1e_5", "3e_5", "1e_4", "3e_4")} < set(names)
    assert "85 minutes" in acceleration.cost(arm_cells())
    said = acceleration.left_out(arm_cells())
    assert "rolled_back" in said and "gated" not in said.partition("Left out")[2]
    assert "no arm" in acceleration.left_out(EVERY)


def test_rates_and_seeds_multiply_arms_and_plain_runs_are_shared():
    cells = arm_cells(["plain", "plain_x3", "plain_x10", "gated"], (1e-5, 1e-4), (0, 1))
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names) == 2 * (5 + 2)
    assert {f"plain_lr{rate}_seed1" for rate in ("1e_5", "3e_5", "1e_4", "3e_4", "1e_3")} < set(
        names
    )
    assert names.index("gated_lr1e_4_seed0") < names.index("plain_lr1e_5_seed1")


def test_the_command_lists_prices_and_refuses(tmp_path, capsys):
    given = ["--runs", str(tmp_path)]
    assert acceleration.main(["--list", *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(arm_cells())
    assert all(line.startswith("missing python -m rlvr_dynamics.run") for line in lines)
    assert acceleration.main(["--list", "--arms", "gated", "--rates", "1e-4,3e-4", *given]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert acceleration.main(["--list", "rolled_back_lr1e_5_seed0", *given]) == 0
    assert "roll_back=always" in capsys.readouterr().out
    for wrong, words in (
        (["--arms", "gatd"], "did you mean gated"),
        (["--rates", "fast"], "allowed: a number between 0 and 1"),
        (["--seeds", "-1"], "allowed: 0, 1, 2"),
        (["gated_lr1e_6_seed0"], "no cell of the bench is called"),
    ):
        assert acceleration.main([*wrong, *given]) == 2
        assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_base_is_made_once(tmp_path, capsys):
    first = arm_cells()[0].name
    (tmp_path / first / "prepare").mkdir(parents=True)
    (tmp_path / first / "prepare" / "stage.json").write_text("{}")
    acceleration.main(["--list", "--seeds", "0,1", "--runs", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert sum(f"reuse={tmp_path / first}" in line for line in lines) == len(lines) - 1


@pytest.mark.parametrize(
    ("arms", "rates", "seeds"),
    [
        (["plain"], (3e-5,), (1,)),
        (["all"], (3e-5, 1e-4), (0, 2)),
        (["gated", "plain_x3"], (1e-5,), (0,)),
    ],
)
def test_what_is_left_out_is_what_is_not_trained(arms, rates, seeds):
    said = acceleration.left_out(arm_cells(arms, rates, seeds))
    absent = said.split("Left out: ")[1].rstrip(".").split(", ")
    wanted = set(ARMS) if arms == ["all"] else set(arms)
    assert not wanted & set(absent)
    assert ("gated" in absent) == ("gated" not in wanted)
    assert ("arms with jumps or passes at lr" in said) == (arms != ["plain"])
    assert f"seeds {', '.join(map(str, seeds))}" in said
