"""y(t) of a run is how often the checkpoint is right, or nothing: never what training averages."""

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.run_directory.accuracy import without_accuracy
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.run_directory.own_accuracy import SCORE, own_accuracy
from rlvr_dynamics.run_directory.run import Run

TRUE = {0: 0.1, 1: 0.4, 2: 0.9, 3: 0.5, 4: 0.7}
GROUP, GROUPS = 4, 30_000


def drawn(accuracy, rng):
    """Groups of right (1) and wrong (0) answers, (groups, GROUP)."""
    return (rng.random((GROUPS, GROUP)) < accuracy).astype(float)


def metrics(penalty=0.0, validated=()):
    """A training under dynamic sampling: its mean score is of mixed groups, less a penalty."""
    rng, rows = np.random.default_rng(5), []
    for step, accuracy in TRUE.items():
        groups = drawn(accuracy, rng)
        kept = groups[(groups.mean(axis=1) > 0) & (groups.mean(axis=1) < 1)]
        rows.append(
            {
                "step": step + 1,
                SCORE: kept.mean() - penalty,
                "rollouts/acc_exact": groups.mean(),
                "rollouts/problems": GROUPS,
                "rollouts/answers": groups.size,
            }
        )
    for step in validated:
        row = {"step": step, "validation/acc_exact": TRUE[step] / 2}
        rows.append(row | {"validation/problems": 128, "validation/answers": 512})
    return pd.DataFrame(rows).groupby("step").first().reset_index()


def dapo(*given):
    return config.load(["algorithm=dapo", *given])


def test_all_rollouts_count_where_the_mean_score_is_of_some(tmp_path):
    table = metrics(penalty=0.05)
    score = table.set_index("step")[SCORE]
    assert abs(score[1] - TRUE[0]) > 0.1 and abs(score[3] - TRUE[2]) > 0.2
    series = own_accuracy(table, dapo())
    assert series is not None
    assert dict(series.values) == pytest.approx(TRUE, abs=0.005)
    assert "30,000 problems, 120,000 answers" in series.source
    # sqrt(0.5 * 0.5 / 30,000): problems change from step to step, and answers to one are alike.
    assert "at most 0.3 points" in series.source


def test_a_validation_is_preferred_and_belongs_to_its_own_step():
    series = own_accuracy(metrics(validated=(0, 1, 2, 3, 4)), dapo())
    assert series is not None
    assert dict(series.values) == {step: value / 2 for step, value in TRUE.items()}
    assert "128 problems, 512 answers" in series.source
    assert "at most 2.2 points" in series.source  # sqrt(0.45 * 0.55 / 512)
    few = own_accuracy(metrics(validated=(0, 1, 2, 3)), dapo())
    assert few is not None and dict(few.values) == pytest.approx(TRUE, abs=0.005)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["algorithm.dynamic_sampling=true"], "both right and wrong"),
        (
            ["algorithm.reward_manager=dapo", "algorithm.overlong={buffer_share:0.2,penalty:1}"],
            "penalty",
        ),
        (["data.reward=dapo"], "dapo, +1 or -1"),
        (
            ["trainer.verl_overrides=['reward.custom_reward_function.path=x.py']"],
            "by a reward that trainer.verl_overrides chose",
        ),
        ([], ""),
    ],
)
def test_the_mean_score_alone_is_refused_where_it_is_no_accuracy(tmp_path, given, reason):
    table = metrics()[["step", SCORE]]
    loaded = config.load(given)
    recorded = RecordedConfig.model_validate(loaded.model_dump(mode="json"))
    for each in (loaded, recorded):
        series = own_accuracy(table, each)
        if reason:
            assert series is None
        else:
            assert series is not None
            # The first step's rollouts are the base's.
            assert dict(series.values) == dict(enumerate(table[SCORE]))
            assert not series.errors and series.freedom == 0
    said = without_accuracy(Run(loaded, tmp_path))
    assert "source.accuracy=FILE" in said and "trainer.validate_every=N" in said
    assert reason in said


def test_a_run_resumed_with_counts_keeps_the_accuracies_of_its_first_steps():
    table = metrics()
    counted = [name for name in table if name.startswith("rollouts/")]
    table.loc[table["step"] < 4, counted] = np.nan
    series = own_accuracy(table, config.load([]))
    assert series is not None
    score = table.set_index("step")[SCORE]
    assert [series.values[step] for step in (0, 1, 2)] == score[:3].tolist()
    assert series.values[3] == pytest.approx(TRUE[3], abs=0.005)
    assert list(series.values) == [0, 1, 2, 3, 4]
    assert "at 3 steps mean score" in series.source
    refused = own_accuracy(table, dapo())
    assert refused is not None and list(refused.values) == [3, 4]


def test_standard_errors_belong_to_the_steps_of_their_accuracies():
    errors = {"rollouts/acc_exact_se": [0.05, 0.04, 0.03, 0.04, np.nan]}
    table = metrics().assign(**errors)
    series = own_accuracy(table, dapo())
    assert series is not None
    assert dict(series.errors) == {0: 0.05, 1: 0.04, 2: 0.03, 3: 0.04}
    assert series.freedom == 4 * (GROUPS - 1) and "at most" in series.source
    known = own_accuracy(table.fillna(0.04), dapo())
    assert known is not None and "standard error 4.0 points" in known.source
    checked = metrics(validated=(1, 2, 3, 4)).assign(**{"validation/acc_exact_se": 0.01})
    series = own_accuracy(checked, dapo())
    assert series is not None
    assert dict(series.errors) == dict.fromkeys((1, 2, 3, 4), 0.01)
    assert series.freedom == 4 * (512 - 128)
