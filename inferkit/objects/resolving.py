"""Which address and region a store has, where the parameters leave that to the environment."""

import os
from urllib.parse import urlsplit

from inferkit.errors import ParameterError
from inferkit.objects.credentials import find_region
from inferkit.objects.place import Store, check_endpoint


def region_of(store: Store) -> str:
    """Return a store's region."""
    return store.region or find_region(store.profile)


def address_of(store: Store) -> str:
    """Return a store's address, such as ``https://s3.eu-west-1.amazonaws.com``.

    Raises
    ------
    ParameterError
        If the environment names one that is none.
    """
    named = store.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    try:
        return check_endpoint(named) or f"https://s3.{region_of(store)}.amazonaws.com"
    except ValueError as error:
        message = f"s3_endpoint (or AWS_ENDPOINT_URL): {error}"
        raise ParameterError(message) from error


def host_of(store: Store) -> tuple[str, int]:
    """Return the host and the port at which a store answers."""
    parts = urlsplit(address_of(store))
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
