"""Names of scored models: read back as written, and refused where they have another form."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import Rebuilt
from rlvr_dynamics.schema.model_id import ModelId


def allowed(label: str) -> bool:
    """Whether the configuration takes a label."""
    try:
        Rebuilt(name="rank_recovery", label=label)
    except ValueError:
        return False
    return True


labels = st.from_regex(r"[a-z0-9][a-z0-9_]{0,20}", fullmatch=True)
steps = st.integers(1, 10**7)
known = st.one_of(
    st.just(ModelId.base()),
    st.builds(ModelId.checkpoint, steps),
    st.builds(ModelId, labels, st.one_of(st.just(0), steps), steps),
)


@given(known)
def test_a_name_is_read_back_as_it_was_written(model):
    assume(model in (ModelId.base(), ModelId.checkpoint(model.step)) or allowed(model.method))
    assert ModelId.parse(str(model)) == model


@pytest.mark.parametrize(
    ("name", "method", "observe", "step"),
    [
        ("base", "base", 0, 0),
        ("step_12", "real", 0, 12),
        ("rank1_recovery__step_100", "rank1_recovery", 0, 100),
        ("relex_raw__observe_15__step_100", "relex_raw", 15, 100),
    ],
)
def test_what_a_name_says(name, method, observe, step):
    model = ModelId(method, observe, step)
    assert ModelId.parse(name) == model
    assert str(model) == name


@pytest.mark.parametrize(
    "name",
    ["", "step_", "observe_3__step_4", "step_3__relex", "base_1", "base__step_3", "a/b__step_3"]
    + ["relex__observe_x__step_3", "relex__step_3__observe_1", "relex__observe_3", "step_3\n"],
)
def test_a_foreign_name_is_refused(name):
    with pytest.raises(UserError, match="unknown form"):
        ModelId.parse(name)
