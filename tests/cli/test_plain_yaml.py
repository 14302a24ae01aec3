"""YAML for parameters: plain values as YAML and papermill read them, and nothing else."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from inferkit.cli.plain_yaml import MOST_BYTES, plain_yaml
from inferkit.errors import ParameterError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1\nb: [x, y]", {"a": 1, "b": ["x", "y"]}),
        ("a: {b: null, c: ~, d: }", {"a": {"b": None, "c": None, "d": None}}),
        ("[1, -2, 0, 1_000, 0x1F]", [1, -2, 0, 1000, 31]),
        ("[1.5, -1., .5, 1.0e+6, 1.0e-3]", [1.5, -1.0, 0.5, 1e6, 1e-3]),
        ("[true, no, On]", [True, False, True]),
        ("[2026-11-20, 12:30, 010, 1e6, 0b1, =, <<]", ["2026-11-20", "12:30", "010", "1e6", "0b1", "=", "<<"]),
        ("a: &x [1, 2]\nb: *x\nc: [*x, &y z, *y]", {"a": [1, 2], "b": [1, 2], "c": [[1, 2], "z", "z"]}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_plain_values_are_read(text: str, value: Any) -> None:
    assert plain_yaml(text) == value
    assert plain_yaml(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *[
            (f"a: {tag} x", "found the tag")
            for tag in ("!!bool", "!!timestamp", "!!int", "!!float", "!!binary", "!mine", "!")
        ],
        *[(f"a: {tag} [x]", "found the tag") for tag in ("!!omap", "!!set", "!!pairs", "!!python/tuple", "!!str")],
        ("a: !!python/object/apply:os.system [ls]", "found the tag"),
        ("a: *x", "found undefined alias"),
        ("a: &x [*x]", "more than 20 levels"),
        ("a: &x {b: [1, *x]}", "more than 20 levels"),
        (
            "\n".join(["a: &a0 x", *(f"{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12))]),
            "100,000 values",
        ),
        ("\n".join(["a: &a0 x", *(f"{k}: &a{k} [[*a{k - 1}]]" for k in range(1, 99))]), "more than 20 levels"),
        (
            "seed: 1\nthreads: [1]\nseed: 2",
            r"found 'seed', the same key as 'seed' of line 1: leave out one of them \(line 3, column 1\)",
        ),
        ("grid: [{skip: true, skip: false}]", "found 'skip', the same key as 'skip' of line 1"),
        ("yes: 1\nno: 2\ntrue: 3", r"found 'true', the same key as 'yes' of line 1: .* \(line 3, column 1\)"),
        ("1: a\n0x1: b", "found '0x1', the same key as '1' of line 1"),
        ("true: a\n1.0: b", r"found '1.0', the same key as 'true' of line 1"),
        ("null: a\n~: b", "found '~', the same key as 'null' of line 1"),
        ("&x seed: a\n*x : b", "found 'seed', the same key as 'seed' of line 1"),
        ("'seed': a\n\"se\\x65d\": b", "found 'seed', the same key as 'seed' of line 1"),
        ("[" * 5000, "more than 20 levels"),
        ("{a: " * 5000, "more than 20 levels"),
        ("- " * 5000, "more than 20 levels"),
        ("? [1]\n: 2", "unhashable key"),
        ("a: [", "line 1"),
        ("a: \0", "special characters"),
        ("--- 1\n--- 2", "single document in the stream: but found another"),
        ("x" * (MOST_BYTES + 1), "more than 262,144 bytes"),
    ],
)
def test_what_is_more_than_plain_is_refused_by_its_name(text: str, told: str) -> None:
    with pytest.raises(ParameterError, match=told) as caught:
        plain_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("data", "told"),
    [("a: é".encode("latin-1"), "byte 0xe9 in line 1"), ("a: 1".encode("utf-16"), "byte 0xff in line 1")],
)
def test_bytes_that_are_no_utf_8_are_refused_with_their_place(data: bytes, told: str) -> None:
    with pytest.raises(ParameterError, match=f"is no text in UTF-8: {told}: save it as UTF-8"):
        plain_yaml(data)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3) | inner.map(lambda x: [x, x]),
    max_leaves=5,
)


@given(VALUES)
def test_what_pyyaml_writes_is_read_as_it_was(value: Any) -> None:
    assert plain_yaml(yaml.safe_dump(value, allow_unicode=True)) == value


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=60) | st.binary(max_size=60))
def test_whatever_a_text_is_it_is_read_or_refused(text: str | bytes) -> None:
    told = ""
    try:
        plain_yaml(text)
    except ParameterError as error:
        told = str(error)
    assert len(told) < 600
