"""What a verdict is apart from how steady the machine was while the tests ran."""

from inferkit.records.run import Run


def verdict(run: Run) -> str:
    """Return the verdict; VALID where nothing but noise speaks against the figure."""
    return "VALID" if run.noisy else run.verdict
