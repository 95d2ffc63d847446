"""Weights of which few change, for tests only."""

import torch

from tests.support.extrapolation_fixture import SHAPES, UP, gaussian

STEPS = range(1, 6)


def rarely_changed(dtype):
    """A quarter of the weights moves, one that does not is beyond float16, a tensor is still."""
    weights = {0: {name: tensor.to(dtype).float() for name, tensor in gaussian(0).items()}}
    still = next(iter(SHAPES))
    if dtype != torch.float16:
        weights[0][UP].reshape(-1)[3] = 2.0**17
    for step in STEPS:
        noise, choice = gaussian(10 + step), gaussian(1)
        weights[step] = {}
        for name, before in weights[step - 1].items():
            moved = torch.where(choice[name].abs() < 0.3, before + 0.1 * noise[name], before)
            weights[step][name] = before if name == still else moved.to(dtype).float()
        weights[step][UP].reshape(-1)[3] = weights[0][UP].reshape(-1)[3]
    return weights
