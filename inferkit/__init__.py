"""Measures how many images a second a server infers from its storage, and names the limit."""

__version__ = "0.1.0"
