"""Nothing that identifies is left, wherever it stands and however it is written; what figures depend on stays."""

import base64
import io
import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image, PngImagePlugin

from inferkit.records.host import Gpu, Host, Identity
from inferkit.records.notebooks import records_in
from inferkit.records.run import MIME, Failure, Run
from inferkit.report import record
from inferkit.report.anonymize import Anonymizer
from inferkit.report.charts import CHARTS
from inferkit.report.charts.theme import Nothing
from inferkit.report.display import VEGALITE_MIME, chart_bundle
from inferkit.report.identities import texts
from tests.report.conftest import MakeRun, notebook_of

EMPTY: dict[str, Any] = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
UUID = "6d1b3bf9-d1aa-44a4-8f0c-6f5f7f4ad0d6"


def ignore(_: str) -> None:
    """Take what is told."""


@pytest.fixture(scope="module")
def anonymizer() -> Anonymizer:
    return Anonymizer([EMPTY], ignore)


@pytest.mark.parametrize(
    "secret",
    [
        *("/mnt/nvme/set", "/home/ada", "/home/ada/x/y.py", "/data", "/Users/ada/Library", "~/projects/x", "~ada/x"),
        *("C:\\Users\\ada\\x.onnx", "C:\\\\Users\\\\ada", "\\\\filer\\share\\x", "//filer/share/x", "file:///home/ada"),
        *(
            "filer:/export/images",
            "10.1.2.3:/export",
            "[fe80::1]:/export",
            "10.0.0.1@tcp:/scratch",
            "nas-2.example.org:/x",
        ),
        *("s3://bucket/key", "http://node17:8888/lab?token=abc", "https://git.example.org/ada/x", "ssh://ada@node17/x"),
        *("ada@example.org", "ada.l+x@mail.example.org", "ada@node17", "ada@node17:/home/x"),
        *("10.1.2.3", "192.0.2.2/24", "10.1.2.3:8080", "fe80::fc:ff:fe00:1", "fd00::2", "2001:db8::1", "fe80::1%eth0"),
        *("02:fc:00:00:00:01", "02-fc-00-00-00-01", "b859:9f03:00aa:bbcc", "80:00:02:08:fe:80:00:00:00:00:00:00"),
        *(UUID, UUID.upper(), f"GPU-{UUID}", f"MIG-{UUID}", f"MIG-GPU-{UUID}/1/0"),
        *("3d1219c7c4c5404aaa1f6d2a48adfda4", "0x5000c500a1b2c3d4", "naa.5000c500a1b2c3d4", "eui.0025385b21404a5b"),
        *(
            "LVM-0nbcMiJ4tvRJ3gUsnLqhXMl0LC8jvJIi",
            "AbCdEf-1234-5678-90ab-cdef-1234-567890",
            "iqn.2001-04.org.example:x1",
        ),
        *("f1a2b3c4:d5e6f708:11223344:55667788", "nqn.2014-08.org.nvmexpress:uuid:1", "/dev/mapper/vg_ada-data"),
        *("/dev/disk/by-id/nvme-Samsung_S4EWNX0R", "/dev/shm/ada", "/run/user/1000/x", "/sys/fs/cgroup/x/" + UUID),
        *(
            "%2Fhome%2Fada%2Fx",
            "\\/home\\/ada",
            "/home/ada/α β",
            "</srv/x",
            "serial: S4EWNX0R",
            "/mnt/x=1/y&z/a",
            "/mnt/2026-01-01T10:20:30/x",
        ),
    ],
)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "see {} here",
        "'{}'",
        '"{}"',
        "({})",
        "path={}",
        "[{}, 1]",
        "x\\n{}",
        "\\u001b[0;32m{}",
        "a,{};b",
        "\x1b[32m{}\x1b[0m",
    ],
)
def test_what_has_the_shape_of_something_that_identifies_goes(anonymizer: Anonymizer, secret: str, around: str) -> None:
    left = anonymizer.text(around.format(secret))
    words = [word for word in secret.replace("\\", "/").split("/") if len(word) > 3 and word not in KEPT]
    assert secret not in left
    assert not any(word in left for word in words), left
    assert re.search(r"<[a-z ]+ \d+>|inferkit/", left)


KEPT = ("http:", "x.onnx", "y.py", "α β", "fs", "cgroup", "file:", "serial: S4EWNX0R")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "45,527 ± 40 images/s",
            "GB/s",
            "1/2",
            "24/7 and/or",
            "N/A",
            "a / b",
            "</details>",
            "application/json",
            "±1/√n",
        ),
        *("TensorRT 10.16.1.11", "TensorRT-RTX 1.4.0.76", "tensorrt==10.16.1.11", "version 1.2.3.4", "v1.2.3.4"),
        *(
            "Linux 6.12.9-cloud-v657",
            "2026-11-26T19:16:31+00:00",
            "12:30:45",
            "CPUs 0-3,8",
            "0000:3b:00.0",
            "std::vector",
        ),
        *("/dev/nvme0n1p1", "/dev/sda", "/dev/shm", "/dev/null", "/proc/self/io", "/sys/block/nvme0n1/queue", "vda"),
        *("127.0.0.1", "::1", "0.0.0.0", "localhost", "data/quickstart", "../data", "./x/y", "runs/nvme/…/03b.ipynb"),
        *("https://vega.github.io/schema/vega-lite/v5.20.1.json", "https://docs.nvidia.com/cuda/x", "fb9e99ad59b748eb"),
        *("NVIDIA H100 80GB HBM3", "ext4 on vda", "images-00000.tensors", "%matplotlib inline", "@property", "x@2"),
        *("memory", "datum.value / 1000 + '/s'", "f(x)/g(x)", "{base}/x", "inferkit.report.export", "float16"),
    ],
)
def test_what_figures_depend_on_stays(anonymizer: Anonymizer, text: str) -> None:
    assert anonymizer.text(text) == text.replace("x@2", anonymizer.text("x@2"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ["a-", "a+", "/a", "nvme-", "0:", "::", "a@", "%2F", "\\n", '"/', "a:/", "http://", "x"]
)
def test_a_long_text_of_a_stranger_is_searched_in_bounded_time(anonymizer: Anonymizer, piece: str) -> None:
    assert anonymizer.text(piece * 20_000)


def test_the_same_path_has_the_same_stand_in_and_another_one_another() -> None:
    anonymizer = Anonymizer([EMPTY], ignore)
    assert anonymizer.text("/mnt/a then /mnt/b then '/mnt/a'") == "<path 1> then <path 2> then '<path 1>'"
    assert anonymizer.text("/mnt/a/images-00.tensors, /mnt/a/cat.jpg.") == "<path 1>/images-00.tensors, <path 3>."


def test_a_traceback_keeps_where_in_inferkit_it_was(anonymizer: Anonymizer) -> None:
    told = 'File "/home/ada/git/inferkit/report/export.py", line 3, in export'
    assert anonymizer.text(told) == 'File "inferkit/report/export.py", line 3, in export'
    assert "inferkit/ada" not in anonymizer.text('File "/home/ada/inferkit/ada.py", line 3')


def picture(secret: str) -> str:
    told = PngImagePlugin.PngInfo()
    told.add_text("Source", secret)
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG", pnginfo=told)
    return base64.b64encode(out.getvalue()).decode()


SECRETS = ("node17", "lovelace", "S4EWNX0R", UUID, "filer9", "/mnt/nvme", "gpfs", "10.9.8.7", "secret-token")


def outputs_that_tell(where: str, chart: dict[str, Any]) -> list[dict[str, Any]]:
    """Return outputs of all kinds, each of which names a folder, a user or a host."""
    trace = [f"\x1b[31mFile \x1b[32m{where}/a.py\x1b[39m:3\x1b[0m", "\x1b[1mlove\x1b[0mlace@node17"]
    return [
        {"output_type": "stream", "name": "stderr", "text": ["lovelace@node17:~$ ls /mnt/nv"]},
        {"output_type": "stream", "name": "stderr", "text": "me/x node17\n"},
        {"output_type": "display_data", "metadata": {"by": "lovelace"}, "data": chart},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": picture(where)}},
        {"output_type": "display_data", "metadata": {}, "data": {"image/svg+xml": f"<svg><text>{where}</text></svg>"}},
        {"output_type": "display_data", "metadata": {}, "data": {"application/x-own": {"path": where}}},
        {
            "output_type": "execute_result",
            "execution_count": 1,
            "metadata": {},
            "data": {
                "text/html": f'<p title="{where}">love<b></b> &#47;mnt&#47;nvme&#47;x <a href="http://node17/x">y</a>'
                f'<img src="data:image/png;base64,{picture(where)}"></p><!-- lovelace -->',
                "text/plain": json.dumps(
                    {"path": where, "uri": quote("/mnt/nvme/ä"), "token": "http://h1/?t=secret-token"}
                ),
                "text/markdown": f"**{where}** `/gpfs/x` ![](data:image/png;base64,{picture(where)})",
                "application/json": {where: [where, {"host": "NODE17"}]},
            },
        },
        {"output_type": "error", "ename": "OSError", "evalue": f"{where} on node17", "traceback": trace},
    ]


@pytest.fixture
def foreign(make_run: MakeRun) -> dict[str, Any]:
    """A notebook of another machine that tells of it in every place there is."""
    identity = Identity(
        hostname="node17.hpc.example.org",
        user="lovelace",
        serials={"gpu0 uuid": f"GPU-{UUID}", "gpu0 serial": "S4EWNX0R"},
    )
    host = Host(cpu="AMD EPYC 9654 96-Core", gpus=[Gpu(index=0, name="NVIDIA H100")], kernel="6.1.0", identity=identity)
    where = "/mnt/nvme/lovelace's set"
    run = make_run(
        storage="nvme",
        host=host.model_copy(update={"packages": {"tensorrt": "10.16.1.11"}}),
        params={"data": where, "device": "cpu", "models": ["/gpfs/nets/my-net.onnx"], "gpus": [f"GPU-{UUID}"]},
        point={"engine": "onnx", "model": "/gpfs/nets/my-net.onnx", "batch_size": 8, "reader": "buffered"},
        warnings=[f"{where} lies on nfs4 from filer9:/export/images (10.9.8.7)", "lovelace runs python on node17"],
        reasons=["node18.hpc.example.org: TensorRT 10.16.1.11 differs"],
        failure=Failure(kind="ReadError", message=f"{where}/images-00.tensors: EIO", detail=f'File "{where}/a.py"'),
        facts={"holders": [{"on": "filer9:/export/images", f"GPU-{UUID}": 1}], "fingerprint": "ab" * 16},
        verdict="INVALID",
    )
    content = notebook_of((run,))
    drawn = CHARTS["throughput"]([run])
    assert not isinstance(drawn, Nothing)
    chart = chart_bundle(drawn)
    chart[VEGALITE_MIME]["title"]["text"] = f"From {where}"
    outputs = outputs_that_tell(where, chart)
    papermill = {"input_path": where, "output_path": where, "parameters": {"data": where}, "environment_variables": {}}
    content["metadata"] |= {"papermill": papermill, "authors": [{"name": "lovelace"}]}
    content["metadata"]["kernelspec"] = {
        "name": "lovelace-env",
        "display_name": "lovelace (node17)",
        "language": "python",
    }
    content["cells"] += [
        {
            "cell_type": "code",
            "id": "lovelace-1",
            "metadata": {
                "tags": ["injected-parameters", "lovelace"],
                "papermill": papermill,
                "jupyter": {"source_hidden": True},
            },
            "execution_count": 1,
            "source": [f'data = "{where}"\n', 'models = ["/gpfs/nets/my-net.onnx"]  # on node17'],
            "outputs": outputs,
        },
        {
            "cell_type": "markdown",
            "id": "m2",
            "metadata": {"author": "lovelace"},
            "source": "By lovelace, on node17: ![](attachment:lovelace.png), see /gpfs/x",
            "attachments": {"lovelace.png": {"image/png": picture(where)}},
        },
    ]
    return content


def test_a_notebook_of_another_machine_tells_nothing_of_it(foreign: dict[str, Any]) -> None:
    told: list[str] = []
    content = Anonymizer([foreign], told.append)(foreign)
    written = json.dumps(content)
    pixels = [base64.b64decode(text) for text in texts(content) if len(text) > 60 and text.startswith("iVBOR")]
    assert len(pixels) == 3
    for secret in SECRETS:
        assert secret.lower() not in written.lower(), written[written.lower().index(secret.lower()) - 200 :][:400]
        assert not any(secret.encode() in picture for picture in pixels)
    assert told == [
        "4 picture(s) cannot be searched for names: look at them before you share them",
        "outputs that cannot be searched were left out: application/x-own, image/svg+xml",
    ]
    assert content["metadata"]["kernelspec"]["name"] == "python3"


def test_what_is_left_is_a_record_as_before(foreign: dict[str, Any]) -> None:
    content = Anonymizer([foreign], ignore)(foreign)
    (before,), (after,) = (
        [Run.from_dict(own) for own in records_in(each) if isinstance(own, dict)] for each in (foreign, content)
    )
    assert after.measured == before.measured
    assert after.stages == before.stages
    assert after.host == before.host.model_copy(update={"identity": None})
    assert after.params["data"] == "<data folder 1>"
    assert after.params["models"] == ["<path 1>/my-net.onnx"] == [after.point["model"]]
    assert after.reasons == ["<host 1>: TensorRT 10.16.1.11 differs"] or "node18" not in after.reasons[0]
    assert after.failure is not None
    assert after.failure.message == "<data folder 1>/images-00.tensors: EIO"
    source = content["cells"][2]["source"]
    assert source.startswith('data = "<data folder 1>"\nmodels = ["<path 1>/my-net.onnx"]')
    assert content["cells"][2]["metadata"]["jupyter"] == {"source_hidden": True}


def test_a_chart_is_drawn_anew_from_what_may_be_told(foreign: dict[str, Any]) -> None:
    content = Anonymizer([foreign], ignore)(foreign)
    charts = [output["data"] for output in content["cells"][2]["outputs"] if VEGALITE_MIME in output.get("data", {})]
    before = [output["data"] for output in foreign["cells"][2]["outputs"] if VEGALITE_MIME in output.get("data", {})]
    assert "my-net" in json.dumps(charts[0][VEGALITE_MIME])
    assert charts[0]["image/png"] != before[0]["image/png"]


def test_anonymizing_twice_changes_nothing_more(foreign: dict[str, Any]) -> None:
    once = Anonymizer([foreign], ignore)(foreign)
    twice = Anonymizer([once], ignore)(once)
    assert list(texts(twice["cells"])) == list(texts(once["cells"]))


@pytest.mark.parametrize("name", ["memory", "data", "gpu", "infer", "images"])
def test_a_user_whose_name_is_a_word_of_records_does_not_break_them(make_run: MakeRun, name: str) -> None:
    run = make_run(
        host=Host(cpu="x", identity=Identity(hostname=name, user=name)), warnings=[f"/home/{name}/x is slow"]
    )
    told: list[str] = []
    content = Anonymizer([notebook_of((run,))], told.append)(notebook_of((run,)))
    before, after = (Run.from_dict(records_in(each)[0]) for each in (notebook_of((run,)), content))
    own = {"host": run.host, "warnings": []}
    assert after.model_copy(update=own) == before.model_copy(update=own)
    assert after.warnings == ["<path 1> is slow"]
    assert any(text.startswith(f"{name!r} is the name of a ") for text in told)


def test_a_packed_record_that_cannot_be_read_is_left_out(make_run: MakeRun) -> None:
    """Its text may hold anything; its line and its table are searched."""
    content = notebook_of((make_run(warnings=["/mnt/nvme is slow"]),))
    data = content["cells"][1]["outputs"][1]["data"]
    data[MIME] = {"schema": 4, "id": "torn", "like": "another", "text": json.dumps({"params": {"data": "/mnt/nvme"}})}
    kept = Anonymizer([content], ignore)(content)
    assert records_in(kept) == []
    assert "&lt;path 1&gt; is slow" in json.dumps(kept)


def test_text_and_html_of_a_record_say_the_same(make_run: MakeRun) -> None:
    run = make_run(warnings=["/mnt/nvme is slow"])
    content = Anonymizer([notebook_of((run,))], ignore)(notebook_of((run,)))
    data = content["cells"][1]["outputs"][1]["data"]
    again = record.bundle(Run.from_dict(data[MIME]))
    assert data["text/plain"] == again["text/plain"]
    assert "&lt;path 1&gt; is slow" in data["text/html"]
