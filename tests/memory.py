"""So much memory for this process and no more, or less where less is allowed already."""

import resource


def limit_memory(most: int) -> None:
    """Limit the addresses of this process, for good."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
