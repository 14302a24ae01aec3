"""Records: what was asked, what was measured and on what machine. Models only; they open on any system."""
