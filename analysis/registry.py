"""Every table and figure, in the order of the page."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

import pandas as pd

from analysis.artefact import Artefact
from analysis.study import Study
from rlvr_dynamics.errors import UserError

# One line a module, in the order of the page; each module has a list `ARTEFACTS`.
MODULES: tuple[str, ...] = (
    # ours
    "regime_map",
    "claims",
    # AlphaRL, tables
    "alpharl_table_1",
    "alpharl_table_3",
    "alpharl_table_4",
    "alpharl_table_5",
    "alpharl_table_6",
    "alpharl_table_7",
    "alpharl_table_8",
    # AlphaRL, figures
    "alpharl_figure_1",
    "alpharl_figure_3a",
    "alpharl_figure_3b",
    "alpharl_figure_4a",
    "alpharl_figure_4b",
    "alpharl_figure_5a",
    "alpharl_figure_5b",
    "alpharl_figure_6a",
    "alpharl_figure_6b",
    "alpharl_figure_6c",
    "alpharl_figure_7",
    "alpharl_figure_10",
    "alpharl_figure_11",
    "alpharl_figure_12a",
    "alpharl_figure_12b",
    "alpharl_figure_12c",
    "alpharl_figure_14",
    "alpharl_figure_15",
    "alpharl_figure_16_29",
    # RELEX, tables
    "relex_main",
    "relex_out_of_domain",
    "relex_baselines",
    "relex_ablation",
    "relex_oracle",
    "relex_far_extrapolation",
    # RELEX, figures
    "relex_curves",
    "relex_spectrum",
    "relex_linearity",
    "relex_geometry",
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


def ledger() -> Callable[[Study], pd.DataFrame] | None:
    """What builds the claims ledger; None where this package has none."""
    if find_spec(f"{__package__}.claims") is None:
        return None
    return import_module(f"{__package__}.claims").build_ledger
