"""Two trainings on one machine send their weights through sockets of their own."""

import os
import subprocess
import sys

import pytest

from rlvr_dynamics.config import load
from rlvr_dynamics.training.own_sockets import OWNER
from rlvr_dynamics.training.verl_environment import environment

VERLS_OWN = "ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-0.sock"
BOTH_ENDS = f"""
import torch
from verl.workers.rollout.vllm_rollout import bucketed_weight_transfer as transfer
name = {VERLS_OWN!r}
print(transfer.BucketedWeightSender(zmq_handle=name, bucket_size_mb=1, use_shm=True).zmq_handle)
print(transfer.BucketedWeightReceiver(name, torch.device("cpu"), use_shm=True).zmq_handle)
"""


@pytest.mark.slow
def test_both_ends_of_a_training_agree_and_differ_from_another_s(tmp_path):
    pytest.importorskip("verl")
    found = []
    for name in ("one", "other"):
        made = environment(load([]), tmp_path / name / "verl" / "metrics_1.jsonl")
        ended = subprocess.run(
            [sys.executable, "-c", BOTH_ENDS], env=made, capture_output=True, text=True, check=True
        )
        found.append(ended.stdout.split()[-2:])
    assert found[0][0] == found[0][1]
    assert found[1][0] == found[1][1]
    assert len({VERLS_OWN, found[0][0], found[1][0]}) == 3


def test_a_training_keeps_its_sockets_when_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "VERL_USE_EXTERNAL_MODULES", "mine")
    first, second = (
        environment(load([]), tmp_path / "verl" / f"metrics_{attempt}.jsonl") for attempt in (1, 2)
    )
    assert first[OWNER] == second[OWNER]
    assert first["VERL_USE_EXTERNAL_MODULES"].split(",")[:2] == [
        "mine",
        "rlvr_dynamics.training.own_sockets",
    ]
