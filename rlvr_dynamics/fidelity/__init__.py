"""Where a run's settings differ from the paper that it follows, and why."""

from rlvr_dynamics.fidelity.compare import DIFFERS, OPEN, SAME, Row, differences, names_of, rows_of

__all__ = ["DIFFERS", "OPEN", "SAME", "Row", "differences", "names_of", "rows_of"]
