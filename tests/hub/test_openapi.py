"""The description of the API: committed, complete, and true to the models."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hub import openapi
from hub.api import ROUTES
from hub.api.routing import Route
from schemas.vocabulary import Scope, TaskState

BODIES = [route for route in ROUTES if route.example is not None]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The description, made afresh."""
    return openapi.document()


def test_the_committed_description_is_the_present_one() -> None:
    assert openapi.PATH.read_bytes() == openapi.written(), "run: python -m hub.openapi"


def test_it_describes_every_route_and_nothing_else(document: dict[str, Any]) -> None:
    described = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    health = {("GET", path) for path in ("/health", "/health/live", "/health/ready")}
    assert described == {(route.method, route.url_path) for route in ROUTES} | health


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for item in value.values() for found in references(item)]
        if isinstance(value, list):
            return [found for item in value for found in references(item)]
        return []

    for reference in references(document):
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
def test_each_operation_says_who_may_call_it_and_what_may_come_back(
    document: dict[str, Any], route: Route
) -> None:
    operation = document["paths"][route.url_path][route.method.lower()]
    assert operation["operationId"] == route.operation_id
    assert operation["summary"]
    assert operation["description"]
    assert operation["x-crossdock-scopes"] == ([] if route.scope is None else [route.scope.value])
    statuses = set(operation["responses"])
    assert {"400", "403", "429", "503"} <= statuses
    assert ("401" in statuses) or route.scope is None
    assert ("requestBody" in operation) is (route.body is not None or route.raw)
    if route.body is not None:
        assert {"413", "415", "422"} <= statuses
    declared = {
        parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"
    }
    assert declared == {name for name, _ in route.params}


def test_every_body_has_an_example() -> None:
    assert [route.operation_id for route in ROUTES if route.body and route.example is None] == []


@pytest.mark.parametrize("route", BODIES, ids=lambda route: route.operation_id)
def test_each_example_fits_its_model_and_its_schema(document: dict[str, Any], route: Route) -> None:
    assert route.body is not None
    example = json.loads(json.dumps(route.example))
    route.body.model_validate(example)
    content = document["paths"][route.url_path][route.method.lower()]["requestBody"]["content"]
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    Draft202012Validator(schema).validate(example)


def test_words_of_the_vocabulary_are_listed_as_they_are(document: dict[str, Any]) -> None:
    task = document["components"]["schemas"]["Task"]
    assert task["properties"]["state"]["enum"] == [state.wire for state in TaskState]
    assert all(
        "description" in document["components"]["schemas"][name] for name in ("Task", "Event", "Agent")
    )


def test_a_closed_body_says_so_and_an_answer_stays_open(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["TaskCreate"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["Task"]


def test_scopes_are_those_that_exist(document: dict[str, Any]) -> None:
    named = {
        scope
        for operations in document["paths"].values()
        for operation in operations.values()
        for scope in operation["x-crossdock-scopes"]
    }
    assert named <= {scope.value for scope in Scope}
