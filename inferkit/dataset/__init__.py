"""Data sets: raw tensor files, their manifest, and how they are made."""
