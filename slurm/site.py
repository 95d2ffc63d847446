"""Site settings in a checked YAML file: partitions, modules, container, scratch."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from rlvr_dynamics.errors import UserError, did_you_mean
from rlvr_dynamics.schema import Frozen
from rlvr_dynamics.system.files import require_file
from rlvr_dynamics.system.installation import HOME

JobName = Literal[
    "prepare", "train", "measure", "extrapolate", "score", "behaviour", "report", "merge"
]
EXAMPLE = HOME / "slurm" / "site.example.yaml"
Line = Annotated[str, Field(pattern=r"^[^\n\r]+$")]
Word = Annotated[str, Field(pattern=r"^[^\s'\"\\$`]+$")]
Lines = Annotated[tuple[Line, ...], Field(strict=False)]
Flags = Annotated[
    tuple[Annotated[str, Field(pattern=r"^--[a-z][^\n\r]*$")], ...], Field(strict=False)
]
TimeLimit = Annotated[str, Field(pattern=r"^(\d+-)?\d{1,3}:\d{2}:\d{2}$")]


class JobSite(Frozen):
    """Settings of one kind of job; missing ones fall back to the site's own values.

    `time` (hours:minutes:seconds, or days-hours:minutes:seconds) is the limit of one attempt;
    longer work is saved, requeued and continued. `memory_gib` replaces the estimate; 0 means the
    whole node.
    """

    account: Word | None = None
    partition: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    time: TimeLimit | None = None
    cpus: Annotated[int, Field(ge=1)] | None = None
    memory_gib: Annotated[int, Field(ge=0)] | None = None
    extra: Flags = ()


class Site(Frozen):
    """Settings of a cluster and a user's account on it.

    Attributes:
        account: Accounting group of jobs that do not name another.
        partition: Partition of jobs that do not name another; None for Slurm's default.
        qos: Quality of service.
        constraint: Node features.
        mail_user: Recipient of mail.
        mail_type: Events that send mail; an array sends one mail, not one per task.
        modules: Environment modules to load.
        environment: Shell lines to run before Python, such as activating an environment.
        container: Command prefix that runs Python in a container.
        python: The interpreter; None for the submitting one.
        variables: Environment variables of every job (such as HF_HOME).
        runs: Where submissions go without --runs; variables such as $USER are expanded on submit.
        temporary: TMPDIR of every job.
        gpu_flag: The flag that asks this Slurm for GPUs per node.
        prepare_apart: Prepare (downloads) in a separate job, on a node with network.
        signal_seconds: How long before the time limit a run is stopped and saved.
        max_requeues: Maximum number of requeues per task.
        extra: Further sbatch flags of every job.
        jobs: What differs between kinds of jobs.

    Shell variables such as $SLURM_JOB_ID, and ~, are expanded where the job runs: in `container`,
    `python`, `variables` and `temporary`.
    """

    account: Word | None = None
    partition: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    mail_user: Word | None = None
    mail_type: Annotated[tuple[Word, ...], Field(strict=False)] = ("END", "FAIL")
    modules: Annotated[tuple[Word, ...], Field(strict=False)] = ()
    environment: Lines = ()
    container: Lines = ()
    python: Line | None = None
    variables: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], Line] = {}
    runs: Line | None = None
    temporary: Annotated[str, Field(pattern=r"^[^\n\r\"`]+$")] | None = None
    gpu_flag: Annotated[str, Field(pattern=r"^--[a-z-]+=\S*\{gpus\}\S*$")] = (
        "--gpus-per-node={gpus}"
    )
    prepare_apart: bool = False
    signal_seconds: Annotated[int, Field(ge=1, le=65535)] = 600
    max_requeues: Annotated[int, Field(ge=0)] = 20
    extra: Flags = ()
    jobs: dict[JobName, JobSite] = {}

    @field_validator("container", "python", "variables", "runs", "temporary")
    @classmethod
    def _no_commands(cls, value: Any) -> Any:
        given = value.values() if isinstance(value, dict) else value
        for text in (given,) if isinstance(given, str) else given or ():
            if "$(" in text or "`" in text:
                raise ValueError("shell variables only, no commands")
        return value

    @property
    def runs_folder(self) -> Path | None:
        """Return the folder for submissions, with variables expanded.

        Raises:
            UserError: A variable is not set here.
        """
        if self.runs is None:
            return None
        filled = os.path.expanduser(os.path.expandvars(self.runs))
        if "$" in filled:
            raise UserError(
                "runs: a variable of it is not set here",
                where=filled,
                way_out="set it, or give --runs DIR",
            )
        return Path(filled)

    def job(self, name: str) -> JobSite:
        """Return a kind of job's settings, with the site's own values as defaults."""
        own = self.jobs.get(name, JobSite())  # pyright: ignore[reportArgumentType, reportCallIssue]
        common = ("account", "partition", "qos", "constraint")
        return own.model_copy(
            update={key: getattr(own, key) or getattr(self, key) for key in common}
            | {"extra": (*self.extra, *own.extra)}
        )

    @property
    def command(self) -> list[str]:
        """The words that start Python inside the site's container."""
        return [*self.container, self.python or sys.executable]


def minutes(limit: str) -> int:
    """Convert Slurm's days-hours:minutes:seconds to whole minutes, rounded up."""
    days, _, clock = limit.rpartition("-")
    hours, mins, seconds = (int(part) for part in clock.split(":"))
    return (int(days or 0) * 24 + hours) * 60 + mins + (1 if seconds else 0)


def load_site(path: Path | None) -> Site:
    """Read a site file; without one, everything is left to Slurm's defaults.

    Raises:
        UserError: No such file, invalid YAML, an unknown key, a wrong type or a value that would
            break a script; the message names the key.
    """
    if path is None:
        return Site()
    try:
        require_file(path)
        text = path.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except OSError as error:
        raise UserError(
            f"site file cannot be read: {error.strerror}",
            where=str(path),
            way_out=f"start from {EXAMPLE}",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(
            f"site file is not YAML: {' '.join(str(error).split())}", where=str(path)
        ) from error
    return check_site({} if values is None else values, str(path), text)


def _written(text: str, location: tuple[Any, ...]) -> str | None:
    """Return how an unquoted value is written in a YAML text; None for other values."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: value for key, value in node.value}
            node = pairs.get(str(part))
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
        else:
            return None
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    return node.value if plain else None


def check_site(values: Any, where: str, text: str = "") -> Site:
    """Turn the values of a site file into a `Site`.

    Args:
        values: The parsed YAML.
        where: The file's name.
        text: The file's text, which shows how a value was written.

    Raises:
        UserError: As in `load_site`.
    """
    try:
        return Site.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        location = tuple(str(part) for part in first["loc"] if part != "[key]")
        key = ".".join(location) or "site file"
        if first["type"] == "extra_forbidden":
            known = sorted((JobSite if location[0] == "jobs" else Site).model_fields)
            raise UserError(
                f"{key}: unknown key",
                where=where,
                way_out=f"{did_you_mean(location[-1], known)}allowed: {', '.join(known)}",
            ) from error
        written = _written(text, first["loc"]) if text else None
        if first["type"] == "string_type" and written is not None:
            what = "time" if location[-1] == "time" else "text"
            raise UserError(
                f"{key}: {written} without quotes is a {what} that YAML reads as "
                f"{first['input']!r}",
                where=where,
                way_out=f'put it in quotes: {location[-1]}: "{written}"',
            ) from error
        raise UserError(
            f"{key}: given {first['input']!r}", where=where, way_out=f"allowed: {first['msg']}"
        ) from error
