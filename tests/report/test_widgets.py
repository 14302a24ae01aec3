import pytest

from inferkit.report.widgets import VIEW, is_widget, without_widgets


@pytest.mark.parametrize(
    "text",
    [
        "VBox(children=(Button(description='Run', style=ButtonStyle()), Output()))",
        "Button(description='Run')",
        "HTML(value='<b>x</b>')",
        "Output()",
        "FloatProgress(value=0.0, max=1.0)",
        "[HTML(value='a'), Button(description='b')]",
        "(VBox(children=()), 3)",
        "Error displaying widget: model not found",
        "IntSlider(\n    value=3)",
    ],
)
def test_the_python_name_of_a_widget_is_known(text: str) -> None:
    assert is_widget(text)


@pytest.mark.parametrize("text", ["", "58 images/s", "Run(id='a', notebook='03b')", "see VBox(children=())", "Figure"])
def test_other_texts_are_none(text: str) -> None:
    assert not is_widget(text)


def test_static_counterparts_stay_and_what_shows_nothing_goes() -> None:
    def shown(**forms: object) -> dict[str, object]:
        return {"output_type": "display_data", "metadata": {}, "data": forms}

    both = shown(**{VIEW: {"model_id": "a"}, "text/plain": "HTML(value='')", "text/html": "<b>58</b>"})
    told = shown(**{VIEW: {"model_id": "a"}, "text/plain": "58 images/s"})
    gone = shown(**{VIEW: {"model_id": "a"}, "text/plain": "VBox(children=())"})
    printed = {"output_type": "stream", "name": "stdout", "text": ["VBox(children=())\n"]}
    content = {
        "metadata": {"widgets": {"state": {}}, "kernelspec": {}},
        "cells": [{"cell_type": "code", "outputs": [both, told, gone, printed]}, {"cell_type": "markdown"}],
    }
    without_widgets(content)
    assert [output["data"] for output in content["cells"][0]["outputs"]] == [  # type: ignore[index]
        {"text/html": "<b>58</b>"},
        {"text/plain": "58 images/s"},
    ]
    assert content["metadata"] == {"kernelspec": {}}
    assert content["cells"][1] == {"cell_type": "markdown"}  # type: ignore[index]
