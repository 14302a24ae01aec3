"""Linux: one kernel interface a file. What the kernel does not tell is None, never a guess."""
