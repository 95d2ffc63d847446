"""The report stage: one page, its figures and its tables, from the tables of the others."""

from pathlib import Path

from rlvr_dynamics.flow.stage import Stage, sections
from rlvr_dynamics.run_directory.run import Run


def _work(run: Run, folder: Path) -> None:
    from rlvr_dynamics.reporting import build_report

    build_report(run.folder, folder)


STAGE = Stage(
    name="report",
    version=2,
    needs=("prepare", "train", "measure", "extrapolate", "score", "behaviour"),
    required=(),
    packages=("matplotlib", "pandas"),
    settings=lambda config: sections(config, "name", "report", "seed", "algorithm", "trainer"),
    work=_work,
)
