from pathlib import Path

import pytest

from inferkit.errors import ParameterError
from inferkit.objects.place import Store
from inferkit.objects.resolving import address_of, region_of

PROXY = "http://me:s3cr3t@proxy.example:3128"


@pytest.mark.parametrize(
    ("store", "variables", "address"),
    [
        (Store(), {}, "https://s3.us-east-1.amazonaws.com"),
        (Store(region="eu-west-1"), {"AWS_REGION": "x"}, "https://s3.eu-west-1.amazonaws.com"),
        (Store(), {"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": "http://b:2/"}, "http://b:2"),
        (Store("http://c:3"), {"AWS_ENDPOINT_URL": "http://a:1"}, "http://c:3"),
    ],
)
def test_where_a_store_is(
    store: Store, variables: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert address_of(store) == address


CONFIG = """
[default]
endpoint_url = http://127.0.0.1:1
[profile other]
region = eu-west-1
endpoint_url = http://127.0.0.1:2
[profile bad]
endpoint_url = http://me:s3cr3t@127.0.0.1
"""


def test_what_a_profile_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(CONFIG)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert (address_of(Store()), region_of(Store())) == ("http://127.0.0.1:1", "us-east-1")
    other = Store(profile="other")
    assert (address_of(other), region_of(other)) == ("http://127.0.0.1:2", "eu-west-1")
    with pytest.raises(ParameterError, match="endpoint holds no user") as raised:
        address_of(Store(profile="bad"))
    assert "s3cr3t" not in str(raised.value)
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert (address_of(Store()), region_of(Store())) == ("http://127.0.0.1:2", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:3")
    assert (address_of(Store()), region_of(Store())) == ("http://127.0.0.1:3", "ap-south-1")
    assert region_of(Store(region="eu-north-1")) == "eu-north-1"


@pytest.mark.parametrize(
    ("endpoint", "variables"),
    [
        ("https://s3.example.com", {"HTTPS_PROXY": PROXY}),
        ("https://s3.example.com", {"https_proxy": PROXY, "NO_PROXY": "other.example.com,localhost"}),
        ("http://10.0.0.7:9000", {"http_proxy": PROXY}),
        ("", {"HTTPS_PROXY": PROXY}),
    ],
)
def test_a_proxy_on_the_way_is_refused_and_not_repeated(
    endpoint: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ParameterError, match=r"HTTPS?_PROXY is set.*not supported.*NO_PROXY") as raised:
        address_of(Store(endpoint))
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    ("endpoint", "variables"),
    [
        ("http://s3.example.com", {"HTTPS_PROXY": PROXY}),
        ("https://s3.example.com", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".example.com"}),
        ("http://10.0.0.7:9000", {"HTTP_PROXY": PROXY, "no_proxy": "10.0.0.7"}),
        ("https://s3.example.com", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}),
        ("https://s3.example.com", {"HTTPS_PROXY": ""}),
    ],
)
def test_a_proxy_for_others_does_not_matter(
    endpoint: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert address_of(Store(endpoint)) == endpoint


@pytest.mark.parametrize("region", ["eu west", "eu-west-1\r\nx: y", "ü"])
def test_what_is_no_region_is_refused(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    with pytest.raises(ParameterError, match=r"expected a name such as eu-central-1"):
        region_of(Store())
