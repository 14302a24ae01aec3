"""Stands in for PyCUDA where that is not installed: pip cannot get it without a compiler and CUDA's headers."""
