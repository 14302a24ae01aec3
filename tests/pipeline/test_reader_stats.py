from inferkit.pipeline.reader_stats import ThreadStats, reader_facts

START = 5_000_000_000


def test_first_and_last_done_are_those_of_the_first_epoch() -> None:
    facts = reader_facts([ThreadStats(100, 10, START + 10**9), ThreadStats(50, 5, START + 3 * 10**9)], START)
    assert facts["first_done_s"] == 1.0
    assert facts["last_done_s"] == 3.0
    assert facts["bytes_per_thread"] == [100, 50]
    assert facts["balance"] == 0.5


def test_a_thread_that_did_not_get_there_leaves_the_last_unknown() -> None:
    facts = reader_facts([ThreadStats(100, 10, START + 10**9), ThreadStats(50, 5, 0)], START)
    assert facts["first_done_s"] == 1.0
    assert facts["last_done_s"] is None


def test_done_before_the_clock_started_is_done_at_once() -> None:
    assert reader_facts([ThreadStats(1, 1, START - 10)], START)["first_done_s"] == 0.0


def test_nothing_read() -> None:
    facts = reader_facts([ThreadStats()], START)
    assert (facts["balance"], facts["first_done_s"], facts["last_done_s"], facts["thread_cpu_s_per_gb"]) == (None,) * 4


def test_cpu_time_is_that_of_the_threads_over_all_they_read() -> None:
    stats = [ThreadStats(10**9, 1, 1, cpu_s=0.5), ThreadStats(3 * 10**9, 1, 1, cpu_s=1.5)]
    assert reader_facts(stats, START)["thread_cpu_s_per_gb"] == 0.5
