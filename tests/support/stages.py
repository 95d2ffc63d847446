"""Runs a test's own stages, as the flow runs the product's."""

from rlvr_dynamics.flow.execute import execute
from rlvr_dynamics.flow.pipeline import Known, plan_stage
from rlvr_dynamics.run_directory.lock import locked


def do_all(run, stages, identities=None):
    """Execute unfinished stages; returns the names of those that did work."""
    worked, known = [], Known(identities or {})
    with locked(run.folder):
        for stage in stages:
            if stage.name in run.config.stages:
                item = plan_stage(run, stage, known)
                if item.state != "done":
                    execute(run, item)
                    worked.append(stage.name)
            known = known.after(run, stage)
    return worked
