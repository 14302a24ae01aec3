"""Probes: stages measured alone."""
