"""A real Slurm on one machine, for tests; everything is in one temporary folder.

`python -m slurm.one_node [--nodes N] [--fetch] [-- COMMAND...]` starts it, runs the command (or a
shell) with SLURM_CONF set, and stops it again. Needs Debian's packages slurm-wlm and munge; with
--fetch they are downloaded and unpacked into the folder, which needs no root rights. All nodes are
this machine under several names, so that multi-node jobs can be tried.
"""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system import children
from rlvr_dynamics.system.command_line import Parser, count_of, end

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmstepd", "sbatch", "squeue", "srun", "scontrol")
PACKAGES = (
    *("munge", "libmunge2", "slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins"),
    *("libhwloc15", "liblua5.1-0"),
)
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/bin")
START_SECONDS = 20.0
STOP_SECONDS = 15.0
LONGEST_SOCKET = 100  # a socket's path can have at most 107 characters

CONFIGURATION = """\
ClusterName=one_node
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge/socket,cred_expire=5
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=3600
MailProg=/bin/true
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/finished.txt
JobAcctGatherType=jobacct_gather/none
"""


def missing_programs() -> list[str]:
    """Return the programs of slurm-wlm and munge that this machine lacks."""
    return [name for name in PROGRAMS if _find(name, Path("/")) is None]


def fetch(root: Path) -> Path:
    """Download Debian's packages with apt-get and unpack them in `root`, without installing.

    Raises:
        UserError: apt-get is missing or cannot download.
    """
    packages = root / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    quiet: dict[str, Any] = {"cwd": packages, "check": True, "capture_output": True, "text": True}
    try:
        subprocess.run(["apt-get", "download", *PACKAGES], **quiet)  # noqa: S607
        for file in sorted(packages.glob("*.deb")):
            subprocess.run(["dpkg", "-x", str(file), "."], **quiet)  # noqa: S607
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        raise UserError(
            f"Debian's packages cannot be fetched: {' '.join(detail.split())[:300]}",
            where=str(packages),
            way_out="apt-get install slurm-wlm munge",
        ) from error
    return packages


def _find(name: str, system: Path) -> Path | None:
    # Debian's alternatives (slurmd -> slurmd-wlm) exist only for installed packages.
    for folder in SYSTEM_FOLDERS:
        for spelled in (name, f"{name}-wlm"):
            candidate = system / folder.lstrip("/") / spelled
            if candidate.exists():
                return candidate
    found = shutil.which(name) if system == Path("/") else None
    return Path(found) if found else None


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


class _Cluster:
    """Daemons as children of this process, and the environment variables for its commands."""

    def __init__(self, root: Path, system: Path, nodes: int, cpus: int) -> None:
        self.root, self.system = root, system
        self.names = [f"node{number}" for number in range(1, nodes + 1)]
        self.cpus = cpus
        self.children: list[subprocess.Popen[bytes]] = []
        foreign = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
        self.environment = foreign | {"SLURM_CONF": str(root / "slurm.conf")}
        if system != Path("/"):
            folders = [str(system / folder.lstrip("/")) for folder in SYSTEM_FOLDERS]
            libraries = sorted({str(file.parent) for file in system.rglob("lib*.so*")})
            self.environment["PATH"] = os.pathsep.join([*folders, os.environ["PATH"]])
            self.environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
            for name in ("slurmctld", "slurmd", "slurmstepd"):
                link = system / "usr" / "sbin" / name
                if not link.exists():
                    link.symlink_to(f"{name}-wlm")

    def program(self, name: str) -> str:
        found = _find(name, self.system)
        if found is None:
            raise UserError(
                f"{name} is not here",
                where=str(self.system),
                way_out="apt-get install slurm-wlm munge, or --fetch",
            )
        return str(found)

    def configure(self) -> None:
        """Write slurm.conf and munge's key."""
        for name in ("munge", "state"):
            (self.root / name).mkdir(mode=0o700)
        key = self.root / "munge" / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        ports = _free_ports(1 + len(self.names))
        text = CONFIGURATION.format(
            host=socket.gethostname(), ports=ports, user=getpass.getuser(), root=self.root
        )
        if self.system != Path("/"):
            plugins = next(self.system.rglob("auth_munge.so")).parent
            text += f"PluginDir={plugins}\n"
        memory = psutil.virtual_memory().total // 2**20 * 95 // 100
        for name, port in zip(self.names, ports[1:], strict=True):
            text += (
                f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 "
                f"Port={port} CPUs={self.cpus} RealMemory={memory} State=UNKNOWN\n"
            )
        for partition in ("cpu Default=YES", "gpu"):
            text += f"PartitionName={partition} Nodes={','.join(self.names)} MaxTime=INFINITE\n"
        (self.root / "slurm.conf").write_text(text, encoding="utf-8")

    def start(self) -> None:
        munge = self.root / "munge"
        self._child(
            [
                self.program("munged"),
                *("--foreground", "--force", f"--key-file={munge}/key"),
                *(f"--socket={munge}/socket", f"--pid-file={munge}/pid"),
                *(f"--log-file={munge}/log", f"--seed-file={munge}/seed"),
            ]
        )
        self._until((munge / "socket").exists, "munged")
        self._child([self.program("slurmctld"), "-D", "-i"])
        for name in self.names:
            self._child(
                [self.program("slurmd"), "-D", "-N", name, "-d", self.program("slurmstepd")]
            )
        self._until(self._all_idle, "slurmctld and slurmd")

    def _child(self, command: list[str]) -> None:
        with open(self.root / "daemons.log", "ab") as log:
            self.children.append(
                children.start(
                    command, watches_input=False, env=self.environment, stdout=log, stderr=log
                )
            )

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            ended = [child.args for child in self.children if child.poll() is not None]
            if ended or time.monotonic() > deadline:
                log = (self.root / "daemons.log").read_text(errors="replace")
                raise UserError(
                    f"{what} did not start: {' '.join(log.split())[-400:]}", where=str(self.root)
                )
            time.sleep(0.1)

    def _all_idle(self) -> bool:
        asked = self.run(["sinfo", "--noheader", "--Node", "--format=%T", "--partition=cpu"])
        return asked.returncode == 0 and asked.stdout.split() == ["idle"] * len(self.names)

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )

    def stop(self) -> None:
        """End the jobs, then the daemons in reverse order."""
        if len(self.children) > 1:
            self.run(["scancel", "--user", getpass.getuser()])
            deadline = time.monotonic() + STOP_SECONDS
            while time.monotonic() < deadline:
                listed = self.run(["squeue", "--noheader", "--states=all", "--format=%T"])
                busy = {"RUNNING", "PENDING", "COMPLETING", "CONFIGURING"}
                if listed.returncode or not busy & set(listed.stdout.split()):
                    break
                time.sleep(0.2)
        for child in reversed(self.children):
            child.terminate()
            children.end(child, STOP_SECONDS)


@contextmanager
def one_node(
    root: Path | None = None, *, nodes: int = 1, cpus: int | None = None, packages: bool = False
) -> Iterator[dict[str, str]]:
    """Run Slurm in a context; its jobs and daemons end on exit.

    Args:
        root: Folder for everything, with a short path; None for a temporary one.
        nodes: Number of names under which this machine appears.
        cpus: Processors per node; None for all of this machine's.
        packages: Download Slurm and munge into the folder instead of using the system's.

    Yields:
        Environment variables for sbatch, squeue and similar commands.

    Raises:
        UserError: The programs are missing, or do not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-")) if root is None else root.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if len(str(folder / "munge" / "socket")) > LONGEST_SOCKET:
            raise UserError("the path is too long for a socket", where=str(folder))
        system = fetch(folder) if packages else Path("/")
        cluster = _Cluster(folder, system, nodes, cpus or os.cpu_count() or 1)
        cluster.configure()
        try:
            cluster.start()
            yield cluster.environment
        finally:
            cluster.stop()
    finally:
        if root is None:
            shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Run a command, or a shell, inside the cluster; returns its exit code."""
    return end(lambda: _main(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: list[str]) -> int:
    parser = Parser(prog="python -m slurm.one_node", description=__doc__)
    parser.add_argument("--nodes", type=count_of, default=1, metavar="N", help="names of this node")
    parser.add_argument("--fetch", action="store_true", help="download Slurm and munge")
    split = arguments.index("--") if "--" in arguments else len(arguments)
    given = parser.parse_args(arguments[:split])
    command = arguments[split + 1 :] or [os.environ.get("SHELL", "/bin/sh")]
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with one_node(nodes=given.nodes, packages=given.fetch) as environment:
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
