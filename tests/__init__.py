"""Tests of inferkit."""

import os

# In each of hundreds of processes a thread of OpenBLAS for every CPU would spin for 40 ms, and has nothing to do.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
