"""Every route refuses every kind of bad request in the one documented shape, and changes nothing.

The table is the list: a route that is added is tried here without being named.
"""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from uuid import UUID

import pytest

from core.store import open_store
from hub.api import ROUTES
from hub.api.routing import Route
from schemas.errors import MEANINGS, ErrorCode
from schemas.vocabulary import Scope
from tests.fakes import FakeClock
from tests.hub.api.hub import UNLIKELY, Answer, Hub, running

WITH_BODY = [route for route in ROUTES if route.body is not None]
ANY_VALUE = {"value", "input", "output", "data", "subject", "resource_bindings"}
"""Fields that take any JSON value, or any list."""
TEN_MB = 10 * 1024 * 1024


@pytest.fixture
async def hub(database_url: str, clock: FakeClock) -> AsyncIterator[Hub]:
    """A hub with one task that is being done, so that there is something to change."""
    async with running(open_store(database_url, clock=clock)) as hub:
        await hub.claimed(await hub.agent())
        async with hub.stream("/events/stream?after=0") as stream:  # the log has it all before it is compared
            await stream.until('"to_state":"in_progress"')
        yield hub


def path_of(route: Route, value: str = UNLIKELY) -> str:
    """The route's path with `value` for each parameter."""
    path = route.url_path
    for name, _ in route.params:
        path = path.replace("{" + name + "}", value)
    return path


def asked(route: Route, value: str = UNLIKELY) -> str:
    """The same with what the query must have."""
    fields = {} if route.query is None else route.query.model_fields
    wanted = [f"{field.alias or name}=x" for name, field in fields.items() if field.is_required()]
    return path_of(route, value) + ("?" + "&".join(wanted) if wanted else "")


def check(answer: Answer, status: int, *codes: ErrorCode) -> None:
    """One shape: code, message and meta, nothing else, and the status that the code has everywhere."""
    assert answer.status == status, (answer.status, answer.body[:500])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json
    assert set(told) == {"error", "meta"}
    assert set(told["error"]) <= {"code", "message", "details", "recovery_hint"}
    assert told["error"]["message"]
    assert set(told["meta"]) == {"request_id", "timestamp"}
    assert told["meta"]["request_id"] == answer.headers["x-request-id"]
    assert told["meta"]["timestamp"].endswith("Z")
    assert told["error"]["code"] in codes, told
    assert all(MEANINGS[code].http == status for code in codes)


async def state_of(hub: Hub) -> Sequence[Any]:
    """Everything that a refused call could have changed."""
    tasks = (await hub.get("/tasks?per_page=100")).json["data"]
    agents = (await hub.get("/agents?per_page=100")).json["data"]
    events = (await hub.get("/events?limit=1")).json["data"]
    keys = (await hub.get("/api-keys")).json["data"]
    return [
        tasks,
        [{k: v for k, v in agent.items() if k not in ("last_heartbeat_at", "status")} for agent in agents],
        events,
        [key["id"] for key in keys],
    ]


async def refuse(
    hub: Hub, bodies: Iterable[bytes], status: int, *codes: ErrorCode, routes: Sequence[Route] = WITH_BODY
) -> None:
    """Send every body to every route; each is refused so, and nothing has changed."""
    before = await state_of(hub)
    for body in bodies:
        for route in routes:
            answer = await hub.send(route.method, path_of(route), body=body)
            if answer.status == 429 and route.rationed:  # so many were tried at once
                continue
            check(answer, status, *codes)
    assert await state_of(hub) == before


async def test_without_a_credential_every_route_but_the_public_ones_answers_401(hub: Hub) -> None:
    for route in ROUTES:
        if route.scope is None:
            continue
        body = None if route.body is None else b"{}"
        for answer in (
            await hub.send(route.method, path_of(route), key=None, body=body),
            await hub.send(route.method, path_of(route), key="xd_agent_nobody", body=body),
            await hub.send(route.method, path_of(route, "no-uuid"), key=None, body=b"{broken"),
        ):
            if answer.status == 429:  # the address has guessed too often by now
                check(answer, 429, ErrorCode.RATE_LIMITED)
                continue
            check(answer, 401, ErrorCode.UNAUTHORIZED)
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_route_refuses_every_scope_below_its_own(hub: Hub) -> None:
    keys = {scope: await hub.key(scope) for scope in (Scope.AGENT, Scope.WORKER)}
    for route in ROUTES:
        for scope, key in keys.items():
            if route.scope is not None and not scope.includes(route.scope):
                body = None if route.body is None else b"{}"
                answer = await hub.send(route.method, path_of(route), key=key, body=body)
                check(answer, 403, ErrorCode.FORBIDDEN)


async def test_a_wrong_method_answers_405_and_names_the_right_ones(hub: Hub) -> None:
    by_path: dict[str, set[str]] = {}
    for route in ROUTES:
        by_path.setdefault(path_of(route), set()).add(route.method)
    for path, methods in by_path.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - methods:
            answer = await hub.send(method, path)
            check(answer, 405, ErrorCode.METHOD_NOT_ALLOWED)
            allowed = set(answer.headers["allow"].split(", "))
            assert methods <= allowed


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/api", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v1/tasks/", "/docs/x"]
)
async def test_an_unknown_path_answers_404_in_the_same_shape(hub: Hub, path: str) -> None:
    check(await hub.send("GET", path), 404, ErrorCode.NOT_FOUND)


async def test_malformed_json_answers_400(hub: Hub) -> None:
    bodies = [b"{", b"{]", b'{"a":1,}', b"\xff\xfe", b"nonsense", b'{"a":NaN}', b'{"a":1,"a":2}']
    await refuse(hub, bodies, 400, ErrorCode.BAD_REQUEST)


async def test_nul_lone_surrogates_and_deep_nesting_answer_400(hub: Hub) -> None:
    deep = b'{"title":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    bodies = [b'{"title":"a\\u0000b"}', b'{"title":"\\ud800"}', b'{"a\\u0000":1}', deep]
    await refuse(hub, bodies, 400, ErrorCode.BAD_REQUEST)


async def test_a_body_that_is_no_object_answers_422(hub: Hub) -> None:
    await refuse(hub, [b"[]", b'"text"', b"5", b"null", b"true"], 422, ErrorCode.SCHEMA_VALIDATION_FAILED)


async def test_an_unknown_field_answers_422_and_is_named(hub: Hub) -> None:
    for route in WITH_BODY:
        example = {**(route.example or {}), "nonsense": 1}
        answer = await hub.send(route.method, path_of(route), json=example)
        check(answer, 422, ErrorCode.SCHEMA_VALIDATION_FAILED)
        issues = answer.json["error"]["details"]["issues"]
        assert set(issues) == {"fieldErrors", "formErrors"}
        assert "nonsense" in issues["fieldErrors"]
        assert answer.json["error"]["message"].startswith("Invalid request body: ")


async def test_every_field_of_the_wrong_type_answers_422_and_is_named(hub: Hub) -> None:
    before = await state_of(hub)
    for route in WITH_BODY:
        assert route.body is not None
        example = dict(route.example or {})
        for name, field in route.body.model_fields.items():
            wire = field.alias or name
            if wire in ANY_VALUE or field.annotation is Any:
                continue
            for wrong in ([None], {"x": None}):
                if isinstance(wrong, dict) and "dict" in str(field.annotation):
                    continue
                if isinstance(wrong, list) and "list[typing.Any]" in str(field.annotation):
                    continue
                answer = await hub.send(route.method, path_of(route), json={**example, wire: wrong})
                if answer.status == 429:
                    assert route.rationed
                    break
                check(answer, 422, ErrorCode.SCHEMA_VALIDATION_FAILED)
                assert wire in answer.json["error"]["details"]["issues"]["fieldErrors"], (route.path, wire)
    assert await state_of(hub) == before


@pytest.mark.parametrize("wrong", ["no-uuid", "1", "0197a3c28b1e7c449d3a2f6b1c0d4e5f", "%00", "x" * 300])
async def test_an_id_in_the_path_that_is_no_uuid_answers_400(hub: Hub, wrong: str) -> None:
    for route in ROUTES:
        if any(is_id for _, is_id in route.params):
            body = None if route.body is None else json.dumps(route.example or {}).encode()
            answer = await hub.send(route.method, path_of(route, wrong), body=body)
            check(answer, 400, ErrorCode.VALIDATION_ERROR)


async def test_an_unknown_query_parameter_answers_400(hub: Hub) -> None:
    for route in ROUTES:
        if route.scope is not None:
            body = None if route.body is None else json.dumps(route.example or {}).encode()
            answer = await hub.send(route.method, path_of(route) + "?nonsense=1", body=body)
            check(answer, 400, ErrorCode.VALIDATION_ERROR)


async def test_query_parameters_of_the_wrong_kind_answer_400(hub: Hub) -> None:
    for route in ROUTES:
        if route.query is None:
            continue
        for name, field in route.query.model_fields.items():
            for wrong in ("", "%00", "%ff", "\x01"):
                if str(field.annotation).find("str") >= 0 and wrong == "\x01":
                    continue
                answer = await hub.send(route.method, f"{path_of(route)}?{name}={wrong}")
                check(answer, 400, ErrorCode.VALIDATION_ERROR)
        twice = next(iter(route.query.model_fields))
        answer = await hub.send(route.method, f"{path_of(route)}?{twice}=1&{twice}=1")
        check(answer, 400, ErrorCode.VALIDATION_ERROR)


async def test_a_body_of_the_wrong_media_type_answers_415(hub: Hub) -> None:
    before = await state_of(hub)
    for media_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ):
        for route in WITH_BODY:
            answer = await hub.send(
                route.method, path_of(route), body=b"{}", headers={"content-type": media_type}
            )
            check(answer, 415, ErrorCode.UNSUPPORTED_MEDIA_TYPE)
    for encoding in ("gzip", "br"):
        for route in WITH_BODY:
            answer = await hub.send(
                route.method, path_of(route), body=b"{}", headers={"content-encoding": encoding}
            )
            check(answer, 415, ErrorCode.UNSUPPORTED_MEDIA_TYPE)
    assert await state_of(hub) == before


async def test_a_body_over_the_limit_answers_413(hub: Hub) -> None:
    body = b'{"title":"' + b"x" * TEN_MB + b'"}'
    small = [route for route in WITH_BODY if route.max_bytes < len(body)]
    await refuse(hub, [body], 413, ErrorCode.PAYLOAD_TOO_LARGE, routes=small)


async def test_a_large_body_without_a_length_answers_413(hub: Hub) -> None:
    body = b'{"title":"' + b"x" * TEN_MB + b'"}'
    answer = await hub.send("POST", "/api/v1/tasks", body=body, headers={"content-length": "2"})
    check(answer, 413, ErrorCode.PAYLOAD_TOO_LARGE)


async def test_another_host_and_another_origin_are_refused(hub: Hub) -> None:
    elsewhere = await hub.get("/tasks", headers={"host": "evil.example"})
    assert elsewhere.status == 421
    assert set(elsewhere.json) == {"error", "meta"}
    check(await hub.get("/tasks", headers={"origin": "https://evil.example"}), 403, ErrorCode.FORBIDDEN)


async def test_a_foreign_owner_and_another_tenant_get_the_same_404_as_for_nothing(hub: Hub) -> None:
    task = (await hub.post("/tasks", {"title": "mine"})).data
    stranger = await hub.key(Scope.AGENT)
    elsewhere = await hub.key(Scope.ADMIN, tenant_id=UUID(int=7))
    before = await state_of(hub)
    for route in ROUTES:
        if not route.path.startswith("/tasks/{id}") or "artifact_id" in route.path:
            continue
        assert route.scope is not None
        for key in (stranger, elsewhere):
            if key == stranger and route.scope is not Scope.AGENT:
                continue
            body = None if route.body is None else json.dumps(route.example or {}).encode()
            answers = [
                await hub.send(route.method, asked(route, task_id), key=key, body=body)
                for task_id in (task["id"], UNLIKELY)
            ]
            for answer in answers:
                check(answer, 404, ErrorCode.NOT_FOUND)
            assert answers[0].json["error"] == answers[1].json["error"], route.path
    assert await state_of(hub) == before


async def test_an_id_that_nothing_has_answers_404(hub: Hub) -> None:
    before = await state_of(hub)
    for route in ROUTES:
        if 404 in route.errors and route.params and not route.stream:
            body = None if route.body is None else json.dumps(route.example or {}).encode()
            check(await hub.send(route.method, asked(route), body=body), 404, ErrorCode.NOT_FOUND)
    assert await state_of(hub) == before
