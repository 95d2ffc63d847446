"""RELEX's tables and figures, remade from finished runs."""
