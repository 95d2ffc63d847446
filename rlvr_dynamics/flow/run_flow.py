"""A run from its first stage to its last."""

import time
from contextlib import suppress

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow import stages
from rlvr_dynamics.flow.execute import execute, remember_marks
from rlvr_dynamics.flow.pipeline import Known, Plan, plan_stage
from rlvr_dynamics.run_directory.lock import locked
from rlvr_dynamics.run_directory.progress import append_log
from rlvr_dynamics.run_directory.provenance import restore_provenance, write_provenance
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.trajectory import external_identities
from rlvr_dynamics.sinks.follower import following
from rlvr_dynamics.system.command_line import say


def run_flow(run: Run, command: str) -> None:
    """Do all stages of a run that are not done yet, and show where the result is.

    Args:
        run: Configuration and folder.
        command: What the user typed, for the records.

    Raises:
        UserError: A stage cannot be done.
        StageFailed: A program that a stage started has failed.
    """
    with locked(run.folder), following(run.folder, run.config) as sinks:
        restore_provenance(run, command)
        worked = False
        known = Known(external_identities(run))
        for stage in stages.ALL:
            if stage.name in run.config.stages:
                item = plan_stage(run, stage, known)
                if item.state == "done":
                    remember_marks(run, item)
                    say(f"{stage.name:<12} done ({item.why})")
                else:
                    worked = True
                    sinks.started(stage.name)
                    _do(run, item, command)
                    sinks.finished(stage.name)
            known = known.after(run, stage)
        _show_result(run, worked)


def _do(run: Run, item: Plan, command: str) -> None:
    """Execute one stage; how it began and ended is said, and written to the log."""
    name = item.stage.name
    say(f"{name:<12} {'going on' if item.state == 'resume' else 'starting'} ({item.why})")
    begin = time.time()
    append_log(run.folder, {"event": "start", "stage": name, "command": command})
    write_provenance(run, command)
    try:
        seconds = execute(run, item)
    except (Exception, KeyboardInterrupt) as error:
        stopped = isinstance(error, KeyboardInterrupt)
        event = {"event": "interrupted" if stopped else "failed", "stage": name}
        if not stopped:
            event["error"] = " ".join(f"{error or type(error).__name__}".split())
        with suppress(UserError):  # a full disk: what went wrong first is what is shown
            append_log(run.folder, event)
        raise
    elapsed = round(time.time() - begin, 2)
    append_log(run.folder, {"event": "finish", "stage": name, "seconds": elapsed})
    write_provenance(run, command)
    say(f"{name:<12} finished in {seconds:.0f} s")


def _show_result(run: Run, worked: bool) -> None:
    claims = run.of("report") / "claims.csv"
    if "report" not in run.config.stages or not claims.exists():
        return
    if worked:
        import pandas as pd

        from rlvr_dynamics.reporting import ledger_as_text

        say("")
        say(ledger_as_text(pd.read_csv(claims)))
    say("")
    say(f"report: {run.of('report') / 'index.html'}  (open it in a browser)")
    if not worked:
        say("everything was done already; nothing was computed")
