"""The report stage: one page, its figures and its tables, from the tables of the others."""

from pathlib import Path
from typing import Any

from rlvr_dynamics.flow.stage import Stage, sections
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import RunConfig


def _work(run: Run, folder: Path) -> None:
    from rlvr_dynamics.reporting import build_report

    build_report(run.folder, folder)


def _settings(config: RunConfig) -> dict[str, Any]:
    values = sections(config, "name", "report", "seed", "algorithm", "trainer")
    rate = config.source.learning_rate
    return (
        values
        | (sections(config, "acceleration") if config.acceleration is not None else {})
        | ({"protocol": config.protocol} if config.protocol is not None else {})
        | ({"source": {"learning_rate": rate}} if rate is not None else {})
    )


STAGE = Stage(
    name="report",
    version=3,
    needs=("prepare", "train", "measure", "extrapolate", "score", "behaviour"),
    required=(),
    packages=("matplotlib", "pandas"),
    settings=_settings,
    work=_work,
)
