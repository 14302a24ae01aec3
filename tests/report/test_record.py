import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.errors import RecordError
from inferkit.records.figures import Figure
from inferkit.records.host import Host
from inferkit.records.run import MIME, Failure, Peer, Run
from inferkit.report.record import about, bundle, raise_for_failures
from tests.report.conftest import MakeRun

SURVIVES = {"div", "b", "span", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre"}


class Html(HTMLParser):
    """Collects what an untrusted notebook would have to show, and checks that tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(run: Run) -> Html:
    html = Html(bundle(run)["text/html"])
    assert html.open == []
    assert html.tags <= SURVIVES
    assert html.attributes <= {"style"}
    return html


def test_the_record_survives_its_bundle(make_run: MakeRun) -> None:
    run = make_run()
    data = bundle(run)
    assert set(data) == {MIME, "text/html", "text/plain"}
    again = Run.from_dict(json.loads(json.dumps(data[MIME])))
    assert again.to_dict() == run.to_dict()
    assert (again.repeats, again.reasons, again.point, again.params) == (
        run.repeats,
        run.reasons,
        run.point,
        run.params,
    )


def test_html_and_text_tell_what_was_found(make_run: MakeRun) -> None:
    run = make_run(58.0, verdict="INVALID", reasons=["window too short"], warnings=["spread"], unverified=["NUMA node"])
    text = "".join(read(run).words)
    for expected in (
        "INVALID",
        "resnet18",
        "58.00 ± 0.58 images/s",
        "96 % (58 of predicted 60.3)",
        "infer alone",
        "window too short",
        "spread",
        "NUMA node",
        "not for quoting",
    ):
        assert expected in text
    assert text.count("warm-up ") == 1
    assert text.count("measured ") == 3
    line = bundle(run)["text/plain"]
    assert "\n" not in line
    for expected in ("INVALID", "shm", "resnet18", "58.00 ± 0.58 images/s"):
        assert expected in line


def test_a_long_profile_may_be_quoted(make_run: MakeRun) -> None:
    data = bundle(make_run(profile="quick"))
    assert "not for quoting" not in data["text/html"]
    assert "not for quoting" not in data["text/plain"]


def test_a_failure_is_spelled_out_with_its_detail(failed: Run) -> None:
    text = "".join(read(failed).words)
    assert "EngineError: out of memory <b>" in text
    assert "Traceback …" in text


def test_a_missing_peer_is_said(make_run: MakeRun) -> None:
    assert "none: not installed" in "".join(read(make_run(peers=[Peer(name="fio", missing="not installed")])).words)


def test_a_peers_figure_has_its_error_as_ours_has(make_run: MakeRun) -> None:
    copies = Peer(
        name="nvbandwidth", figure=Figure(bytes_per_s=55.1e9, half_width=0.002), ratio=0.99, interval=[0.98, 1]
    )
    infers = Peer(name="trtexec", figure=Figure(images_per_s=22_800.0, half_width=0.001))
    words = "".join(read(make_run(peers=[copies, infers])).words)
    assert "55.10 ± 0.11 GB/s" in words
    assert "22,800 ± 23 images/s" in words
    assert "0.99 (0.98 … 1.00)" in words


QUALIFIES = st.lists(st.text(min_size=1, alphabet=st.characters(exclude_categories=("Cs", "Cc", "Z"))), max_size=3)


@given(reasons=QUALIFIES, warnings=QUALIFIES, unverified=QUALIFIES, detail=QUALIFIES)
def test_whatever_qualifies_a_figure_is_in_its_record(
    reasons: list[str], warnings: list[str], unverified: list[str], detail: list[str]
) -> None:
    failure = Failure(kind="EngineError", message="why", detail="\n".join(detail))
    told: dict[str, Any] = {"reasons": reasons, "warnings": warnings, "unverified": unverified, "failure": failure}
    text = "".join(read(Run(notebook="03b", measure="pipeline", host=Host(), verdict="FAILED", **told)).words)
    assert all(remark in text for remark in ["EngineError: why", *reasons, *warnings, *unverified, *detail])


def test_parameters_and_machine_are_told_once_and_nothing_that_identifies_it(make_run: MakeRun) -> None:
    host = Host.model_validate({"cpu": "EPYC <7>", "identity": {"hostname": "node-17", "user": "ada"}})
    told = about([make_run(host=host, params={"data": "<shm>"})])._repr_mimebundle_()
    html = "".join(Html(told["text/html"]).words)
    assert "EPYC <7>" in html
    assert "<shm>" in html
    assert "node-17" not in str(told)
    assert about([])._repr_mimebundle_()["text/html"]


@given(
    text=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))).map(
        lambda s: f"<script>{s}&'\""
    )
)
def test_nothing_in_a_record_becomes_markup(text: str) -> None:
    values: dict[str, Any] = {
        "point": {"reader": text, text: 1},
        "params": {text: [{"a": text}]},
        "facts": {"b": {text: text}},
    }
    run = Run(notebook="03b", measure=text, storage=text, host=Host(), verdict="INVALID", reasons=[text], **values)
    assert "script" not in read(run).tags


def test_facts_that_all_records_share_are_shown_once_and_counts_of_a_point_not_at_all(make_run: MakeRun) -> None:
    runs = [make_run(facts={"storage": {"filesystem": "xfs", "read_bytes": n}, "alone": n}) for n in (1, 2)]
    del runs[1].facts["alone"]
    html = about(runs)._repr_mimebundle_()["text/html"]
    assert html.count("storage.filesystem") == 1
    assert "storage.read_bytes" not in html
    assert "alone" in html
    assert "filesystem" not in "".join(bundle(run)["text/html"] for run in runs)


def test_what_identifies_a_machine_is_in_the_record_alone(make_run: MakeRun) -> None:
    host = Host.model_validate(
        {"cpu": "x", "identity": {"hostname": "node-17", "user": "grace", "serials": {"gpu": "S123"}}}
    )
    data = bundle(make_run(host=host))
    assert "node-17" in json.dumps(data.pop(MIME))
    assert not any(secret in json.dumps(data) for secret in ("node-17", "grace", "S123"))


def test_failed_points_fail_the_notebook_and_invalid_ones_do_not(make_run: MakeRun, failed: Run) -> None:
    invalid = make_run(verdict="INVALID", reasons=["short"])
    raise_for_failures([make_run(), invalid])
    with pytest.raises(RecordError, match=r"1 point\(s\) failed[\s\S]*vgg19[\s\S]*out of memory") as caught:
        raise_for_failures(iter([invalid, failed]))
    assert "short" not in str(caught.value)
