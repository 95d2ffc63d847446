"""A run's settings beside those of the paper that it follows."""

import math
from dataclasses import dataclass

from rlvr_dynamics.fidelity import alpharl, methods, relex
from rlvr_dynamics.fidelity.ours import further_settings, what_is_trained
from rlvr_dynamics.fidelity.setting import Setting, Value
from rlvr_dynamics.schema import RunConfig

SAME, DIFFERS, OPEN = "same", "differs", "not printed"
CHANGED = "chosen for this run"
PAPERS = {"alpharl": alpharl, "relex": relex}
ADAPTERS = Setting(
    name="what is trained",
    key="algorithm.lora",
    source="ours",
    ours=what_is_trained,
    chosen="every weight",
    applies=lambda config: config.algorithm.lora is not None,
)
FURTHER = Setting(
    name="further settings of verl",
    key="trainer.verl_overrides",
    source="ours",
    ours=further_settings,
    chosen="none",
    applies=lambda config: bool(config.trainer.verl_overrides),
)


@dataclass(frozen=True)
class Row:
    """One setting of a run beside the paper's.

    Attributes:
        setting: What it is.
        key: The key that holds ours.
        paper: The paper's value, in words.
        ours: Ours, in words.
        source: Where the paper or its code has it.
        state: `same`; `differs`, from what is printed or, where nothing is, from what the grid
            chose; or `not printed`.
        reason: Why ours is what it is; empty where it is the same.
    """

    setting: str
    key: str
    paper: str
    ours: str
    source: str
    state: str
    reason: str


def names_of(protocol: str) -> tuple[str, ...]:
    """Return the names of a paper's settings and of the algorithms' own, in order."""
    return tuple(setting.name for setting in (*PAPERS[protocol].SETTINGS, *methods.SETTINGS))


def rows_of(config: RunConfig) -> tuple[Row, ...]:
    """Return every declared setting of a run that follows a paper; () if it follows none.

    Settings of an algorithm that the followed paper did not train come from the algorithm's own.
    """
    if config.protocol is None:
        return ()
    paper = PAPERS[config.protocol]
    own = config.algorithm.name in paper.TRAINED
    declared = [*paper.SETTINGS, *(() if own else methods.SETTINGS), ADAPTERS, FURTHER]
    return tuple(_row(setting, config) for setting in declared if setting.applies(config))


def differences(config: RunConfig) -> tuple[Row, ...]:
    """Return the settings of a run that differ from the papers' or, where open, from the grid's."""
    return tuple(row for row in rows_of(config) if row.state == DIFFERS)


def _row(setting: Setting, config: RunConfig) -> Row:
    paper, chosen, ours = setting.of_paper(config), setting.of_cells(config), setting.of_run(config)
    changed = chosen is not None and not _equal(chosen, ours)
    if paper is None:
        state = DIFFERS if changed else OPEN
    else:
        state = SAME if _equal(paper, ours) else DIFFERS
    reason = setting.reason
    if changed or not reason:
        reason = (
            CHANGED
            if chosen is None or not changed
            else f"{CHANGED} (in the grid: {_words(chosen)})"
        )
    return Row(
        setting=setting.name,
        key=setting.key,
        paper=setting.words or ("not printed" if paper is None else _words(paper)),
        ours=_words(ours),
        source=setting.source,
        state=state,
        reason="" if state == SAME else reason,
    )


def _equal(one: Value, other: Value) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9)
    return one == other


def _words(value: Value) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else value
