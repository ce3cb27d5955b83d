"""The route table: what may be declared, and how a path finds its route."""

from types import ModuleType
from typing import Any

import pytest

from hub.api import ROUTES
from hub.api.call import Call, Reply
from hub.api.routing import BadRoute, Options, Route, RouteTree, route, routes_of
from schemas.v1.fields import Body
from schemas.vocabulary import Scope


def declared(*declarations: Any) -> list[Route]:
    """The routes of a module that has one handler for each declaration."""
    module = ModuleType("some_routes")
    for number, declare in enumerate(declarations):

        async def handler(call: Call, given: Any = None) -> Reply:
            """What it does."""
            return Reply()

        handler.__name__ = f"handler_{number}"
        handler.__module__ = module.__name__
        setattr(module, handler.__name__, declare(handler))
    return list(routes_of(module))


def test_a_route_without_a_scope_stops_the_start() -> None:
    with pytest.raises(BadRoute, match="needs a scope"):
        declared(route("GET", "/a", summary="A"))
    with pytest.raises(BadRoute, match="needs a scope"):
        declared(route("GET", "/a", summary="A", scope=Scope.AGENT, public=True))
    assert declared(route("GET", "/a", summary="A", public=True))[0].scope is None


def test_a_route_without_a_summary_or_with_a_useless_body_stops_the_start() -> None:
    with pytest.raises(BadRoute, match="summary"):
        declared(route("GET", "/a", scope=Scope.AGENT))
    with pytest.raises(BadRoute, match="body"):
        declared(route("GET", "/a", scope=Scope.AGENT, summary="A", body=Body))


def test_two_routes_cannot_be_one() -> None:
    same: Options = {"scope": Scope.AGENT, "summary": "A"}
    named: Options = {**same, "operation_id": "x"}
    with pytest.raises(BadRoute, match="declared twice"):
        RouteTree(declared(route("GET", "/a", **same), route("GET", "/a", **same)))
    with pytest.raises(BadRoute, match="used twice"):
        RouteTree(declared(*(route("GET", path, **named) for path in ("/a", "/b"))))
    with pytest.raises(BadRoute, match="called id"):
        RouteTree(declared(route("GET", "/a/{id}", **same), route("GET", "/a/{other}/b", **same)))


def test_a_literal_segment_is_stronger_than_a_parameter() -> None:
    tree = RouteTree(ROUTES)
    for path, operation_id, texts in [
        ("tasks/claim", "tasks_claim", []),
        ("tasks/batch", "tasks_create_batch", []),
        ("tasks/x/complete", "tasks_complete", ["x"]),
        ("tasks/x/artifacts/y", "artifacts_get", ["x", "y"]),
    ]:
        found = tree.find(path)
        assert found is not None
        methods, given = found
        assert operation_id in {item.operation_id for item in methods.values()}
        assert given == texts


@pytest.mark.parametrize(
    "path", ["", "tasks/", "tasks//complete", "tasks/x/complete/", "nothing", "tasks/x/y"]
)
def test_a_path_that_is_not_in_the_table_is_not_found(path: str) -> None:
    assert RouteTree(ROUTES).find(path) is None


def test_every_route_of_the_table_is_found_by_its_own_path() -> None:
    tree = RouteTree(ROUTES)
    for item in ROUTES:
        found = tree.find(item.path.lstrip("/").replace("{", "").replace("}", ""))
        assert found is not None
        assert found[0][item.method] is item
    assert set(tree) == set(ROUTES)
