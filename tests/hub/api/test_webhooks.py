"""Webhooks over REST: made once, told of what happens, signed, tried again, and put right."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from core.store import open_store
from schemas.vocabulary import Scope
from tests.fakes import FakeClock
from tests.hub.api.hub import Hub, running

Json = Mapping[str, Any]
SECONDS = 20.0


class Receiver:
    """Somebody who is told. `answer` decides the status for each request."""

    def __init__(self) -> None:
        self.heard: list[tuple[Mapping[str, str], bytes]] = []
        self.answer: Callable[[int], int] = lambda n: 204
        self.changed = asyncio.Event()
        self.port = 0

    async def take(self, request: web.Request) -> web.Response:
        """Take one notification."""
        self.heard.append((dict(request.headers), await request.read()))
        self.changed.set()
        return web.Response(status=self.answer(len(self.heard)))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def types(self) -> list[str]:
        """The types of what was heard, in order."""
        return [json.loads(body)["type"] for _, body in self.heard]

    async def until(self, seen: Callable[["Receiver"], bool]) -> None:
        """Wait until it has heard enough."""
        async with asyncio.timeout(SECONDS):
            while not seen(self):
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[Receiver]:
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", receiver.port)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that is there."""
    async with listening(Receiver()) as receiver:
        yield receiver


@pytest.fixture
async def hub(database_url: str, clock: FakeClock, tmp_path: Path, receiver: Receiver) -> AsyncIterator[Hub]:
    """A hub that may call the receiver, and does not wait long before it does so again."""
    settings = {
        "files": str(tmp_path),
        "outbound_allow": (f"127.0.0.1:{receiver.port}",),
        "delivery_retries": (0.01, 0.01),
    }
    async with running(open_store(database_url), **settings) as hub:
        yield hub


async def hooked(hub: Hub, receiver: Receiver, **fields: Any) -> Json:
    """A webhook for the receiver."""
    made = await hub.post("/webhooks", {"url": receiver.url, **fields})
    assert made.status == 201, made.body
    data: Json = made.data
    return data


async def deliveries(hub: Hub, hook: Json, query: str = "") -> list[Json]:
    found: list[Json] = (await hub.get(f"/webhooks/{hook['id']}/deliveries{query}")).data
    return found


async def logged(hub: Hub, query: str, count: int) -> list[Json]:
    """So many events, once the log has them."""
    async with asyncio.timeout(SECONDS):
        while True:
            found: list[Json] = (await hub.get(f"/events?after=0&limit=100&{query}")).data
            if len(found) == count:
                return found
            await asyncio.sleep(0.02)


async def settled(hub: Hub, hook: Json, count: int) -> list[Json]:
    """The deliveries, once so many have ended."""
    async with asyncio.timeout(SECONDS):
        while True:
            found = await deliveries(hub, hook, "?status=delivered,dead")
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


async def test_what_happens_is_told_in_order_and_signed(hub: Hub, receiver: Receiver) -> None:
    hook = await hooked(hub, receiver, event_types=["task.*"])
    agent = await hub.agent()
    task = await hub.claimed(agent)
    await hub.post(f"/tasks/{task['id']}/complete", {"lease_id": task["lease_id"]}, key=agent["api_key"])
    events = await logged(hub, f"entity_id={task['id']}", 5)
    await receiver.until(lambda r: len(r.heard) >= len(events))
    told = [Webhook(hook["secret"]).verify(body, dict(headers)) for headers, body in receiver.heard]
    assert [said["data"] for said in told] == events
    assert [said["pos"] for said in told] == [event["id"] for event in events]
    found = await settled(hub, hook, len(events))
    assert {d["status"] for d in found} == {"delivered"}
    assert {headers["webhook-id"] for headers, _ in receiver.heard} == {d["id"] for d in found}


async def test_only_what_was_asked_for_is_told(hub: Hub, receiver: Receiver) -> None:
    hook = await hooked(hub, receiver, event_types=["task.created"], filters={"workflow_id": None})
    for _ in range(3):
        await hub.post("/tasks", {"title": "x"})
    await hub.post(f"/webhooks/{hook['id']}/test")
    await receiver.until(lambda r: "webhook.tested" in r.types and len(r.heard) == 4)
    assert sorted(receiver.types) == ["task.created"] * 3 + ["webhook.tested"]


async def test_a_test_is_told_to_nobody_else(hub: Hub, receiver: Receiver) -> None:
    first, second = [await hooked(hub, receiver, event_types=["webhook.tested"]) for _ in range(2)]
    for hook in (first, second):
        assert (await hub.post(f"/webhooks/{hook['id']}/test")).status == 202
    for hook in (first, second):
        assert len(await settled(hub, hook, 1)) == 1
    assert len(receiver.heard) == 2


async def test_what_is_not_accepted_is_tried_again_then_dead_then_sent_again_on_request(
    hub: Hub, receiver: Receiver
) -> None:
    receiver.answer = lambda n: 500
    hook = await hooked(hub, receiver, event_types=["task.created"])
    await hub.post("/tasks", {"title": "x"})
    (dead,) = await settled(hub, hook, 1)
    assert (dead["status"], dead["attempt"], dead["response_status"]) == ("dead", 3, 500)
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 1
    receiver.answer = lambda n: 200
    path = f"/webhooks/{hook['id']}/deliveries/{dead['id']}/redeliver"
    assert (await hub.post(path)).data["status"] == "pending"
    async with asyncio.timeout(SECONDS):
        while (await deliveries(hub, hook))[0]["status"] != "delivered":  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
    assert (await hub.post(path)).status == 409
    other = await hooked(hub, receiver)
    assert (await hub.post(path.replace(hook["id"], other["id"]))).status == 404


async def test_a_receiver_that_is_gone_is_told_nothing_more(hub: Hub, receiver: Receiver) -> None:
    receiver.answer = lambda n: 410
    hook = await hooked(hub, receiver, event_types=["task.created"])
    await hub.post("/tasks", {"title": "x"})
    async with asyncio.timeout(SECONDS):
        while (await hub.get(f"/webhooks/{hook['id']}")).data["is_active"]:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)
    after = (await hub.get(f"/webhooks/{hook['id']}")).data
    assert after["disabled"] == "gone"
    receiver.answer = lambda n: 200
    again = await hub.send("PATCH", f"/api/v1/webhooks/{hook['id']}", json={"is_active": True})
    assert (again.data["is_active"], again.data["disabled"]) == (True, None)
    await hub.post("/tasks", {"title": "y"})
    await receiver.until(lambda r: len(r.heard) == 2)


async def test_a_secret_is_shown_once_and_the_one_before_still_signs(hub: Hub, receiver: Receiver) -> None:
    hook = await hooked(hub, receiver, event_types=["task.created"], request_id="h")
    again = await hub.post(
        "/webhooks", {"url": receiver.url, "event_types": ["task.created"], "request_id": "h"}
    )
    assert (again.data["id"], again.data["secret"]) == (hook["id"], None)
    assert (await hub.get(f"/webhooks/{hook['id']}")).data["secret"] is None
    path = f"/api/v1/webhooks/{hook['id']}"
    changed = (await hub.send("PATCH", path, json={"rotate_secret": True})).data
    await hub.post("/tasks", {"title": "x"})
    await receiver.until(lambda r: len(r.heard) == 1)
    ((headers, body),) = receiver.heard
    for secret in (hook["secret"], changed["secret"]):
        Webhook(secret).verify(body, dict(headers))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(body, dict(headers))


async def test_what_happens_while_it_is_not_active_is_never_told(hub: Hub, receiver: Receiver) -> None:
    hook = await hooked(hub, receiver, event_types=["task.created"], is_active=False)
    missed = (await hub.post("/tasks", {"title": "x"})).data
    await hub.send("PATCH", f"/api/v1/webhooks/{hook['id']}", json={"is_active": True})
    heard = (await hub.post("/tasks", {"title": "y"})).data
    await receiver.until(lambda r: bool(r.heard))
    assert [json.loads(body)["data"]["task_id"] for _, body in receiver.heard] == [heard["id"]]
    assert missed["id"] != heard["id"]


async def test_a_deleted_webhook_is_told_nothing(hub: Hub, receiver: Receiver) -> None:
    hook, other = [await hooked(hub, receiver, event_types=["task.created"]) for _ in range(2)]
    assert (await hub.send("DELETE", f"/api/v1/webhooks/{hook['id']}")).status == 204
    await hub.post("/tasks", {"title": "x"})
    await settled(hub, other, 1)
    assert len(receiver.heard) == 1
    for path in ("", "/deliveries"):
        assert (await hub.get(f"/webhooks/{hook['id']}{path}")).status == 404


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/hook",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "ftp://example.com/x",
        "https://user:pw@example.com/",
        "nonsense",
    ],
)
async def test_an_address_that_the_hub_does_not_call_is_refused(hub: Hub, url: str) -> None:
    answer = await hub.post("/webhooks", {"url": url})
    assert (answer.status, answer.code) == (422, "SCHEMA_VALIDATION_FAILED")
    assert (await hub.get("/webhooks")).data == []


async def test_a_secret_that_is_none_and_a_pattern_that_is_none_are_refused(
    hub: Hub, receiver: Receiver
) -> None:
    for bad in ({"secret": "short"}, {"secret": "whsec_AAAA"}, {"event_types": ["Task Created"]}):
        assert (await hub.post("/webhooks", {"url": receiver.url, **bad})).status == 422


async def test_only_operators_see_webhooks(hub: Hub, receiver: Receiver) -> None:
    hook = await hooked(hub, receiver)
    for scope in (Scope.AGENT, Scope.WORKER):
        key = await hub.key(scope)
        assert (await hub.get("/webhooks", key=key)).status == 403
        assert (await hub.get(f"/webhooks/{hook['id']}", key=key)).status == 403


async def test_each_event_arrives_though_a_third_of_the_first_tries_fail(
    hub: Hub, receiver: Receiver
) -> None:
    failed: set[str] = set()
    accepted: dict[str, list[int]] = {}

    def answer(n: int) -> int:
        headers, body = receiver.heard[-1]
        name, said = headers["webhook-id"], json.loads(body)
        if said["pos"] % 3 == 0 and name not in failed:
            failed.add(name)
            return 503
        accepted.setdefault(said["data"]["task_id"], []).append(said["pos"])
        return 200

    receiver.answer = answer
    hook = await hooked(hub, receiver, event_types=["task.*"])
    tasks = [(await hub.post("/tasks", {"title": str(n)})).data for n in range(20)]
    for task in tasks:
        assert (await hub.post(f"/tasks/{task['id']}/cancel")).status == 200
    log = await logged(hub, "event_type=task.created,task.state_changed", 40)
    assert {d["status"] for d in await settled(hub, hook, len(log))} == {"delivered"}
    expected: dict[str, list[int]] = {}
    for event in log:
        expected.setdefault(event["task_id"], []).append(event["id"])
    assert accepted == expected
    assert failed
