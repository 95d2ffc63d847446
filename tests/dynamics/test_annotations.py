"""The annotations of the mathematics are checked in all tests, shapes included."""

from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from rlvr_dynamics.dynamics import update_spectrum
from rlvr_dynamics.dynamics.trajectory_svd import extend_gram
from rlvr_dynamics.extrapolation.fits import polynomial_smoother
from rlvr_dynamics.extrapolation.recovery import rank_part
from rlvr_dynamics.measurement.measure import measure
from rlvr_dynamics.measurement.settings import MeasureSettings


@pytest.mark.parametrize(
    "call",
    [
        lambda: update_spectrum(torch.zeros(3)),
        lambda: update_spectrum(torch.zeros(3, 3, dtype=torch.int64)),
        lambda: extend_gram(*(torch.zeros(shape).double() for shape in ((2, 2), (3, 1), (1, 1)))),
        lambda: polynomial_smoother([1, 2], np.array([3]), 1),
        lambda: rank_part(np.zeros((2, 2)), "name", {"subspace": 0, "percent": 0.0, "rank": 1}),
        lambda: measure("not a trajectory", MeasureSettings(), Path()),
    ],
)
def test_a_wrong_type_or_shape_is_refused(call):
    with pytest.raises(TypeCheckError):
        call()
