"""Every table and figure, in the order of the page."""

from collections.abc import Sequence
from importlib import import_module

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.reporting.artefact import Artefact

# One line a module, in the order of the page; each module has a list `ARTEFACTS`.
MODULES: tuple[str, ...] = (
    # ours
    "ours.regime_map",
    "ours.ledger_tables",
    # AlphaRL, tables
    "alpharl.table_1",
    "alpharl.table_3",
    "alpharl.table_4",
    "alpharl.table_5",
    "alpharl.table_6",
    "alpharl.table_7",
    "alpharl.table_8",
    # AlphaRL, figures
    "alpharl.figure_1",
    "alpharl.figure_3a",
    "alpharl.figure_3b",
    "alpharl.figure_4a",
    "alpharl.figure_4b",
    "alpharl.figure_5a",
    "alpharl.figure_5b",
    "alpharl.figure_6a",
    "alpharl.figure_6b",
    "alpharl.figure_6c",
    "alpharl.figure_7",
    "alpharl.figure_10",
    "alpharl.figure_11",
    "alpharl.figure_12a",
    "alpharl.figure_12b",
    "alpharl.figure_12c",
    "alpharl.figure_14",
    "alpharl.figure_15",
    "alpharl.figure_16_29",
    # RELEX, tables
    "relex.accuracy_tables",
    # RELEX, figures
    "relex.curves",
    "relex.spectrum",
    "relex.linearity",
    "relex.geometry",
)


def artefacts(modules: Sequence[str] = MODULES) -> list[Artefact]:
    """Every table and figure, in the order of the page.

    Args:
        modules: Names of modules of this package; imported here and not before, so that naming
            them costs nothing.
    """
    found: list[Artefact] = []
    for module in modules:
        found += import_module(f"{__package__}.{module}").ARTEFACTS
    names = [artefact.name for artefact in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    assert not twice, f"two artefacts are named {', '.join(twice)}"  # noqa: S101 - ours to keep
    return found


def find(name: str, among: Sequence[Artefact] | None = None) -> Artefact:
    """The table or figure of that name.

    Args:
        name: Its full name (`alpharl_table_1`), or what follows the paper's name (`table_1`)
            where only one paper has such a thing.
        among: Where to look; everything when not given.

    Raises:
        UserError: There is none, or several share the short name.
    """
    known = artefacts() if among is None else among
    by_name = {artefact.name: artefact for artefact in known}
    if name in by_name:
        return by_name[name]
    fitting = [full for full in by_name if full.partition("_")[2] == name]
    if len(fitting) == 1:
        return by_name[fitting[0]]
    if fitting:
        raise UserError(
            f"{name} is the name of several", where=", ".join(fitting), way_out="give the full name"
        )
    raise UserError(
        f"there is no table or figure named {name}",
        way_out=f"one of {', '.join(by_name)}",
    )
