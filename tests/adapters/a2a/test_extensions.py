"""Extensions: declared on the card, activated by name, echoed, and required. Specification §3.3.4, §4.6."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette

from adapters.a2a import A2AConfig, routes
from adapters.a2a.agent import HUB
from adapters.a2a.extensions import HITL, IDEMPOTENCY
from core.platform import Platform
from tests.adapters.a2a.support import PUBLIC, Client, Keys, at_once, message

NEEDED = "https://example.com/needed/v2"


@pytest.fixture
async def strict(platform: Platform, config: A2AConfig, keys: Keys) -> AsyncIterator[Client]:
    """A client of an agent that insists on an extension."""
    agent = replace(HUB, required_extensions=[NEEDED])
    app = Starlette(routes=list(routes(platform, replace(config, hub=agent), keys)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as http:
        yield Client(http)


async def test_what_a_call_activates_is_echoed_and_nothing_else(ann: Client) -> None:
    asked = {"A2A-Extensions": f"urn:unknown,{HITL} , {IDEMPOTENCY},https://kagent.dev/extensions/hitl/v2"}
    told = await ann.rest("GET", "/tasks", headers=asked)
    assert told.headers["A2A-Extensions"] == f"{IDEMPOTENCY}, {HITL}"
    assert "A2A-Extensions" not in (await ann.rest("GET", "/tasks")).headers
    unknown = await ann.rest("GET", "/tasks", headers={"A2A-Extensions": "urn:unknown"})
    assert "A2A-Extensions" not in unknown.headers


async def test_0_3_is_answered_in_its_own_header(http: httpx.AsyncClient) -> None:
    old = Client(http, version="0.3")
    params = {"message": {"messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}}
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "message/send",
        "params": {**params, "configuration": {"blocking": False}},
    }
    told = await http.post("/a2a", json=body, headers=old.headers({"X-A2A-Extensions": HITL}))
    assert told.headers["X-A2A-Extensions"] == HITL


async def test_a_required_extension_stands_on_the_card(strict: Client) -> None:
    card = (await strict.http.get("/.well-known/agent-card.json")).json()
    assert {"uri": NEEDED, "required": True} in card["capabilities"]["extensions"]


@pytest.mark.parametrize("named", ["", "https://example.com/needed/v1", f"{NEEDED}.1", HITL])
async def test_without_a_required_extension_nothing_happens(strict: Client, named: str) -> None:
    with_named = {"A2A-Extensions": named} if named else {}
    for method, path, body in (
        ("POST", "/message:send", at_once()),
        ("POST", "/message:stream", message()),
        ("GET", "/tasks", None),
    ):
        told = await strict.rest(method, path, json=body, headers=with_named)
        error = told.json()["error"]
        assert (told.status_code, error["status"]) == (400, "FAILED_PRECONDITION")
        (info,) = error["details"]
        assert (info["reason"], info["domain"]) == ("EXTENSION_SUPPORT_REQUIRED", "a2a-protocol.org")
        assert info["metadata"] == {"requiredExtensions": NEEDED}
    assert (await strict.error("SendMessage", at_once()))["code"] == -32008
    assert (await strict.result("ListTasks", A2A_Extensions=NEEDED))["tasks"] == []


async def test_with_it_the_agent_answers(strict: Client) -> None:
    told = await strict.rest("POST", "/message:send", json=at_once(), headers={"A2A-Extensions": NEEDED})
    assert (told.status_code, told.headers["A2A-Extensions"]) == (200, NEEDED)
