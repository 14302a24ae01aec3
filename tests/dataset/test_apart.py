import os
import signal
import subprocess
import sys

import numpy as np
import psutil
import pytest

from inferkit.dataset.apart import Apart, DecoderEnded
from inferkit.dataset.decode import Decoder, ImageError
from tests.dataset.corpus import sampled
from tests.processes import alive, wait_for


def helpers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "inferkit.dataset.apart" in child.cmdline()]


def test_warnings_are_errors_and_the_next_file_is_decoded() -> None:
    apart, sound = Apart(), sampled("4:1:0")
    middle = len(sound) // 2
    for _ in range(2):
        with pytest.raises(ValueError, match="Corrupt JPEG data"):
            apart.decode(sound[:middle] + bytes(100) + sound[middle + 100 :])
        assert apart.decode(sound).shape == (90, 120, 3)
    with pytest.raises(ValueError, match="no image"):
        apart.decode(b"no image")
    assert len(helpers()) == 1
    del apart
    assert not helpers()


def test_one_that_was_killed_is_told_and_started_again() -> None:
    decoder, out = Decoder(16), np.empty((3, 16, 16), np.uint8)
    decoder.decode(sampled("3:1"), out)
    (helper,) = helpers()
    helper.kill()
    with pytest.raises(ImageError, match=r"the decoder ended with signal 9"):
        decoder.decode(sampled("3:1"), out)
    decoder.decode(sampled("3:1"), out)
    apart = Apart()
    apart.decode(sampled("3:1"))
    assert len(helpers()) == 2
    os.kill(helpers()[-1].pid, signal.SIGKILL)
    with pytest.raises(DecoderEnded):
        apart.decode(sampled("3:1"))


PROGRAM = """
import sys, time
from inferkit.dataset.apart import Apart
from tests.dataset.corpus import sampled
apart = Apart()
apart.decode(sampled("4:1:0"))
print(apart._process.pid, flush=True)
if sys.argv[1] == "wait":
    time.sleep(600)
"""


@pytest.mark.parametrize("how", ["end", "wait"])
def test_it_ends_with_the_process_that_started_it(how: str) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        helper = int(process.stdout.readline())
        if how == "wait":
            process.kill()
        assert process.stderr.read() == ""
    wait_for(lambda: not alive(helper), 30)
