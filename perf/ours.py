"""Our side in a separate process: RELEX with default settings, or only the decompositions."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.checkpoints.differences import Differences
from rlvr_dynamics.dynamics import gram_of_stored, svd_of_gram
from rlvr_dynamics.extrapolation import EXTRAPOLATORS


def decompose(trajectory: Trajectory) -> None:
    """Compute the trajectory SVD of every tensor: coefficients and singular values only."""
    steps = np.array(trajectory.steps)
    for name in trajectory.names:
        found = Differences(trajectory, name)
        gram = gram_of_stored((changes.rows for _, changes in found.changes()), found.T)
        svd_of_gram(gram, len(steps), steps)


def main() -> None:
    """Run one job; report its time after the imports."""
    parser = argparse.ArgumentParser(prog="perf.ours", description=__doc__)
    parser.add_argument("job", choices=("relex", "decompose"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--target", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    start = time.perf_counter()
    trajectory = Trajectory.open(given.base, given.checkpoints)
    if given.job == "relex":
        last = trajectory.steps[-1]
        EXTRAPOLATORS["relex"].run(
            trajectory, last, [given.target], given.out, threads=given.threads
        )
    else:
        decompose(trajectory)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
