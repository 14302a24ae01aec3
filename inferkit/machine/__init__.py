"""The machine: what it has, where it lies, who uses it, and what it does during a run."""
