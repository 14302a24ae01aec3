"""Devices: memory, copies, streams and events."""
