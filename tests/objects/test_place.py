import pytest

from inferkit.errors import ParameterError
from inferkit.objects.place import ObjectPath, Store, check_endpoint, is_url, object_path, without_user

STORE = Store("http://127.0.0.1:9000")


@pytest.mark.parametrize(
    ("url", "bucket", "key", "text"),
    [
        ("s3://photos", "photos", "", "s3://photos"),
        ("s3://photos/", "photos", "", "s3://photos"),
        ("S3://my.photos-2/a/b c/", "my.photos-2", "a/b c", "s3://my.photos-2/a/b c"),
    ],
)
def test_a_url_names_a_bucket_and_a_key(url: str, bucket: str, key: str, text: str) -> None:
    place = object_path(url, STORE)
    assert place == ObjectPath(bucket, key, STORE)
    assert str(place) == text
    assert str(place / "x.tensors") == f"{text}/x.tensors"


@pytest.mark.parametrize("url", ["s3://", "s3:///key", "s3://a b/c", "s3://-x/y"])
def test_a_url_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ParameterError, match="names no bucket"):
        object_path(url, STORE)


@pytest.mark.parametrize("url", ["s3://AK:s3cr3t@photos/a", "s3://photos/a?secret=s3cr3t"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ParameterError, match="does not belong there") as raised:
        object_path(url, STORE)
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:9000", "https://s3.example.com", "http://[::1]:80"])
def test_endpoints(endpoint: str) -> None:
    assert check_endpoint(endpoint) == endpoint
    assert check_endpoint(endpoint and f"{endpoint}/") == endpoint


@pytest.mark.parametrize(
    "endpoint", ["example.com", "ftp://x", "http://", "http://x/bucket", "http://x?y", "http://x:port", "http://u:p@x"]
)
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"expected http|no user"):
        check_endpoint(endpoint)


def test_what_names_objects() -> None:
    assert is_url("s3://x")
    assert not is_url("/s3:/x")
    assert without_user("at http://u:p/w@host:80/x and s3://k:s@b") == "at http://host:80/x and s3://b"
