"""The form: every parameter is asked for, and what is wrong with an answer stands beside it, in words."""

from functools import cache
from typing import Any

import pytest

from inferkit.cockpit.form import UNSET, Form
from inferkit.cockpit.questions import SECTIONS, questions
from inferkit.records.params import MEASURING


@cache
def form_of_all() -> Form:
    """Make one form, of hundreds of widgets, for those who ask only what stands beside a field."""
    return Form(lambda: None)


def typed(**texts: str) -> Form:
    """Return a form into which nothing else was typed."""
    form = form_of_all()
    form.fill({})
    form.say({})
    for name, text in texts.items():
        form.controls[name]._input.value = text
    return form


def beside(form: Form, name: str) -> str:
    told: str = form.controls[name]._beside.value
    return told


def test_every_parameter_of_every_notebook_is_asked_for_with_its_help() -> None:
    declared = {name: field for model in MEASURING.values() for name, field in model.model_fields.items()}
    form = Form(lambda: None)
    assert set(form.controls) == set(declared)
    assert {name for names in SECTIONS.values() for name in names} <= set(declared)
    for name, control in form.controls.items():
        assert control.question.help == declared[name].description
        assert control.question.title


def test_an_empty_form_asks_for_nothing_and_is_right() -> None:
    assert Form(lambda: None).answers() == ({}, {})


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("batch_sizes", "8, 0", "item 2: 0: Input should be greater than 0"),
        ("batch_sizes", "8, x", "item 2: 'x': Input should be a valid integer"),
        ("batch_sizes", "8,, [", "cannot be read: expected numbers or names with commas between"),
        ("batch_sizes", "[]", "[]: List should have at least 1 item"),
        ("batch_sizes", "1.5", "item 1: 1.5: Input should be a valid integer"),
        ("threads", "-1", "item 1: -1: Input should be greater than 0"),
        ("seed", "1e6", "'1e6': Input should be a valid integer (write 1000000, not 1e6)"),
        ("seed", "-1", "-1: Input should be greater than or equal to 0"),
        ("seed", "{", "'{' cannot be read: expected one value"),
        ("seed", "1 2", "'1 2': Input should be a valid integer"),
        ("warmup_s", "soon", "'soon': Input should be a valid number"),
        ("warmup_s", "-1", "-1: Input should be greater than or equal to 0"),
        ("storage", "../evil", "expected a name, not a path"),
        ("size", "0", "0: Input should be greater than 0"),
        ("models", "1, 2", "item 1: 1: Input should be a valid string"),
        ("gpus", "a", "item 1: 'a': expected a number from 0 to 255, or a name such as GPU-… or MIG-…"),
        ("gpus", "-1", "item 1: -1: expected a number from 0 to 255, or a name such as GPU-… or MIG-…"),
        ("gpus", "true", "item 1: True: expected a number"),
        ("ranks", "many", "item 1: 'many': Input should be a valid integer"),
        ("grid", "skip", "Input should be a valid list"),
        ("grid", "- [", "cannot be read: expected rules in YAML"),
        ("mean", "0.5, red", "item 2: 'red': Input should be a valid number"),
    ],
)
def test_what_is_wrong_is_said_in_words_beside_its_field_alone(name: str, text: str, told: str) -> None:
    form = typed(**{name: text})
    _, wrong = form.answers()
    assert set(wrong) == {name}
    assert told in wrong[name][0]
    assert len(wrong[name]) == len({said.partition(":")[0] for said in wrong[name]})  # one for each item
    form.say(wrong)
    others = set(form.controls) - {name}
    assert 'role="alert"' in beside(form, name)
    assert not [other for other in others if 'role="alert"' in beside(form, other)]
    form.controls[name]._input.value = ""
    form.say(form.answers()[1])
    assert form.controls[name].question.help.split()[0] in beside(form, name)


@pytest.mark.parametrize(("name", "value"), [("profile", "long"), ("readers", ["dircet"]), ("overlap", "maybe")])
def test_what_a_file_says_wrongly_of_a_choice_is_shown_and_refused_or_left_to_the_plan(name: str, value: Any) -> None:
    form = Form(lambda: None)
    form.fill({name: value})
    values, wrong = form.answers()
    assert values[name] == value
    assert (name in wrong) == (name != "readers")
    form.fill({})
    assert form.answers() == ({}, {})


def test_a_wrong_answer_that_is_folded_away_comes_into_view() -> None:
    form = Form(lambda: None)
    form.controls["seed"]._input.value = "x"
    assert form.more.value is False
    form.say(form.answers()[1])
    assert form.more.value is True


def test_what_is_typed_shows_no_markup() -> None:
    form = typed(seed="<script>alert(1)</script>")
    form.say(form.answers()[1])
    assert "<script>" not in beside(form, "seed")


def test_options_are_ticked_in_the_order_that_counts_and_a_change_is_told_once() -> None:
    told: list[bool] = []
    form = Form(lambda: told.append(True))
    form.fill({"readers": ["direct", "buffered"], "threads": [1, 2]})
    assert len(told) == 1
    assert form.controls["readers"].value == ["direct", "buffered"]
    form.controls["readers"]._boxes["mapped"].value = True
    form.controls["readers"]._boxes["direct"].value = False
    assert form.controls["readers"].value == ["buffered", "mapped"]
    assert len(told) == 3
    form.controls["readers"].fill(UNSET)
    assert form.answers()[0] == {"threads": [1, 2]}


def test_each_field_has_a_label_and_says_its_help_to_those_who_do_not_see_it() -> None:
    for control in Form(lambda: None).controls.values():
        if control.question.kind != "several":
            assert (control._input.description, control._input.tooltip) == (
                control.question.title,
                control.question.help,
            )
        else:
            assert all(box.description for box in control._boxes.values())
    assert len({asked.title for asked in questions().values()}) == len(questions())
