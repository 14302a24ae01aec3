"""Runs for what tells of them."""

from tests.report.conftest import host, make_run

__all__ = ["host", "make_run"]
