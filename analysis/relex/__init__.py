"""RELEX's tables and figures, redrawn from finished runs."""
