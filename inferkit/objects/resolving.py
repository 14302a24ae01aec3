"""Which address and region a store has, where the parameters leave that to the environment."""

import os
import re
from urllib.parse import urlsplit

from inferkit.errors import ParameterError
from inferkit.objects.place import Store, check_endpoint
from inferkit.objects.profiles import setting

_REGION = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def region_of(store: Store) -> str:
    """Return a store's region.

    Raises
    ------
    ParameterError
        If what is called so is none.
    """
    environ = os.environ
    region = store.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION", "")
    region = region or setting("region", store.profile) or "us-east-1"
    if not _REGION.fullmatch(region):
        message = f"s3_region (or AWS_REGION, or the profile's) is {region!r}: expected a name such as eu-central-1"
        raise ParameterError(message)
    return region


def address_of(store: Store) -> str:
    """Return a store's address, such as ``https://s3.eu-west-1.amazonaws.com``.

    Raises
    ------
    ParameterError
        If the environment names one that is none, or a proxy on the way to it.
    """
    named = store.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    named = named or setting("endpoint_url", store.profile)
    try:
        address = check_endpoint(named) or f"https://s3.{region_of(store)}.amazonaws.com"
    except ValueError as error:
        message = f"s3_endpoint (or AWS_ENDPOINT_URL, or the profile's endpoint_url): {error}"
        raise ParameterError(message) from error
    _refuse_proxy(address)
    return address


def _refuse_proxy(address: str) -> None:
    """Refuse what the environment wants to be asked through a proxy: that would be what is measured."""
    from urllib.request import getproxies, proxy_bypass  # it takes a tenth of all that a rank imports

    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme in getproxies() and not proxy_bypass(host):
        variable = f"{parts.scheme.upper()}_PROXY"
        message = (
            f"{variable} is set, so that {host} is to be asked through a proxy, which is not supported: it would be "
            f"measured in place of the store. Add {host} to NO_PROXY if it is reached without, or unset {variable}"
        )
        raise ParameterError(message)


def host_of(store: Store) -> tuple[str, int]:
    """Return the host and the port at which a store answers."""
    parts = urlsplit(address_of(store))
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
