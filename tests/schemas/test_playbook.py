"""What a playbook may say, and how a wrong one is told where and what."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import schemas.playbook
from schemas.playbook import json_schema
from schemas.playbook_reading import InvalidDefinition, read_definition
from schemas.templates import BadTemplate, Unfilled, fill, references

PUBLISHED = Path(schemas.playbook.__file__).with_suffix(".schema.json")


def stage(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"stages": [{"name": "s", "tasks": list(tasks), **more}]}


def test_the_published_schema_is_the_present_one() -> None:
    assert json.loads(PUBLISHED.read_text()) == json.loads(json.dumps(json_schema()))
    Draft202012Validator.check_schema(json_schema())


def test_a_definition_that_is_read_fits_the_published_schema() -> None:
    definition = stage({"name": "a", "fan_out": {"over": [1], "item": "n"}, "input": "{{ n }}"})
    read_definition(definition)
    Draft202012Validator(json_schema()).validate(definition)


def test_nothing_at_all_is_one_plain_stage() -> None:
    (only,) = read_definition({}).stages
    assert (only.name, only.tasks) == ("work", [])


@pytest.mark.parametrize(
    ("definition", "path", "message"),
    [
        ({"stagse": []}, "/stagse", "did you mean stages?"),
        ({"stages": [{"nmae": "x"}]}, "/stages/0/name", "Field required"),
        (stage({"name": "a"}, {"name": "a"}), "/stages/0/tasks/1/name", "another task 'a'"),
        (stage({"name": "a", "depends_on": ["b"]}), "/stages/0/tasks/0/depends_on/0", "no task 'b'"),
        (
            stage({"name": "a", "depends_on": ["b"]}, {"name": "b", "depends_on": ["a"]}),
            "/stages/0/tasks",
            "in a circle: a → b → a",
        ),
        (
            {
                "stages": [
                    stage({"name": "a", "depends_on": ["b"]})["stages"][0],
                    {"name": "t", "tasks": [{"name": "b"}]},
                ]
            },
            "/stages/0/tasks/0/depends_on/0",
            "later stage",
        ),
        (stage({"name": "a", "input": "{{ parameters.x }}"}), "/stages/0/tasks/0/input", "no parameter 'x'"),
        (stage({"name": "a", "input": {"~/": "{{ 1 }}"}}), "/stages/0/tasks/0/input/~0~1", "is no path"),
        (
            stage({"name": "a"}, {"name": "b", "input": ["{{ tasks.a.output }}"]}),
            "/stages/0/tasks/1/input/0",
            "depend on it",
        ),
        (
            stage({"name": "a"}, {"name": "b", "depends_on": ["a"], "input": "{{ tasks.a.outputs }}"}),
            "/stages/0/tasks/1/input",
            "there is output and state",
        ),
        (stage({"name": "a", "input": "{{ item }}"}), "/stages/0/tasks/0/input", "begins with one of"),
        (
            stage({"name": "a", "output_schema": {"pattern": "(?<=x)"}}),
            "/stages/0/tasks/0/output_schema/pattern",
            "RE2",
        ),
        ({"lifecycle": "ongoing", **stage(gate={})}, "/stages/0/gate", "no gates"),
        (stage({"name": "a"}, gate={"rework": ["b"]}), "/stages/0/gate/rework/0", "no task of this stage"),
        (
            {"roles": ["x"], **stage({"name": "a", "role": "y"})},
            "/stages/0/tasks/0/role",
            "none of the playbook's",
        ),
        (stage({"name": "a", "role": "y"}, involves=["x"]), "/stages/0/tasks/0/role", "does not involve"),
        ({"board": {"entry_column_id": "x"}}, "/board/entry_column_id", "no column 'x'"),
        ({"parameters": [{"slug": "a", "title": "A"}] * 2}, "/parameters/1/slug", "twice"),
        ({"stages": [{"name": "a"}, {"name": "a"}]}, "/stages/1/name", "twice"),
    ],
)
def test_a_wrong_definition_is_told_where_and_what(
    definition: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        read_definition(definition)
    first = refused.value.problems[0]
    assert first.path == path
    assert message in first.message


VALUES = {"parameters": {"who": "Ada", "n": 3}, "tasks": {"a": {"output": [{"b": None}, {"b": [1]}]}}}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("plain", "plain"),
        ("{{ parameters.n }}", 3),
        ("{{parameters.who}} has {{ parameters.n }}", "Ada has 3"),
        ("{{ tasks.a.output[1].b }}", [1]),
        ("[{{ tasks.a.output[0].b }}]", "[]"),
        ({"x": ["{{ tasks.a.output }}", 1, None]}, {"x": [[{"b": None}, {"b": [1]}], 1, None]}),
    ],
)
def test_templates_are_filled_by_value_or_as_text(template: Any, filled: Any) -> None:
    assert fill(template, VALUES) == filled


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ nobody.x }}", "there is no nobody"),
        ("{{ tasks.a.output[2] }}", "tasks.a.output has no [2]"),
        ("{{ parameters.who.name }}", "parameters.who has no name"),
    ],
)
def test_a_path_that_leads_nowhere_says_where_it_ends(template: str, message: str) -> None:
    with pytest.raises(Unfilled) as missing:
        fill(template, VALUES)
    assert message in str(missing.value)


@pytest.mark.parametrize(
    "template", ["{{ }}", "{{ a..b }}", "{{ a b }}", "{{ a.b() }}", "{{ a['b'] }}", "{{ a[-1] }}"]
)
def test_what_is_no_path_is_no_template(template: str) -> None:
    with pytest.raises(BadTemplate):
        list(references(template))
