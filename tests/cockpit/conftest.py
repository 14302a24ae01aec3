"""Runs for what tells of them."""

from tests.browser import lab, playwright
from tests.report.conftest import host, make_run

__all__ = ["host", "lab", "make_run", "playwright"]
