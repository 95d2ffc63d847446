"""A supervised command with a grandchild in its own session."""

import os
import subprocess
import sys
from pathlib import Path

from rlvr_dynamics.system import processes

# A command that starts a grandchild in its own session, as Ray does, and then waits.
ESCAPING = (
    "import subprocess, sys, time; "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
    "start_new_session=True); time.sleep(600)"
)


def start_supervised(marker: str, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rlvr_dynamics.system.supervise", marker, str(log), "--"]
    return subprocess.Popen(
        [*command, sys.executable, "-c", ESCAPING],
        stdin=subprocess.PIPE,
        env={**os.environ, processes.MARKER: marker},
        start_new_session=True,
    )
