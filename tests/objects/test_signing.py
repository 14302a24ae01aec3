from datetime import UTC, datetime

from inferkit.objects.credentials import Credentials
from inferkit.objects.signing import EMPTY, quoted_path, quoted_query, signed

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
"""Of Amazon's documentation ("Signature Calculations for the Authorization Header", Amazon S3 API Reference)."""
THEN = datetime(2013, 5, 24, tzinfo=UTC)
HOST = {"host": "examplebucket.s3.amazonaws.com"}


def test_the_signatures_are_those_of_amazons_examples() -> None:
    get = signed("GET", "/test.txt", "", {**HOST, "range": "bytes=0-9"}, EMPTY, EXAMPLE, "us-east-1", THEN)
    assert get["authorization"].endswith("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    query = quoted_query({"prefix": "J", "max-keys": "2"})
    listing = signed("GET", "/", query, HOST, EMPTY, EXAMPLE, "us-east-1", THEN)
    assert listing["authorization"].endswith("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")


def test_a_sessions_token_is_signed_as_well() -> None:
    own = signed("GET", "/", "", HOST, EMPTY, Credentials("key", "secret", "token"), "us-east-1", THEN)
    assert own["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in own["authorization"]


def test_paths_and_queries_are_quoted_as_they_are_signed() -> None:
    assert quoted_path("/b/a b/ü+&~.tensors") == "/b/a%20b/%C3%BC%2B%26~.tensors"
    assert quoted_query({"b": "1/2 3", "a": ""}) == "a=&b=1%2F2%203"
