"""What a task was at is known although its process is gone."""

import os
import signal

from inferkit.dataset.workers import BEGUN, Places, noting, run_alone


def work(path: str, images: int) -> None:
    with noting(path, 5) as note:
        for place in range(1, images + 1):
            note(place)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_task_that_ended_well_is_at_nothing() -> None:
    with Places() as places:
        assert places[5] == 0
        with noting(places.path, 5) as note:
            assert places[5] == BEGUN
            note(7)
            assert [places[4], places[5], places[6]] == [0, 7, 0]
        assert places[5] == 0


def test_one_whose_process_was_killed_had_begun_or_was_at_an_image() -> None:
    with Places() as places:
        for images, at in ((0, BEGUN), (3, 3)):
            assert run_alone(work, places.path, images) == -signal.SIGKILL
            assert places[5] == at
            places.clear()
            assert places[5] == 0
