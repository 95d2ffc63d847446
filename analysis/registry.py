"""Every table and figure, in the order of the page."""

import re
from collections.abc import Sequence
from importlib import import_module

from rlvr_dynamics.errors import UserError, did_you_mean
from rlvr_dynamics.reporting.artefact import Artefact

# One line per module; each has a list `ARTEFACTS`. The page shows them in this order, AlphaRL's in
# printed order.
MODULES: tuple[str, ...] = (
    "ours.acceleration_figure",
    "ours.acceleration_tables",
    "ours.regime_map",
    "ours.clocks_figure",
    "ours.clocks",
    "ours.no_signal",
    "ours.directions",
    "ours.ledger_tables",
    "ours.dtypes",
    "alpharl.accuracy_by_share",
    "alpharl.accuracy_by_stage",
    "alpharl.accuracy_by_rank",
    "alpharl.update_size_table",
    "alpharl.update_size_figure",
    "alpharl.trained_and_rank1",
    "alpharl.training_progress",
    "alpharl.kept_parts",
    "alpharl.behaviour_readings",
    "alpharl.behaviour_places",
    "alpharl.embeddings",
    "alpharl.u1_figures",
    "alpharl.pls_fits",
    "alpharl.pls_map",
    "alpharl.pls_by_module",
    "relex.accuracy_tables",
    "relex.curves",
    "relex.spectrum",
    "relex.linearity",
    "relex.geometry",
)


def artefacts() -> list[Artefact]:
    """Return every table and figure, in page order."""
    # Modules are imported only here, so that listing their names costs nothing.
    found: list[Artefact] = []
    for module in MODULES:
        found += import_module(f"{__package__}.{module}").ARTEFACTS
    names = [artefact.name for artefact in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    assert not twice, f"two artefacts are named {', '.join(twice)}"  # noqa: S101 - ours to keep
    return sorted(found, key=_place)


def _place(artefact: Artefact) -> tuple[int, bool, int, str]:
    """Sort key: paper; within AlphaRL, tables before figures, by printed number."""
    papers = list(dict.fromkeys(module.partition(".")[0] for module in MODULES))
    printed = re.fullmatch(r"alpharl_(table|figure)_(\d+)(.*)", artefact.name)
    if printed is None:
        return papers.index(artefact.paper), False, 0, ""
    kind, number, part = printed.groups()
    return papers.index(artefact.paper), kind == "figure", int(number), part


def find(name: str, among: Sequence[Artefact] | None = None) -> Artefact:
    """Find a table or figure by name.

    Args:
        name: Its full name (`alpharl_table_1`), or the part after the paper's name (`table_1`) if
            that is unique.
        among: Where to look; defaults to everything.

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
        way_out=f"{did_you_mean(name, by_name)}one of {', '.join(by_name)}",
    )
