"""How long is measured, by profile and parameters."""

from inferkit.records.params import StorageToHost
from inferkit.records.windows import Window, window_of


def test_windows_of_the_profile_unless_a_parameter_says_else() -> None:
    quick = Window(warmup_s=5.0, duration_s=30.0, repeats=3, target=0.025, longest_s=600.0)
    assert window_of(StorageToHost(profile="quick")) == quick
    own = StorageToHost(profile="mlperf", duration_s=2.0, repeats=1)
    changed = {"warmup_s": 10.0, "duration_s": 2.0, "repeats": 1, "images": 24_576}
    assert window_of(own) == Window(**changed, target=0.01, longest_s=4.8)
    assert window_of(own).seconds == 12


def test_another_process_is_wanted_until_the_figure_is_steady_or_the_time_is_up() -> None:
    window = Window(duration_s=1.0, repeats=3, target=0.1, longest_s=5.0)
    assert window.wants_another(0.2, 5.0)
    assert window.wants_another(None, 5.0)
    assert not window.wants_another(0.1, 5.0)
    assert not window.wants_another(0.2, 5.1)
    assert not Window().wants_another(0.9, 0.0)
