"""The papers' tables, figures and claims, from finished runs: `python -m analysis`."""
