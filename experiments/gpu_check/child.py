"""The process of one step: `python -m experiments.gpu_check.child WORK BENCH OUT`.

It leads its own process group, ends with the runner, and leaves what it found in one file.
"""

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, StageFailed, UserError
from rlvr_dynamics.system.atomic import write_json
from rlvr_dynamics.system.children import end_with_parent

from .bench import Bench
from .finding import Finding, as_json

Work = Callable[[Bench], list[Finding]]


def command(work: Work, bench: Bench, out: Path) -> list[str]:
    """Return the command line that does a step's work and writes what it found to `out`."""
    name = f"{work.__module__}:{work.__qualname__}"
    where = json.dumps(asdict(bench))
    return [sys.executable, "-m", "experiments.gpu_check.child", name, where, str(out)]


def main(work: str, where: str, out: str) -> int:
    """Do the work; returns the exit code."""
    end_with_parent()
    signal.signal(signal.SIGTERM, _interrupt)
    module, _, name = work.partition(":")
    found: dict[str, Any]
    try:
        function: Work = getattr(importlib.import_module(module), name)
        findings = function(Bench(**json.loads(where)))
        found = {"findings": [as_json(finding) for finding in findings], "error": ""}
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (UserError, StageFailed) as error:
        found = {"findings": [], "error": str(error)}
    except Exception as error:  # the step's verdict, with the traceback in its log
        traceback.print_exc()
        found = {"findings": [], "error": f"{type(error).__name__}: {error}"}
    write_json(Path(out), found)
    return EXIT_FAILED if found["error"] else EXIT_DONE


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # vLLM's and Ray's own clean-up at exit can hang, and everything is written.
    os._exit(code)
