"""Slurm without a Slurm: manifests, scripts, sbatch lines, what a retry picks, merged tables."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.claims.ledger import BY_ID
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.estimates.hours import training_hours
from rlvr_dynamics.estimates.scoring import scoring
from rlvr_dynamics.run_directory.published_files import take_stock
from slurm import scripts, status, submission
from slurm.__main__ import main
from slurm.arrays import arrays, script_name, spell
from slurm.cells import compose, find
from slurm.resources import Resources, jobs_of, resources
from slurm.site import Site, check_site, load_site
from slurm.submit import describe, plan

CHECKOUT = Path(__file__).resolve().parents[2]
STAGES = "stages=[measure,extrapolate,report]"


def needs(**changed):
    return Resources(
        **{"nodes": 1, "gpus": 0, "cpus": 1, "memory_gib": 4, "minutes": None} | changed
    )


# --- cells and manifest ---


def test_names_and_globs_find_cells_once_and_in_order():
    assert find(["demo", "demo*"]) == ["demo", "demo_large_updates"]


def test_an_unknown_cell_names_those_that_are_close():
    with pytest.raises(
        UserError, match=r"grpo_qwen3_4bb: no such cell .* did you mean grpo_qwen3_4b"
    ):
        find(["grpo_qwen3_4bb"])


def test_seeds_make_cells_and_every_line_runs_as_written(tmp_path):
    cells, configs = compose(["demo"], ["seed=3,5", "wandb.mode=offline", STAGES], tmp_path)
    assert [cell.name for cell in cells] == ["demo-seed3", "demo-seed5"]
    assert [config.seed for config in configs] == [3, 5]
    assert cells[1].manifest_line == (
        f"demo-seed5\t{tmp_path}/demo-seed5\t+exp=demo wandb.mode=offline seed=5"
    )
    assert cells[0].stages == ("measure", "extrapolate", "report")


def test_an_override_with_shell_signs_stays_one_word(tmp_path):
    override = "source.base=/data/${seed}/a b"
    cells, _ = compose(
        ["trajectory"], ["seed=1,2", override, "source.checkpoints=/data/${seed}"], tmp_path
    )
    given = cells[0].manifest_line.split("\t")[2]
    words = subprocess.run(
        ["bash", "-c", 'eval "arguments=($1)"; printf "%s\\n" "${arguments[@]}"', "-", given],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert words == list(cells[0].overrides)
    assert override in words


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run_dir=/x", "run_dir is chosen by --runs DIR"),
        ("seed=1,1", "the same seed twice"),
        ("seed=a", "seed: given 'a'"),
        ("trainer.stepps=3", r"trainer.stepps: unknown key \(demo; "),
        ("measure.engine=a\tb", "may not hold tabs"),
    ],
)
def test_a_bad_override_is_refused_before_anything_is_written(tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        plan(["demo"], [override], tmp_path, Site(), None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\\b", "${HOME}"])
def test_a_path_that_a_script_cannot_carry_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="a path in a job"):
        compose(["demo"], [], tmp_path / name)


def test_an_odd_folder_of_runs_reaches_the_scripts_as_it_is(tmp_path):
    runs = tmp_path / "a=b,c[1]#x~y" / "ü 5% (z) it's $HOME"
    planned = plan(["demo"], [STAGES], runs, Site(), None)
    text = describe(planned, runs)
    line = next(line for line in text.splitlines() if line.startswith("measure_0="))
    told = subprocess.run(
        ["bash", "-c", 'sbatch() { printf "%s\\n" "$@"; }\n' + line + '\necho "$measure_0"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert told[-1] == f"{runs}/slurm/measure.sh"
    output = f"{runs}/slurm/logs/slurm-".replace("5%", "5%%")
    assert f"--output={output}%x-%A_%a.out" in told
    name, run_dir, _ = planned.cells[0].manifest_line.split("\t")
    assert config.load([f"run_dir={run_dir}"]).run_dir == str(runs / name)


# --- jobs, needs, arrays ---


def jobs(stages, *more, **site):
    chosen = f"stages=[{','.join(stages)}]"
    _, (config,) = compose(["grpo_qwen3_4b"], [chosen, *more], Path("/runs"))
    return jobs_of(config, Site(**site))


def test_prepare_is_part_of_training_unless_the_site_or_the_cell_says_otherwise():
    everything = ("prepare", "train", "measure", "extrapolate", "score", "report")
    assert jobs(everything)["train"] == ("prepare", "train")
    assert list(jobs(everything)) == list(everything[1:])
    assert jobs(everything, prepare_apart=True) == {stage: (stage,) for stage in everything}
    assert jobs(("measure", "prepare")) == {"prepare": ("prepare",), "measure": ("measure",)}
    assert jobs(("report", "train")) == {"train": ("train",), "report": ("report",)}


def test_fetching_a_published_trajectory_is_preparing_and_asks_for_no_gpu(tmp_path):
    published = "source.published={repo: a/b, revision: 'step_{step}', steps: [1, 2]}"
    _, (config,) = compose(["grpo_qwen3_4b"], [published], tmp_path)
    assert jobs_of(config, Site())["prepare"] == ("prepare", "train")
    assert "train" not in jobs_of(config, Site())
    assert resources("prepare", config, Site()).gpus == 0


def test_training_and_fetching_in_one_submission_have_scripts_of_their_own(tmp_path):
    cells = ["grpo_qwen3_4b", "relex_published_qwen3_4b"]
    planned = plan(cells, ["stages=[prepare,train]"], tmp_path, Site(), None)
    made = {array.job: script_name(array) for array in planned.rounds[0].arrays}
    assert made.keys() == {"train", "prepare"}
    assert len(set(made.values())) == 2
    text = describe(planned, tmp_path)
    assert all(f"\njob={job}\n" in text for job in made)


def test_needs_come_from_the_configuration_and_the_site_goes_first(tmp_path):
    site = check_site(
        {"jobs": {"train": {"time": "2-00:00:00"}, "measure": {"cpus": 3, "memory_gib": 9}}}, "x"
    )
    _, (small, large) = compose(["grpo_qwen3_4b", "grpo_qwen2_5_32b"], [], tmp_path)
    train = resources("train", large, site)
    assert (train.nodes, train.gpus) == (large.trainer.nodes, large.trainer.gpus_per_node)
    assert train.memory_gib is not None and train.memory_gib > 12 * 32e9 / 2**30 / train.nodes
    # Twice the slow estimate, in whole hours, unless the site allows less.
    assert train.minutes == 60 * math.ceil(2 * training_hours(large).high) < 2 * 24 * 60
    brief = check_site({"jobs": {"train": {"time": "2:00:00"}}}, "x")
    assert resources("train", large, brief).minutes == 120
    score = resources("score", large, site)
    # Two GPUs an engine, on all eight of a node.
    assert (score.nodes, score.gpus, score.cpus) == (1, 8, 16)
    hours = scoring(large).hours
    assert hours is not None and score.minutes == 60 * math.ceil(2 * hours.high)
    _, (one,) = compose(["grpo_qwen2_5_32b"], ["scoring.engines=1"], tmp_path)
    alone = resources("score", one, site)
    assert alone.gpus == 2
    assert alone.memory_gib is not None and score.memory_gib is not None
    assert 3 < score.memory_gib / alone.memory_gib <= 4
    assert resources("measure", small, site).flags(site) == [
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=3",
        "--mem=9G",
    ]
    assert resources("report", small, site).gpus == 0
    for device, gpus in (("auto", 1), ("cpu", 0), ("cuda", 1)):
        _, (asked,) = compose(["grpo_qwen3_4b"], [f"behaviour.device={device}"], tmp_path)
        assert resources("behaviour", asked, site).gpus == gpus
    _, (asked,) = compose(["demo"], ["behaviour.device=cuda"], tmp_path)
    assert resources("behaviour", asked, site).gpus == 1
    smaller = resources("train", small, site).memory_gib
    assert smaller is not None and smaller < train.memory_gib


def test_training_on_a_cpu_asks_for_no_gpu(tmp_path):
    _, (config,) = compose(["demo"], [], tmp_path)
    assert not any("gpu" in flag for flag in resources("train", config, Site()).flags(Site()))


def test_cells_with_equal_chains_share_arrays_and_indices_stay_manifest_lines():
    train, big, measure = needs(gpus=8), needs(gpus=8, nodes=4), needs(cpus=16)
    small = (("train", ("train",), train), ("measure", ("measure",), measure))
    large = (("train", ("train",), big), ("measure", ("measure",), measure))
    made = arrays({0: small, 1: large, 2: small})
    assert [(array.key, array.indices, array.after) for array in made] == [
        ("train_0", (0, 2), None),
        ("measure_0", (0, 2), "train_0"),
        ("train_1", (1,), None),
        ("measure_1", (1,), "train_1"),
    ]


def test_a_throttle_holds_for_all_arrays_of_all_chains_together():
    def chained(needed):
        return tuple((job, (job,), needed) for job in ("train", "measure", "score"))

    chains = {index: chained(needs(gpus=index % 2)) for index in range(7)}
    made = arrays(chains, 2)
    assert sorted(index for array in made if array.after is None for index in array.indices) == [
        *range(7)
    ]
    by_key = {array.key: array for array in made}

    def chain_of(array):
        while array.after is not None:
            array = by_key[array.after]
        return array

    # Which cells may run while a cell does: those that do not wait for its end, nor it for theirs.
    def before(array):
        direct = {chain_of(by_key[key]).key for key in chain_of(array).behind}
        return direct | {far for key in direct for far in before(by_key[key])}

    for array in made:
        apart = before(array)
        later = {other.key for other in made if chain_of(array).key in before(other)}
        together = {
            index
            for other in made
            if chain_of(other).key not in apart and other.key not in later
            for index in other.indices
        }
        assert len(together) <= 2
    assert arrays(chains, 7) == arrays(chains)


@pytest.mark.parametrize(
    ("indices", "text"), [((0,), "0"), ((0, 1, 2), "0-2"), ((0, 2, 3, 7), "0,2-3,7")]
)
def test_indices_are_spelled_as_slurm_reads_them(indices, text):
    assert spell(indices) == text


# --- dry run ---


def dry_lines(capsys, *arguments):
    assert main(["submit", *arguments]) == 0
    return capsys.readouterr().out


def test_a_dry_run_prints_the_exact_lines_and_touches_nothing(tmp_path, capsys):
    site = tmp_path / "site.yaml"
    site.write_text("jobs: {measure: {time: '1:30:00'}, merge: {time: '0:10:00'}}\n")
    runs = tmp_path / "runs"
    out = dry_lines(
        capsys,
        "demo",
        "--runs",
        str(runs),
        "--site",
        str(site),
        "--throttle",
        "3",
        "dry_run=true",
        STAGES,
        "seed=0,1,2",
        "measure.threads=3",
    )
    name = out.rsplit("--job-name=", 1)[1].split("-")[1]
    folder = f"{runs}/slurm"
    logs = f"--output={folder}/logs/slurm-%x-%A_%a.out"
    assert out.split("# sbatch\n")[1].splitlines() == [
        f"measure_0=$(sbatch --parsable --job-name=rlvr-{name}-0-measure_0 --array=0-2 {logs} "
        "--nodes=1 "
        f"--ntasks-per-node=1 --cpus-per-task=3 --mem=7G --time=90 {folder}/measure.sh)",
        f"extrapolate_0=$(sbatch --parsable --job-name=rlvr-{name}-0-extrapolate_0 --array=0-2 "
        f"{logs} --nodes=1 --ntasks-per-node=1 --cpus-per-task=3 --mem=7G "
        f"--dependency=aftercorr:$measure_0 --kill-on-invalid-dep=yes {folder}/extrapolate.sh)",
        f"report_0=$(sbatch --parsable --job-name=rlvr-{name}-0-report_0 --array=0-2 {logs} "
        "--nodes=1 --ntasks-per-node=1 --cpus-per-task=1 --mem=4G "
        f"--dependency=aftercorr:$extrapolate_0 --kill-on-invalid-dep=yes {folder}/report.sh)",
        f"merge=$(sbatch --parsable --job-name=rlvr-{name}-0-merge "
        f"--output={folder}/logs/merge-%A.log --nodes=1 --ntasks=1 --mem=4G "
        f"--time=0:10:00 --dependency=afterany:$report_0 {folder}/merge.sh)",
    ]
    assert f"demo-seed1\t{runs}/demo-seed1\t+exp=demo measure.threads=3 seed=1" in out
    assert "#SBATCH --signal=B:USR1@600" in out
    assert not runs.exists()


def test_a_dry_run_of_several_nodes_prints_the_ray_cluster(tmp_path, capsys):
    out = dry_lines(capsys, "grpo_qwen2_5_32b", "--runs", str(tmp_path), "--dry-run")
    assert "ray start" not in out  # through Python, which the container's prefix stands before
    assert "-m ray.scripts.scripts start --block" in out
    assert 'export RAY_ADDRESS="$address:$port"' in out
    (train,) = [line for line in out.splitlines() if line.startswith("train_0=")]
    _, (config,) = compose(["grpo_qwen2_5_32b"], [], tmp_path)
    assert config.trainer.nodes > 1
    assert f"--nodes={config.trainer.nodes} " in train
    assert f"--gpus-per-node={config.trainer.gpus_per_node} " in train


def test_the_command_line_loads_none_of_the_heavy_packages(tmp_path):
    code = (
        "import sys; from slurm.__main__ import main; "
        f"main(['submit', 'grpo_*', '--dry-run', '--runs', {str(tmp_path)!r}]); "
        "sys.exit(bool({'torch', 'verl', 'vllm', 'ray', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# --- site ---


def test_the_example_is_a_valid_site_and_its_scripts_are_sound_shell(tmp_path):
    site = load_site(CHECKOUT / "slurm" / "site.example.yaml")
    texts = {
        job: scripts.task_script(job, (job,), tmp_path, site)
        for job in ("prepare", "train", "measure", "extrapolate", "score", "report")
    } | {"merge": scripts.merge_script(tmp_path, site)}
    assert "#SBATCH --partition=transfer" in texts["prepare"]
    assert "#SBATCH --constraint=h100" in texts["train"]
    assert "#SBATCH --partition=cpu" in texts["measure"]
    assert "module load cuda/13.0" in texts["score"]
    assert 'export TMPDIR="/local/$SLURM_JOB_ID"' in texts["score"]
    for job, text in texts.items():
        path = tmp_path / f"{job}.sh"
        path.write_text(text)
        assert text.startswith("#!/bin/bash\n#SBATCH ")
        subprocess.run(["bash", "-n", path], check=True)
        if shutil.which("shellcheck"):
            # The user's own activation file is not there to be followed.
            checked = subprocess.run(
                ["shellcheck", "--exclude=SC1091", path], capture_output=True, text=True
            )
            assert checked.returncode == 0, checked.stdout


def test_the_container_stands_before_every_python(tmp_path):
    site = check_site(
        {"container": ["apptainer", "exec", "my image.sif"], "python": "python3"}, "x"
    )
    assert "python=(apptainer exec 'my image.sif' python3)" in scripts.merge_script(tmp_path, site)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"acount": "a"}, r"acount: unknown key \(here\) -> did you mean account\?"),
        (
            {"jobs": {"train": {"patrition": "gpu"}}},
            r"jobs.train.patrition: unknown key .*partition",
        ),
        ({"jobs": {"tain": {}}}, "jobs.tain: given 'tain'"),
        ({"signal_seconds": "60"}, "signal_seconds: given '60'"),
        ({"signal_seconds": 0}, "greater than or equal to 1"),
        ({"account": "a b"}, "account: given 'a b'"),
        ({"account": "$(id)"}, "account: given"),
        ({"extra": ["--nice\n#SBATCH --uid=0"]}, "extra.0: given"),
        ({"extra": ["nice"]}, "extra.0: given 'nice'"),
        ({"temporary": "$(rm -r x)"}, "temporary: given"),
        ({"gpu_flag": "--gres=gpu"}, "gpu_flag: given"),
        ({"jobs": {"train": {"time": "90"}}}, "jobs.train.time: given '90'"),
        ({"variables": {"A B": "1"}}, "variables"),
        (["account"], r"site file: given \['account'\]"),
    ],
)
def test_a_bad_site_names_the_key(values, message):
    with pytest.raises(UserError, match=message):
        check_site(values, "here")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("jobs: {train: {time: 10:00:00}}", ["10:00:00", "time", 'time: "10:00:00"']),
        ("jobs: {train: {time: 90}}", ["90", 'time: "90"']),
        ("account: 00123", ['account: "00123"']),
        ("account: 12345", ['account: "12345"']),
        ("qos: on", ['qos: "on"']),
        ("constraint: 2026-01-01", ['constraint: "2026-01-01"']),
        ("modules: [3.10]", ['"3.10"']),
    ],
)
def test_what_yaml_reads_as_a_number_is_named_as_it_is_written(tmp_path, line, told):
    path = tmp_path / "site.yaml"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match="without quotes") as caught:
        load_site(path)
    for part in told:
        assert part in str(caught.value)


def test_the_variables_of_a_site_are_filled_in_and_no_command_runs(tmp_path, monkeypatch):
    site = check_site(
        {
            "variables": {"HUB": "$SCRATCH/hub of ${ME}", "QUOTED": 'a"b\\c', "OWN": "~/x"},
            "temporary": "$SCRATCH/$SLURM_JOB_ID",
            "python": "$SCRATCH/bin/python",
            "runs": "$SCRATCH/runs",
        },
        "x",
    )
    script = scripts.merge_script(tmp_path, site)
    parts = [line for line in script.splitlines() if line.startswith(("export", "python="))]
    shown = 'printf "%s\\n" "$HUB" "$QUOTED" "$OWN" "$TMPDIR" "${python[0]}"'
    told = subprocess.run(
        ["bash", "-c", "\n".join([*parts, shown])],
        env={"SCRATCH": "/s c", "ME": "me", "SLURM_JOB_ID": "7", "HOME": "/home/me"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert told == ["/s c/hub of me", 'a"b\\c', "/home/me/x", "/s c/7", "/s c/bin/python"]
    monkeypatch.setenv("SCRATCH", "/scratch")
    assert site.runs_folder == Path("/scratch/runs")
    monkeypatch.delenv("SCRATCH")
    with pytest.raises(UserError, match="not set here"):
        _ = site.runs_folder
    for key in ("variables", "python", "runs"):
        bad = "$(id)" if key != "variables" else {"A": "`id`"}
        with pytest.raises(UserError, match=key):
            check_site({key: bad}, "x")


def test_a_missing_or_broken_site_file_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main(["submit", "demo", "--site", str(tmp_path / "none.yaml"), "--dry-run"]) == 2
    assert "site.example.yaml" in capsys.readouterr().err
    (tmp_path / "bad.yaml").write_text("account: [")
    assert main(["submit", "demo", "--site", str(tmp_path / "bad.yaml"), "--dry-run"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["submit"],
        ["sumbit", "demo"],
        ["status"],
        ["status", "a", "b"],
        ["merge", "a", "--site", "b"],
        ["submit", "demo", "--throttle", "0"],
        ["submit", "demo", "--thrott", "3"],
        ["submit", "demo", "--site"],
        ["status", "/nonexistent"],
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1


# --- the script itself, run by bash in place of slurmd ---


@pytest.fixture
def task(tmp_path):
    """A measuring task whose Python is a shell script; returns how to start it."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "manifest.tsv").write_text(
        f"one\t{tmp_path}/one\t+exp=one\ntwo\t{tmp_path}/two\t+exp=two 'a=b c'\n"
    )
    tools = tmp_path / "tools"
    tools.mkdir()
    write_program(tools / "scontrol", f'echo "$@" >>{tmp_path}/scontrol')
    write_program(
        tools / "fake_python",
        f'printf "%s\\n" "$@" >{tmp_path}/arguments\n'
        'trap "sleep 0.2; exit 75" TERM\n'
        f"touch {tmp_path}/begun\n"
        '[ -n "$WAIT" ] && { sleep 20 & wait; }\nexit "${CODE:-0}"',
    )
    site = Site(python=str(tools / "fake_python"), max_requeues=2)
    (folder / "measure.sh").write_text(scripts.task_script("measure", ("measure",), folder, site))

    def start(attempt=0, **variables):
        environment = (
            os.environ
            | variables
            | {
                "SLURM_ARRAY_JOB_ID": "7",
                "SLURM_ARRAY_TASK_ID": "1",
                "SLURM_RESTART_COUNT": str(attempt),
                "PATH": f"{tools}:{os.environ['PATH']}",
            }
        )
        (tmp_path / "begun").unlink(missing_ok=True)
        return subprocess.Popen(["bash", folder / "measure.sh"], env=environment)

    return start


@pytest.mark.parametrize(
    ("job", "stages", "expected"),
    [
        ("prepare", ("prepare",), ""),
        ("prepare", ("prepare", "train"), ""),  # fetches a published trajectory
        ("train", ("prepare", "train"), ""),
        ("measure", ("measure",), ""),  # may read a published trajectory as a stream
        ("train", ("train",), "1"),
        ("score", ("score",), "1"),
        ("behaviour", ("behaviour",), "1"),
    ],
)
def test_what_runs_after_prepare_does_not_ask_the_hub(tmp_path, job, stages, expected):
    write_program(tmp_path / "python", f'echo -n "$HF_HUB_OFFLINE" >{tmp_path}/told')
    (tmp_path / "manifest.tsv").write_text(f"one\t{tmp_path}/one\t+exp=one\n")
    (tmp_path / "job.sh").write_text(
        scripts.task_script(job, stages, tmp_path, Site(python=str(tmp_path / "python")))
    )
    given = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_NUM_NODES": "1"}
    own = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    subprocess.run(["bash", tmp_path / "job.sh"], env=own | given, check=True)
    assert (tmp_path / "told").read_text() == expected


def write_program(path, text):
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def events_of(tmp_path):
    lines = (tmp_path / "slurm" / "attempts" / "two.measure.tsv").read_text().splitlines()
    return [
        (fields[0], fields[1], fields[2], fields[4])
        for fields in map(lambda x: x.split("\t"), lines)
    ]


@pytest.mark.parametrize("code", [0, 1, 2, 75])
def test_a_task_runs_its_line_of_the_manifest_and_keeps_the_exit_code(tmp_path, task, code):
    assert task(CODE=str(code)).wait() == code
    assert (tmp_path / "arguments").read_text().splitlines() == [
        "-m",
        "rlvr_dynamics.run",
        "+exp=two",
        "a=b c",
        f"run_dir={tmp_path}/two",
        "stages=[measure]",
    ]
    assert events_of(tmp_path) == [("start", "7", "0", "-"), ("end", "7", "0", str(code))]
    log = tmp_path / "slurm" / "logs" / "two" / "measure.7_1.0.log"
    assert f"exit code {code}" in log.read_text()
    assert not (tmp_path / "scontrol").exists()


@pytest.mark.parametrize(
    ("number", "attempt", "requeued"),
    [(signal.SIGUSR1, 0, True), (signal.SIGUSR1, 2, False), (signal.SIGTERM, 0, False)],
)
def test_a_signal_saves_and_only_the_time_limit_requeues(tmp_path, task, number, attempt, requeued):
    process = task(attempt, WAIT="yes")
    while not (tmp_path / "begun").exists():
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(number)
    assert process.wait() == 75
    assert events_of(tmp_path)[-1] == ("end", "7", str(attempt), "75")
    assert (tmp_path / "scontrol").exists() == requeued
    if requeued:
        assert (tmp_path / "scontrol").read_text() == "requeue 7_1\n"


def test_a_run_that_ends_well_in_spite_of_the_signal_is_not_requeued(tmp_path, task):
    process = task(CODE="0")
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    assert not (tmp_path / "scontrol").exists()


# --- submitting to programs that stand where Slurm's would ---


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """`sbatch` hands out numbers and writes down its arguments; `squeue` shows a file."""
    tools = tmp_path / "tools"
    tools.mkdir()
    calls, queue = tmp_path / "calls", tmp_path / "queue"
    calls.touch()
    queue.touch()
    write_program(
        tools / "sbatch",
        f'[ -n "$SBATCH_FAILS" ] && [ "$(wc -l <{calls})" -ge "$SBATCH_FAILS" ] && '
        '{ echo "sbatch: error: invalid partition specified" >&2; exit 1; }\n'
        f'echo "$@" >>{calls}; echo "$(( 100 + $(wc -l <{calls}) ));here"',
    )
    write_program(
        tools / "squeue", f'case "$*" in *--array*) cat {queue};; *) cut -d"|" -f1 {queue};; esac'
    )
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tmp_path


def calls_of(cluster):
    lines = (cluster / "calls").read_text().splitlines()
    flags = [dict(word.partition("=")[::2] for word in line.split()) for line in lines]
    return [
        (flag.get("--array"), flag.get("--dependency"), line.split("/")[-1])
        for flag, line in zip(flags, lines, strict=True)
    ]


def go(cluster, *more):
    runs = cluster / "runs"
    return main(["submit", "demo", "--runs", str(runs), STAGES, "seed=0,1,2", *more])


FIRST = [
    ("0-2", None, "measure.sh"),
    ("0-2", "aftercorr:101", "extrapolate.sh"),
    ("0-2", "aftercorr:102", "report.sh"),
    (None, "afterany:103", "merge.sh"),
]


def finish(cluster, index, job, number, code, table=True):
    """Write what a task leaves behind: its attempt, and the stage's record and tables."""
    runs = cluster / "runs"
    attempts = runs / "slurm" / "attempts"
    attempts.mkdir(exist_ok=True)
    with (attempts / f"demo-seed{index}.{job}.tsv").open("a") as file:
        file.write(f"start\t{number}\t0\t1\t-\tnode\n")
        if code is not None:
            file.write(f"end\t{number}\t0\t2\t{code}\tnode\n")
    if code == 0:
        folder = runs / f"demo-seed{index}" / {"extrapolate": "predictions"}.get(job, job)
        folder.mkdir(parents=True)
        (folder / "stage.json").write_text(json.dumps({"finished": True, "identity": job}))
        if job == "report":
            (folder.parent / "config.json").write_text(json.dumps({"seed": index}))
            pd.DataFrame({"id": ["P0"], "ours": [float(index)]}).to_csv(
                folder / "claims.csv", index=False
            )


def test_submitting_chains_arrays_and_the_same_command_again_submits_nothing(cluster, capsys):
    assert go(cluster) == 0
    assert calls_of(cluster) == FIRST
    assert go(cluster) == 0
    assert calls_of(cluster) == FIRST
    assert "submitted already" in capsys.readouterr().out
    manifest = (cluster / "runs" / "slurm" / "manifest.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in manifest] == ["demo-seed0", "demo-seed1", "demo-seed2"]


def test_two_submissions_at_once_submit_once(cluster):
    command = [sys.executable, "-m", "slurm", "submit", "demo", "--runs", str(cluster / "runs")]
    calls = [
        subprocess.Popen([*command, STAGES, "seed=0,1,2"], cwd=CHECKOUT, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    told = [call.communicate()[0].decode() for call in calls]
    assert [call.returncode for call in calls] == [0, 0, 0]
    assert calls_of(cluster) == FIRST
    assert sum("submitted already" in each for each in told) == 2


def test_a_throttled_submission_waits_for_the_wave_before(cluster):
    assert go(cluster, "--throttle", "2") == 0
    assert calls_of(cluster) == [
        ("0-1", None, "measure.sh"),
        ("0-1", "aftercorr:101", "extrapolate.sh"),
        ("0-1", "aftercorr:102", "report.sh"),
        ("2", "afterany:103", "measure.sh"),
        ("2", "aftercorr:104", "extrapolate.sh"),
        ("2", "aftercorr:105", "report.sh"),
        (None, "afterany:106", "merge.sh"),
    ]


def test_another_submission_into_the_same_folder_is_refused(cluster, capsys):
    assert go(cluster) == 0
    assert go(cluster, "measure.threads=1") == 2
    assert "another submission is there already" in capsys.readouterr().err


def test_a_submission_that_was_cut_short_goes_on_with_a_corrected_site(
    cluster, monkeypatch, capsys
):
    monkeypatch.setenv("SBATCH_FAILS", "2")
    assert go(cluster) == 2
    assert "invalid partition" in capsys.readouterr().err
    assert calls_of(cluster) == FIRST[:2]
    monkeypatch.delenv("SBATCH_FAILS")
    (cluster / "site.yaml").write_text("partition: better\n")
    assert go(cluster, "--site", str(cluster / "site.yaml")) == 0
    assert calls_of(cluster) == FIRST
    script = (cluster / "runs" / "slurm" / "report.sh").read_text()
    assert "#SBATCH --partition=better" in script


def test_a_job_that_was_submitted_but_not_written_down_is_found_in_the_queue(cluster):
    (cluster / "queue").write_text("55|0|PENDING|Priority\n")
    assert go(cluster) == 0  # every name is found: nothing is submitted twice
    assert calls_of(cluster) == []


def test_status_and_retry_and_merge_after_a_failure(cluster, capsys):
    assert go(cluster) == 0
    for job, number in (("measure", 101), ("extrapolate", 102), ("report", 103)):
        finish(cluster, 0, job, number, 0)
    finish(cluster, 1, "measure", 101, 0)
    finish(cluster, 1, "extrapolate", 102, 2)
    finish(cluster, 2, "measure", 101, None)
    runs = str(cluster / "runs")
    capsys.readouterr()

    assert main(["status", runs]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["cell", "measure", "extrapolate", "report"],
        ["demo-seed0", "done", "done", "done"],
        ["demo-seed1", "done", "failed", "stopped"],
        ["demo-seed2", "lost", "stopped", "stopped"],
    ]
    assert f"failed: demo-seed1, extrapolate (exit 2): {runs}/slurm/logs/demo-seed1" in lines[6]

    assert main(["merge", runs]) == 3
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        "not done: demo-seed1 (extrapolate failed, exit 2)",
        "not done: demo-seed2 (measure lost, no exit code)",
    ]
    claims = pd.read_parquet(cluster / "runs" / "merged" / "claims.parquet")
    assert claims.to_dict("records") == [
        {
            "model": "tiny",
            "algorithm": "grpo",
            "seed": 0,
            "cell": "demo-seed0",
            "id": "P0",
            "ours": 0.0,
        }
    ]

    assert main(["retry", runs]) == 0
    assert calls_of(cluster)[4:-1] == [
        ("1", None, "extrapolate.sh"),
        ("1", "aftercorr:105", "report.sh"),
        ("2", None, "measure.sh"),
        ("2", "aftercorr:107", "extrapolate.sh"),
        ("2", "aftercorr:108", "report.sh"),
    ]
    assert calls_of(cluster)[-1] == (None, "afterany:106:109", "merge.sh")

    for index, job, number in (
        (1, "extrapolate", 105),
        (1, "report", 106),
        (2, "measure", 107),
        (2, "extrapolate", 108),
        (2, "report", 109),
    ):
        finish(cluster, index, job, number, 0)
    assert main(["merge", runs]) == 0
    claims = pd.read_csv(cluster / "runs" / "merged" / "claims.csv")
    assert list(claims["seed"]) == [0, 1, 2]
    ledger = pd.read_parquet(cluster / "runs" / "merged" / "ledger.parquet")
    assert list(ledger["id"]) == list(BY_ID)
    assert main(["retry", runs]) == 0
    assert "nothing has failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cut", "stocked"), [(-4, False), (-4, True), (-len("P0,0.0\n"), True), (0, True)]
)
def test_half_a_table_of_claims_is_not_merged(cluster, capsys, cut, stocked):
    assert go(cluster) == 0
    for index in (0, 1, 2):
        for number, job in enumerate(("measure", "extrapolate", "report"), 101):
            finish(cluster, index, job, number, 0)
    folder = cluster / "runs" / "demo-seed1" / "report"
    if stocked:
        stock = take_stock("report", folder)
        (folder / "stage.json").write_text(
            json.dumps({"finished": True, "identity": "report", **stock})
        )
    claims = (folder / "claims.csv").read_bytes()
    (folder / "claims.csv").write_bytes(claims[: len(claims) + cut])
    capsys.readouterr()
    assert main(["merge", str(cluster / "runs")]) == (2 if cut else 0)
    if cut:
        assert "demo-seed1/report/claims.csv" in capsys.readouterr().err
        assert not (cluster / "runs" / "merged").exists()


def test_what_is_queued_or_running_is_left_alone_by_a_retry(cluster):
    assert go(cluster) == 0
    made, runs = submission.load(cluster / "runs"), cluster / "runs"
    finish(cluster, 0, "measure", 101, 75)
    queue = {("101", 0): ("PENDING", "BeginTime"), ("101", 1): ("RUNNING", "None")}
    queue |= {(n, i): ("PENDING", "Dependency") for n in ("102", "103") for i in range(2)}
    table = status.read(made, runs, queue)
    words = {i: [state.word for state in table[i].values()] for i in table}
    assert words == {
        0: ["queued", "waiting", "waiting"],
        1: ["running", "waiting", "waiting"],
        2: ["cancelled", "stopped", "stopped"],
    }
    assert status.left(made, table) == {2: ("measure", "extrapolate", "report")}


def test_a_task_on_its_way_out_counts_by_its_exit_code(cluster):
    assert go(cluster) == 0
    made, runs = submission.load(cluster / "runs"), cluster / "runs"
    finish(cluster, 0, "measure", 101, 0)
    table = status.read(made, runs, {("101", 0): ("COMPLETING", "None")})
    assert table[0]["measure"].word == "done"


def test_exit_code_0_without_a_finished_stage_is_a_failure(cluster):
    assert go(cluster) == 0
    made, runs = submission.load(cluster / "runs"), cluster / "runs"
    finish(cluster, 0, "measure", 101, 0)
    (runs / "demo-seed0" / "measure" / "stage.json").unlink()
    assert status.read(made, runs, {})[0]["measure"].word == "failed"


def test_without_a_queue_an_open_attempt_is_not_called_lost(cluster):
    assert go(cluster) == 0
    finish(cluster, 0, "measure", 101, None)
    made = submission.load(cluster / "runs")
    assert status.read(made, cluster / "runs", None)[0]["measure"].word == "unknown"


def test_a_retry_with_a_corrected_site_asks_for_more(cluster):
    assert go(cluster) == 0
    finish(cluster, 0, "measure", 101, 1)
    for index in (1, 2):
        for job, number in (("measure", 101), ("extrapolate", 102), ("report", 103)):
            finish(cluster, index, job, number, 0)
    (cluster / "site.yaml").write_text("jobs: {measure: {memory_gib: 64}}\n")
    assert main(["retry", str(cluster / "runs"), "--site", str(cluster / "site.yaml")]) == 0
    retried = (cluster / "calls").read_text().splitlines()[4]
    assert "--array=0 " in retried and "--mem=64G" in retried


def test_without_slurm_submitting_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["submit", "demo", "--runs", str(tmp_path / "runs")]) == 2
    assert "dry_run=true" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


# --- several nodes ---


def test_what_verl_is_told_reaches_the_workers_of_a_ray_that_was_there_before(monkeypatch):
    from rlvr_dynamics.training.verl_environment import joining_overrides
    from rlvr_dynamics.training.verl_schema import resolved

    monkeypatch.setenv("HERE", "already")
    given = {"HERE": "already", "NUMBER": "1", "TEXT": 'a b="c",{d}:e', "TMPDIR": "/only/here"}
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert joining_overrides(given) == []
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    environment = resolved(joining_overrides(given))["ray_kwargs"]["ray_init"]["runtime_env"]
    assert environment["env_vars"] == {"NUMBER": "1", "TEXT": 'a b="c",{d}:e'}


def test_a_node_of_a_ray_cluster_needs_only_its_own_gpus(tmp_path, monkeypatch):
    from rlvr_dynamics.flow import checks, flash_attention
    from rlvr_dynamics.run_directory.run import Run

    found = checks.check_flash_attention
    _, (config,) = compose(["grpo_qwen2_5_32b"], ["stages=[train]"], tmp_path)
    own = ["H100"] * config.trainer.gpus_per_node
    monkeypatch.setattr(checks, "gpus_found", lambda: own)
    monkeypatch.setattr(checks, "free_bytes", lambda _folder: 10**18)
    monkeypatch.setattr(checks, "check_flash_attention", lambda _config: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="GPUs"):
        checks.check_machine(Run(config, tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    checks.check_machine(Run(config, tmp_path))
    monkeypatch.setattr(checks, "check_flash_attention", found)
    monkeypatch.setattr(flash_attention, "torch_cuda", lambda: "13.0")
    monkeypatch.setattr(flash_attention, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match="flash attention"):
        checks.check_machine(Run(config, tmp_path))
