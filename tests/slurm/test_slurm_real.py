"""The public commands on a real one-node Slurm: failure, requeue, time limit, dependency, retry.

`make test-slurm`; needs Debian's slurm-wlm and munge. The cells are real runs on eight trajectories
of a small random model.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from slurm.one_node import missing_programs, one_node
from tests.support.small_models import SHAPES, random_tensors, save_model

CHECKOUT = Path(__file__).resolve().parents[2]
SEEDS = range(8)
STEPS = 8
BROKEN, MOVED = 3, 5
STAGES = ("prepare", "measure", "extrapolate", "report")
MISSING = missing_programs()

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"no {', '.join(MISSING)} here: apt-get install slurm-wlm munge",
    ),
]


@pytest.fixture(scope="module")
def cluster():
    with one_node() as environment:
        yield environment


def slurm(cluster, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "slurm", *map(str, arguments)],
        cwd=CHECKOUT,
        env=cluster,
        capture_output=True,
        text=True,
    )


def ask(cluster, *command):
    return subprocess.run(
        command, env=cluster, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} not within {seconds} s"
        time.sleep(0.3)


def wait_for_all(cluster, seconds):
    until(lambda: not ask(cluster, "squeue", "--noheader"), seconds, "an empty queue")


def states(cluster, runs):
    """Cell to the states of its jobs, as `status` prints them; one blank line ends the table."""
    done = slurm(cluster, "status", runs)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: re.split(r" {2,}", line)[1:] for line in table}


def jobs(runs):
    """Array number of each kind of job of the first round."""
    lines = (runs / "submitted").read_text().splitlines()
    return {
        line.split()[0].split("_")[0]: line.split()[2].strip(",") for line in lines if "job" in line
    }


def submit(cluster, runs, *arguments):
    done = slurm(cluster, "submit", *arguments, "--runs", runs)
    assert done.returncode == 0, done.stderr
    (runs / "submitted").write_text(done.stdout)


def ended(cluster):
    """Final state and exit code of every task that has ended, by Slurm's own record."""
    lines = Path(cluster["SLURM_CONF"]).with_name("finished.txt").read_text().splitlines()
    facts = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]
    return {
        (fact.get("ArrayJobId", fact["JobId"]), fact.get("ArrayTaskId")): (
            fact["JobState"],
            fact["ExitCode"],
        )
        for fact in facts
    }


def write_trajectories(folder):
    for seed in SEEDS:
        base, direction = random_tensors(1000 * seed), random_tensors(1000 * seed + 1)
        save_model(folder / str(seed) / "base", base)
        for step in range(1, STEPS + 1):
            noise = random_tensors(1000 * seed + 1 + step)
            moved = {n: base[n] + 1e-3 * step * (direction[n] + 0.1 * noise[n]) for n in SHAPES}
            save_model(folder / str(seed) / "steps" / f"step_{step}", moved)
        lines = [f"{step},{0.2 + 0.05 * step}\n" for step in range(1, STEPS + 1)]
        (folder / str(seed) / "accuracy.csv").write_text("step,accuracy\n" + "".join(lines))


def test_eight_cells_with_a_failure_and_a_requeue_then_a_retry(cluster, tmp_path):
    source, runs = tmp_path / "source", tmp_path / "runs"
    write_trajectories(source)
    accuracies = source / str(BROKEN) / "accuracy.csv"
    accuracies.write_text(accuracies.read_text().replace("accuracy", "acuracy"))
    submit(
        cluster,
        runs,
        "trajectory",
        f"seed={','.join(map(str, SEEDS))}",
        f"source.base={source}/${{seed}}/base",
        f"source.checkpoints={source}/${{seed}}/steps",
        f"source.accuracy={source}/${{seed}}/accuracy.csv",
        f"stages=[{','.join(STAGES)}]",
        "model.steps_clean=0",
        "model.steps_noisy=0",
        "measure.null_draws=20",
        "measure.threads=1",
        "extrapolation.targets=[1.0,2.0]",
        "report.bootstrap_draws=100",
    )
    numbers = jobs(runs)
    assert list(numbers) == [*STAGES, "merge"]

    # One task is thrown off its node while it works, and comes back by itself.
    attempts = runs / "slurm" / "attempts" / f"trajectory-seed{MOVED}.measure.tsv"
    until(attempts.exists, 300, "the start of the task that is moved")
    ask(cluster, "scontrol", "requeue", f"{numbers['measure']}_{MOVED}")
    wait_for_all(cluster, 600)

    broken = f"trajectory-seed{BROKEN}"
    shown = states(cluster, runs)
    assert set(shown) == {f"trajectory-seed{seed}" for seed in SEEDS}
    assert shown.pop(f"trajectory-seed{MOVED}") == ["done", "done (2 attempts)", "done", "done"]
    assert shown.pop(broken) == ["done", "failed", "stopped", "stopped"]
    assert all(words == ["done"] * 4 for words in shown.values())

    # What waited for the failure has never begun, in our record and in Slurm's.
    assert not (runs / "slurm" / "attempts" / f"{broken}.extrapolate.tsv").exists()
    final = ended(cluster)
    for job in ("extrapolate", "report"):
        assert final[numbers[job], str(BROKEN)] == ("CANCELLED", "0:0")
        assert final[numbers[job], "0"] == ("COMPLETED", "0:0")
    log = next((runs / "slurm" / "logs" / broken).glob(f"measure.{numbers['measure']}_*.log"))
    assert "source.accuracy cannot be read" in log.read_text()

    # The merge job itself says 3 and names the cell; so does the command.
    assert final[numbers["merge"], None] == ("FAILED", "3:0")
    merged = runs / "slurm" / "logs" / f"merge-{numbers['merge']}.log"
    assert f"not done: {broken} (measure failed, exit 2)" in merged.read_text()
    done = slurm(cluster, "merge", runs)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [f"not done: {broken} (measure failed, exit 2)"]
    claims = pd.read_parquet(runs / "merged" / "claims.parquet")
    assert set(claims["seed"]) == set(SEEDS) - {BROKEN}
    assert list(claims.columns[:4]) == ["model", "algorithm", "seed", "cell"]
    measured = claims[claims["id"] == "B1"].set_index("seed")["ours"]
    assert measured.notna().all() and measured.nunique() == len(SEEDS) - 1

    # The cause is removed; only that cell runs again, from where it failed.
    accuracies.write_text(accuracies.read_text().replace("acuracy", "accuracy"))
    again = slurm(cluster, "retry", runs)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == f"{broken}: measure, extrapolate, report"
    wait_for_all(cluster, 200)
    assert slurm(cluster, "merge", runs).returncode == 0
    claims = pd.read_csv(runs / "merged" / "claims.csv")
    assert set(claims["seed"]) == set(SEEDS)
    assert ended(cluster)[again.stdout.split("merge")[1].split()[1], None] == ("COMPLETED", "0:0")
    assert slurm(cluster, "retry", runs).stdout.startswith("nothing has failed")


def write_long_work(folder):
    """Sixty matrices: what is read of each is saved in seconds, their many nulls take minutes."""
    generator = torch.Generator().manual_seed(0)
    names = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in range(60)]
    base = {name: torch.randn(96, 96, generator=generator) for name in names}
    for step in range(STEPS + 1):
        target = folder / ("base" if step == 0 else f"steps/step_{step}")
        target.mkdir(parents=True)
        save_file(
            {n: base[n] + 1e-3 * step * torch.randn(96, 96, generator=generator) for n in names},
            target / "model.safetensors",
        )


def test_the_time_limit_saves_and_requeues_until_its_own_limit(cluster, tmp_path):
    source, runs = tmp_path / "source", tmp_path / "runs"
    write_long_work(source)
    site = tmp_path / "site.yaml"
    site.write_text("signal_seconds: 25\nmax_requeues: 1\njobs: {measure: {time: '0:01:00'}}\n")
    submit(
        cluster,
        runs,
        "trajectory",
        "--site",
        site,
        f"source.base={source}/base",
        f"source.checkpoints={source}/steps",
        "stages=[measure,report]",
        "measure.null_draws=200000",
        "measure.threads=1",
    )
    measure = jobs(runs)["measure"]
    began = time.monotonic()
    wait_for_all(cluster, 300)
    assert time.monotonic() - began > 20  # nobody waited for the work to end

    attempts = (runs / "slurm" / "attempts" / "trajectory.measure.tsv").read_text().splitlines()
    events = [line.split("\t") for line in attempts]
    assert [(e[0], e[2], e[4]) for e in events] == [
        ("start", "0", "-"),
        ("end", "0", "75"),
        ("start", "1", "-"),
        ("end", "1", "75"),
    ]
    logs = runs / "slurm" / "logs" / "trajectory"
    first, second = ((logs / f"measure.{measure}_0.{i}.log").read_text() for i in range(2))
    assert "requeued before the time limit" in first
    assert "measure      going on (interrupted)" in second
    assert "not requeued again" in second
    saved = list((runs / "trajectory" / "measure" / "statistics").iterdir())
    assert len(saved) >= 60
    resumed = float(events[2][3])
    assert all(file.stat().st_mtime < resumed for file in saved)  # kept, and not done again
    assert "TIMEOUT" not in {state for state, _ in ended(cluster).values()}

    assert states(cluster, runs)["trajectory"] == ["interrupted (2 attempts)", "stopped"]
    assert not list((runs / "slurm" / "attempts").glob("*.report.tsv"))
    assert slurm(cluster, "merge", runs).returncode == 3


JOINS = """\
import os, ray
ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False)
nodes = [node for node in ray.nodes() if node["Alive"]]
print("nodes", len(nodes), "slots", int(ray.cluster_resources()["GPU"]))
"""


def test_the_training_script_of_two_nodes_makes_one_ray_of_them_and_ends_it(tmp_path):
    # Python itself, but what would be training asks Ray for its nodes.
    (tmp_path / "joins.py").write_text(JOINS)
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/bash\n[ "$2" = rlvr_dynamics.run ] && exec {sys.executable} {tmp_path}/joins.py\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    (tmp_path / "site.yaml").write_text(f"python: {python}\n")
    runs = tmp_path / "runs"
    with one_node(nodes=2) as environment:
        submit(
            environment,
            runs,
            *("demo", "--site", tmp_path / "site.yaml", "stages=[train]", "trainer.nodes=2"),
            "trainer.micro_batch_samples=64",
        )
        wait_for_all(environment, 240)
        log = next((runs / "slurm" / "logs" / "demo").iterdir()).read_text()
        assert "nodes 2 slots 2" in log, log
        assert ended(environment)[jobs(runs)["train"], "0"] == ("COMPLETED", "0:0"), log


def test_nothing_of_the_cluster_outlives_it(tmp_path):
    with one_node(tmp_path / "s") as environment:
        ask(environment, "sbatch", "--output=/dev/null", "--wrap", "sleep 300")
        until(
            lambda: "RUNNING" in ask(environment, "squeue", "--noheader", "--format=%T"),
            20,
            "a job",
        )
        pids = [int(line) for line in ask(environment, "pgrep", "-f", str(tmp_path / "s"))]
        assert pids
    left = []
    for pid in pids:
        try:
            os.kill(pid, 0)
            left.append(Path(f"/proc/{pid}/cmdline").read_text())
        except (ProcessLookupError, FileNotFoundError):
            continue
    assert not any(left)
