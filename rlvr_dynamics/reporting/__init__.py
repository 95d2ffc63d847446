"""From the tables of a finished run to its page: claims, figures, tables, one HTML file."""

from rlvr_dynamics.claims.in_words import ledger_as_text
from rlvr_dynamics.reporting.report import Report, build_report

__all__ = ["Report", "build_report", "ledger_as_text"]
