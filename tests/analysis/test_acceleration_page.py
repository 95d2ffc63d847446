"""The bench's tables and figure, of small runs whose levels and costs are known."""

import pytest

from analysis.ours import acceleration_figure, acceleration_tables
from analysis.ours.accelerations import benches
from rlvr_dynamics.results.study import load_study
from tests.support.accelerated_run import jump, line, write_arm
from tests.support.figure_text import check_texts

REGROUNDING = ["acceleration=regrounding_5_25"]
GATED = ["acceleration=gated", "acceleration.when.every=5"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Plain steps at two rates and two seeds, an arm that is faster than one of the rates."""
    place, folders = tmp_path_factory.mktemp("runs"), []
    for seed in (1, 2):
        folders += [
            write_arm(place / f"plain{seed}", line(0.005), seed=seed, validation=0.3),
            write_arm(place / f"tuned{seed}", line(0.01), seed=seed, rate=1e-4, validation=0.7),
            write_arm(place / f"jumps{seed}", line(0.01 * seed), seed=seed, arm=REGROUNDING),
        ]
    gated = write_arm(place / "gated1", line(0.005), arm=GATED, jumps=[jump(10), jump(20)])
    return load_study([*folders, gated])


def rows(tables, *keys):
    (table,) = tables
    assert table.frame is not None, table.missing
    return table.frame.set_index(list(keys))


def test_the_tuned_rate_sets_the_targets(study):
    (bench,) = benches(study)
    assert bench.tuned is not None and bench.tuned.rate == 1e-4
    level = bench.level(0.5)
    assert level is not None and level[0] == pytest.approx(0.5)
    assert [group.arm.words for group in bench.groups] == [
        "plain",
        "plain",
        "gated, every 5",
        "re-grounding 5+25",
    ]


def test_arms_are_ahead_of_their_own_rate_and_beside_the_tuned_one(study):
    found = rows(acceleration_tables.arm_tables(study), "arm", "learning rate")
    arm = found.loc["re-grounding 5+25", 1e-5]
    # Ends at 0.8 and 0.9 (capped), where plain steps end at 0.5 and the tuned at 0.8.
    assert arm["runs"] == 2 and arm["accuracy"] == pytest.approx(0.85)
    assert arm["same rate"] == pytest.approx(35.0)
    assert arm["tuned rate"] == pytest.approx(5.0)
    assert arm["cells"] == "jumps1, jumps2"
    plain = found.loc["plain", 1e-5]
    assert plain["same rate"] != plain["same rate"]  # not compared with itself
    assert plain["tuned rate"] == pytest.approx(-30.0)
    assert plain["target"] == "> 3840 (0 of 2 arrive)"
    assert plain["pass@k"] == pytest.approx(0.55)
    gated = found.loc["gated, every 5", 1e-5]
    assert gated["jumps"] == "0 of 2"
    # 640 rollouts of the gate: its checkpoint after 50 steps beside the plain one after 60.
    assert gated["same rate"] == pytest.approx(-5.0)


def test_times_are_means_of_all_that_arrive_or_the_least_that_they_could_be(study):
    found = rows(acceleration_tables.time_tables(study), "arm", "learning rate", "share")
    tuned = found.loc["plain", 1e-4, 0.5]
    assert (tuned["arrive"], tuned["rollouts"]) == ("2 of 2", pytest.approx(30 * 64))
    assert tuned["seconds"] == pytest.approx(60.0)
    arm = found.loc["re-grounding 5+25", 1e-5, 0.5]
    assert arm["updates"] == pytest.approx((30 + 15) / 2)
    slow = found.loc["plain", 1e-5, 0.8]
    assert slow["arrive"] == "0 of 2" and slow["least"] == 3840
    assert slow["rollouts"] != slow["rollouts"]


def test_costs_are_means_over_the_runs_of_an_arm(study):
    found = rows(acceleration_tables.cost_tables(study), "arm", "learning rate")
    gated = found.loc["gated, every 5", 1e-5]
    assert (gated["gate_rollouts"], gated["fired"], gated["jumped"]) == (640, 2, 0)
    assert found.loc["plain", 1e-4]["evaluation_rollouts"] == 3 * 256


def test_the_figure_has_every_arm_and_says_how_many(study):
    drawing = acceleration_figure.draw(study)
    assert drawing.figure is not None and len(drawing.cells) == 7
    check_texts({"acceleration": drawing.figure})
    assert all(len(axes.lines) == 4 for axes in drawing.figure.axes)
    assert "n = 7 runs, 1000 questions; seeds 1, 2" in drawing.facts


def test_no_two_rates_of_plain_steps_look_alike(tmp_path):
    rates = (1e-5, 2e-5, 3e-5, 6e-5, 1e-4, 3e-4)
    folders = [write_arm(tmp_path / f"{rate}", line(rate * 50), rate=rate) for rate in rates]
    gated = write_arm(tmp_path / "gated", line(0.005), arm=GATED, jumps=[jump(10)])
    figure = acceleration_figure.draw(load_study([*folders, gated])).figure
    assert figure is not None
    drawn = [repr(each._unscaled_dash_pattern) + each.get_color() for each in figure.axes[0].lines]
    assert len(set(drawn)) == len(drawn) == len(rates) + 1


def test_a_study_without_arms_says_what_to_run(study):
    plain = type(study)(tuple(cell for cell in study.cells if cell.arm.kind == "plain"))
    assert benches(plain) == []
    (table,) = acceleration_tables.arm_tables(plain)
    assert table.frame is None and "experiments.acceleration" in table.missing
    assert acceleration_figure.draw(plain).figure is None
