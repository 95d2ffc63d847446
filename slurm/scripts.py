"""The text of the batch scripts: a header for site and job, then a common shell part."""

import re
import shlex
from pathlib import Path

from rlvr_dynamics.system.installation import HOME, IN_WHEEL, module

from .site import Site

HERE = Path(__file__).resolve().parent
RAY_SECONDS = 600  # time for the nodes of one job to find each other


def manifest(lines: list[str]) -> str:
    """Return the text of manifest.tsv: line i + 1 belongs to array index i."""
    return "".join(line + "\n" for line in lines)


def task_script(job: str, stages: tuple[str, ...], folder: Path, site: Site) -> str:
    """Return the batch script for all arrays of one kind of job.

    Args:
        job: Its name.
        stages: The stages it runs.
        folder: Folder of the submission (manifest, logs, attempts).
        site: The site.
    """
    header = _header(
        job,
        site,
        [
            "--requeue",
            "--open-mode=append",
            f"--signal=B:USR1@{site.signal_seconds}",
        ],
    )
    facts = [
        f"job={job}",
        f"stages='[{','.join(stages)}]'",
        f"submission={shlex.quote(str(folder))}",
        f"max_requeues={site.max_requeues}",
    ]
    if job == "train":
        facts += [f"ray_seconds={RAY_SECONDS}", f"ray_nodes={module('slurm.ray_nodes')}"]
    if not _reads_the_hub(job, stages):
        facts.append("export HF_HUB_OFFLINE=1")
    parts = [header, *facts, _text("task.sh"), _environment(site)]
    if job == "train":
        parts.append(_text("ray.sh"))
    return "\n".join(parts) + "\n" + _text("finish.sh")


def merge_script(folder: Path, site: Site) -> str:
    """Return the batch script that merges the tables of all cells at the end."""
    header = _header("merge", site, [])
    last = f'"${{python[@]}}" -m {module("slurm")} merge {shlex.quote(str(folder.parent))}'
    return "\n".join([header, _environment(site), last]) + "\n"


def expanding(text: str) -> str:
    """Quote a word for a shell script so that only the job's variables are expanded."""
    if "$" not in text and not text.startswith("~"):
        return shlex.quote(text)
    if text == "~" or text.startswith("~/"):
        text = f"$HOME{text[1:]}"
    return '"' + re.sub(r'["`]|\\(?!\$)|\$\(', r"\\\g<0>", text) + '"'


def _reads_the_hub(job: str, stages: tuple[str, ...]) -> bool:
    """Whether a job fetches: what `prepare` does, and measuring a published trajectory's stream."""
    return job in ("prepare", "measure") or "prepare" in stages


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _header(job: str, site: Site, flags: list[str]) -> str:
    own = site.job(job)
    given = {
        "account": own.account,
        "partition": own.partition,
        "qos": own.qos,
        "constraint": own.constraint,
        "mail-user": site.mail_user,
        "mail-type": ",".join(site.mail_type) if site.mail_user else None,
    }
    lines = [*(f"--{key}={value}" for key, value in given.items() if value), *own.extra, *flags]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {line}" for line in lines),
            f"python=({' '.join(expanding(word) for word in site.command)})",
        ]
    )


def _environment(site: Site) -> str:
    # A wheel's jobs stay where they were submitted: its folder would hide the standard library.
    lines = [] if IN_WHEEL else [f"cd {shlex.quote(str(HOME))} || exit 1"]
    lines += [f"module load {shlex.quote(module)}" for module in site.modules]
    lines += site.environment
    lines += [f"export {key}={expanding(value)}" for key, value in site.variables.items()]
    if site.temporary:
        lines += [f"export TMPDIR={expanding(site.temporary)}", 'mkdir -p "$TMPDIR"']
    return "\n".join(lines)
