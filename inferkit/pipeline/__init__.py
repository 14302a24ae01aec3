"""The pipeline: reader threads, ring, copy, infer, and the processes that run it."""
