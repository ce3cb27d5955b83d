"""Remote A2A agents over REST, and a task that goes out to one and comes back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.store import open_store
from schemas.vocabulary import Scope
from tests.adapters.a2a.fake_agent import FakeAgent
from tests.hub.api.hub import UNLIKELY, Hub, running

SECRET = "a token that nobody reads back"
PATH = "/remote-a2a-agents"


@pytest.fixture
async def agent() -> AsyncIterator[FakeAgent]:
    """An agent elsewhere."""
    agent = FakeAgent(token=SECRET)
    await agent.start()
    yield agent
    await agent.stop()


@pytest.fixture
async def hub(database_url: str) -> AsyncIterator[Hub]:
    """A hub that may call loopback."""
    async with running(open_store(database_url), outbound_allow=("127.0.0.1",)) as hub:
        yield hub


async def test_a_remote_agent_is_registered_read_changed_and_removed(hub: Hub, agent: FakeAgent) -> None:
    body = {
        "card_url": agent.url,
        "auth": {"kind": "bearer", "token": SECRET},
        "routing_tags": ["far"],
        "max_concurrent": 2,
    }
    answer = await hub.post(PATH, body)
    assert answer.status == 201
    made = answer.data
    assert (made["id"], made["name"]) == (made["agent_id"], "fake")
    assert (made["verification_status"], made["health"], made["signature"]) == ("verified", "ok", "none")
    assert made["card"]["name"] == "fake"
    assert made["interface"]["url"] == f"{agent.url}/rpc"
    assert (made["auth"]["kind"], made["auth"]["has_secret"]) == ("bearer", True)
    assert made["accepts_untagged"] is False
    path = f"{PATH}/{made['id']}"
    assert (await hub.get(path)).data == made
    listed = await hub.get(PATH)
    assert (listed.data, listed.json["meta"]["total"]) == ([made], 1)
    changed = (await hub.send("PATCH", f"/api/v1{path}", json={"max_concurrent": 3})).data
    assert (changed["max_concurrent"], changed["auth"]["has_secret"]) == (3, True)
    assert (await hub.post(f"{path}/reverify")).data["verification_status"] == "verified"
    events = (await hub.get("/events?per_page=100")).data
    for text in (answer.body.decode(), str(listed.json), str(changed), str(events)):
        assert SECRET not in text
    assert (await hub.send("DELETE", f"/api/v1{path}")).status == 204
    assert (await hub.get(path)).status == 404
    assert (await hub.get(f"/agents/{made['id']}")).status == 404


async def test_a_repeated_registration_makes_one_and_another_of_the_same_card_is_refused(
    hub: Hub, agent: FakeAgent
) -> None:
    body = {"card_url": agent.url, "auth": {"kind": "bearer", "token": SECRET}, "request_id": "r1"}
    first, again = await hub.post(PATH, body), await hub.post(PATH, body)
    assert (first.status, again.status) == (201, 201)
    assert first.data["id"] == again.data["id"]
    third = await hub.post(PATH, {"card_url": agent.url})
    assert (third.status, third.reason) == (409, "already_registered")


async def test_a_wrong_credential_is_a_matter_of_health(hub: Hub, agent: FakeAgent) -> None:
    made = (await hub.post(PATH, {"card_url": agent.url})).data
    assert (made["verification_status"], made["health"]) == ("verified", "needs_reauth")
    auth = {"auth": {"kind": "bearer", "token": SECRET}}
    changed = (await hub.send("PATCH", f"/api/v1{PATH}/{made['id']}", json=auth)).data
    assert changed["health"] == "ok"


@pytest.mark.parametrize(
    "body",
    [
        {"card_url": "http://10.0.0.1/card.json"},
        {"card_url": "https://user:pass@agent.example/card.json"},
        {"card_url": "https://agent.invalid/card.json"},
        {"card_url": "ftp://agent.example/"},
    ],
)
async def test_a_card_that_is_not_accepted_stores_nothing(hub: Hub, body: dict[str, str]) -> None:
    answer = await hub.post(PATH, body)
    assert (answer.status, answer.code, answer.reason) == (400, "VALIDATION_ERROR", "verification_failed")
    assert (await hub.get(PATH)).json["meta"]["total"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"card_url": "https://a.example", "auth": {"kind": "magic"}},
        {"card_url": "https://a.example", "auth": {"kind": "bearer"}},
        {"card_url": "https://a.example", "auth": {"kind": "bearer", "token": ""}},
        {"card_url": "https://a.example", "max_concurrent": 0},
        {"card_url": "https://a.example", "trusted_keys": [{"kty": "oct", "k": "x"}]},
        {"card_url": "https://a.example", "trusted_keys": [{"kty": "EC", "d": "private"}]},
        {"card_url": "https://a.example", "secret": "x"},
    ],
)
async def test_a_body_that_does_not_fit_is_refused(hub: Hub, body: dict[str, object]) -> None:
    answer = await hub.post(PATH, body)
    assert (answer.status, answer.code) == (422, "SCHEMA_VALIDATION_FAILED")


async def test_operators_alone_have_remote_agents(hub: Hub, agent: FakeAgent) -> None:
    for scope in (Scope.AGENT, Scope.WORKER):
        key = await hub.key(scope)
        assert (await hub.get(PATH, key=key)).status == 403
        assert (await hub.post(PATH, {"card_url": agent.url}, key=key)).status == 403
    assert agent.calls == []
    assert (await hub.get(f"{PATH}/{UNLIKELY}")).status == 404
    assert (await hub.post(f"{PATH}/{UNLIKELY}/reverify")).status == 404
    assert (await hub.send("DELETE", f"/api/v1{PATH}/{UNLIKELY}")).status == 404


async def test_a_task_goes_out_and_comes_back(hub: Hub, agent: FakeAgent) -> None:
    auth = {"kind": "bearer", "token": SECRET}
    made = (await hub.post(PATH, {"card_url": agent.url, "auth": auth, "routing_tags": ["far"]})).data
    task = (await hub.post("/tasks", {"title": "x", "input": "work", "required_tags": ["far"]})).data
    agent.move(await agent.task(), "TASK_STATE_COMPLETED")
    async with asyncio.timeout(10):
        while (found := (await hub.get(f"/tasks/{task['id']}")).data)["state"] != "completed":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert found["assigned_agent_id"] == made["agent_id"]
    assert agent.sent()[0].params["message"]["parts"] == [{"text": "work"}]
