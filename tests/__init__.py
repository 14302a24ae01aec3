"""Tests of inferkit, which start hundreds of processes: what each does before its work is taken from all of them."""

import os

# OpenBLAS starts a thread for each CPU, which spins for 40 ms and has nothing to do.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# The kernel gives memory for networks and pictures 2 MiB at a time, not 4 KiB: a third less of its time.
os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
