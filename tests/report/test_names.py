"""What has one name and is not the same has two names beside others; what is the same has one."""

from collections.abc import Sequence

from inferkit.records.run import NETWORK, Run
from inferkit.report.compare import compare, side_labels
from inferkit.report.names import told_apart
from inferkit.report.repetitions import points
from inferkit.report.trend import trends
from tests.report.conftest import MakeRun
from tests.report.test_compare import PARAMS, POINT, rows_from

ONE, OTHER = "11" * 16, "22" * 16


def of(make_run: MakeRun, label: str, content: str, **changes: object) -> Run:
    facts = {NETWORK: content} if content else {}
    return make_run(point={"engine": "onnx", "model": label, "reader": "buffered"}, facts=facts, **changes)


def models(runs: Sequence[Run]) -> list[object]:
    return [run.point["model"] for run in told_apart(runs, ["here"] * len(runs))]


class TestNetworks:
    def test_of_one_name_and_other_content_are_two(self, make_run: MakeRun) -> None:
        runs = [of(make_run, "model", ONE), of(make_run, "model", OTHER), of(make_run, "vgg", "zoo:vgg")]
        assert models(runs) == ["model (111111)", "model (222222)", "vgg"]

    def test_of_one_content_are_one_whatever_they_were_called(self, make_run: MakeRun) -> None:
        runs = [of(make_run, "a/model", ONE), of(make_run, "model", ONE), of(make_run, "b/model", OTHER)]
        assert models(runs) == ["model", "model", "b/model"]

    def test_a_users_own_of_the_zoos_name_is_another(self, make_run: MakeRun) -> None:
        assert models([of(make_run, "vgg", ONE), of(make_run, "vgg", "zoo:vgg")]) == ["vgg (111111)", "vgg (zoo)"]

    def test_what_a_record_does_not_tell_is_known_by_its_name(self, make_run: MakeRun) -> None:
        runs = [of(make_run, "/old/model.onnx", ""), of(make_run, "model", ONE)]
        assert models(runs) == ["model", "model"]
        assert models([*runs, of(make_run, "model", OTHER)]) == ["model", "model (111111)", "model (222222)"]

    def test_what_infers_nothing_has_none(self, make_run: MakeRun) -> None:
        run = make_run(point={"engine": "null", "model": ""})
        assert told_apart([run], ["here"]) == [run]

    def test_are_never_compared_by_their_names(self, make_run: MakeRun) -> None:
        runs = [of(make_run, "model", ONE, storage="nvme"), of(make_run, "model", OTHER, storage="shm")]
        groups = compare(rows_from(*runs)).groups
        assert [len(group.sides) for group in groups] == [1, 1]
        assert {group.network for group in groups} == {"onnx model (111111)", "onnx model (222222)"}
        assert len(points(rows_from(*(run.model_copy(update={"storage": "nvme"}) for run in runs)))) == 2

    def test_are_no_trend_of_each_other(self, make_run: MakeRun) -> None:
        times = ["2026-01-01T00:00:00+00:00", "2026-01-05T00:00:00+00:00"]
        contents = {"same": [ONE, ONE], "other": [ONE, OTHER]}
        lines = {
            name: trends(
                rows_from(*(of(make_run, "model", own, started=at) for own, at in zip(both, times, strict=True)))
            )
            for name, both in contents.items()
        }
        assert [len(lines[name]) for name in ("same", "other")] == [1, 0]


class TestStorages:
    def at(self, make_run: MakeRun, place: str, storage: str = "nvme") -> Run:
        return make_run(storage=storage, point=POINT, params={**PARAMS, "data": place})

    def test_of_one_name_at_two_places_of_a_machine_are_two(self, make_run: MakeRun) -> None:
        runs = [self.at(make_run, "/mnt/a"), self.at(make_run, "/mnt/b"), self.at(make_run, "/mnt/b", "hps")]
        assert side_labels(rows_from(*runs)) == ["nvme (/mnt/a)", "nvme (/mnt/b)", "hps"]
        (group,) = compare(rows_from(*runs)).groups
        assert sorted(group.labels) == ["hps", "nvme (/mnt/a)", "nvme (/mnt/b)"]

    def test_of_one_name_on_two_machines_are_told_by_the_machine(self, make_run: MakeRun) -> None:
        runs = [self.at(make_run, "/mnt/a"), self.at(make_run, "/mnt/b")]
        assert [run.storage for run in told_apart(runs, ["one", "other"])] == ["nvme", "nvme"]

    def test_without_a_name_are_known_by_their_place(self, make_run: MakeRun) -> None:
        runs = [self.at(make_run, place, "") for place in ("/mnt/a", "/mnt/a", "/mnt/b")]
        named = [run.storage for run in told_apart(runs, ["here"] * 3)]
        assert named == [f"a storage without a name (/mnt/{where})" for where in "aab"]

    def test_at_one_place_keep_their_name(self, make_run: MakeRun) -> None:
        runs = [self.at(make_run, "/mnt/a"), self.at(make_run, "/mnt/a"), self.at(make_run, "")]
        assert [run.storage for run in told_apart(runs, ["here"] * 3)] == ["nvme"] * 3

    def test_is_one_with_the_data_set_that_was_made_in_it(self, make_run: MakeRun) -> None:
        made = self.at(make_run, "/home/me/data/set").model_copy(update={"measure": "dataset", "notebook": "01"})
        runs = [made, self.at(make_run, "data/set")]
        assert [run.storage for run in told_apart(runs, ["here"] * 2)] == ["nvme"] * 2


def test_ranks_that_were_placed_otherwise_are_no_repetitions(make_run: MakeRun) -> None:
    runs = [
        make_run(point=POINT, params={**PARAMS, "placement": placement}) for placement in ([], ["rank 0: cpus=0"], [])
    ]
    assert sorted(len(own) for own in points(rows_from(*runs))) == [1, 2]
