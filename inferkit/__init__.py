"""Measures how many images a second a server infers from its storage, and names the limit."""

import atexit
import gc
import os

__version__ = "0.1.0"

# ONNX Runtime sends usage data and keeps a device id and a database of events in the home unless this is set before it
# is imported; its own disable_telemetry_events() comes too late. Whoever wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Python ends a process with a look through everything that was imported, for garbage that goes with the process anyway:
# a tenth of the CPU time of a short one. It does not look through what is frozen.
atexit.register(gc.freeze)
