"""How predictable are the weights of a language model under RLVR?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlvr_dynamics.reporting.loaded import LoadedRun

__all__ = ["load"]


def load(run_dir: Path | str) -> LoadedRun:
    """Load the results of a run.

    Args:
        run_dir: The run directory; any stage may be missing.

    Returns:
        Its tables as pandas frames, the ledger of claims, and the report's tables and figures,
        each made when it is asked for.

    Raises:
        UserError: It is no run directory, a file in it is damaged, or its stages do not fit
            together.
    """
    from rlvr_dynamics.reporting.loaded import load_run  # pandas takes a second

    return load_run(Path(run_dir))
