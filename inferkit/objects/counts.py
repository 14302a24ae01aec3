"""What a client did: requests, those that were repeated by their cause, connections, and bytes received."""

import threading
from collections import Counter


class Counts:
    """Counts of all of a client's threads.

    Attributes
    ----------
    requests, nbytes
        That were answered well, and the bytes of objects that they brought.
    connections
        That were opened.
    retries
        Requests that were repeated, by their cause.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.nbytes = 0
        self.connections = 0
        self.retries: Counter[str] = Counter()

    def answered(self, nbytes: int) -> None:
        """Count a request that brought so many bytes of an object."""
        with self._lock:
            self.requests += 1
            self.nbytes += nbytes

    def again(self, cause: str) -> None:
        """Count a request that is repeated."""
        with self._lock:
            self.retries[cause] += 1

    def opened(self, connections: int) -> None:
        """Count connections."""
        with self._lock:
            self.connections += connections
