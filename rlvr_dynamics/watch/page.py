"""The rows as a page that a browser loads again every few seconds."""

from pathlib import Path

import pandas as pd

from rlvr_dynamics.reporting.page import plain_entry, section, write_page
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.system.atomic import atomic_path
from rlvr_dynamics.watch.live import Live
from rlvr_dynamics.watch.rows import rows, state_in_words

PAGE = "live.html"
_HEAD = "<head>\n"


def write_live_page(live: Live, path: Path, seconds: int | None) -> None:
    """Write the page; it appears whole.

    Args:
        live: The run's state.
        path: The page.
        seconds: After how many a browser loads it again; None for never.
    """
    frame = pd.DataFrame(rows(live), columns=["quantity", "now", "course", "about"])
    table = Table("live", "Now", "", frame)
    with atomic_path(path) as temporary:
        write_page(
            temporary,
            title=live.name,
            answer=state_in_words(live),
            sections=[section("live", "Now", entries=[plain_entry(table)])],
            next_command=(
                f"python -m rlvr_dynamics.watch {path.parent}",
                "shows the same in a terminal",
            ),
        )
        if seconds is not None:
            again = f'{_HEAD}<meta http-equiv="refresh" content="{seconds}">\n'
            text = temporary.read_text(encoding="utf-8")
            temporary.write_text(text.replace(_HEAD, again, 1), encoding="utf-8", newline="\n")
