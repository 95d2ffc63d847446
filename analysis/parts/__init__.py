"""Shared parts of the tables and figures."""
