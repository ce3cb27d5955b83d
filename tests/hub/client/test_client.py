"""The client's calls: envelopes, errors, and what is repeated."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hub.client import (
    Conflict,
    Crossdock,
    Forbidden,
    Invalid,
    NotFound,
    SchemaInvalid,
    ServerFault,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from hub.client.api import key_of
from hub.client.errors import BY_CODE, BY_STATUS, ApiError, error_of
from schemas.errors import MEANINGS, ErrorCode
from tests.hub.client.fake_hub import KEY, FakeHub, fake_hub


@pytest.fixture(name="fake")
async def _fake() -> AsyncIterator[FakeHub]:
    async with fake_hub() as hub:
        yield hub


@pytest.fixture(name="hub")
async def _hub(fake: FakeHub) -> AsyncIterator[Crossdock]:
    async with Crossdock(fake.url, KEY) as hub:
        yield hub


async def test_a_created_task_comes_back_without_its_envelope(hub: Crossdock) -> None:
    task = await hub.tasks.create("say hello", input={"text": "hi"}, required_tags=["a"])
    assert (task.title, task.state, task.input) == ("say hello", "ready", {"text": "hi"})
    assert task.raw["required_tags"] == ["a"]
    assert await hub.tasks.get(task.id) == task


async def test_an_executor_claims_reports_and_completes(hub: Crossdock, fake: FakeHub) -> None:
    agent = await hub.agents.register("scout", routing_tags=["a"], tools=["grep"], max_concurrent=2)
    task = await hub.tasks.create("work")
    claim = await hub.tasks.claim(agent.id, start=True, lease_seconds=30)
    assert claim is not None
    assert (claim.id, claim.attempt) == (task.id, 1)
    lease = await hub.tasks.lease(claim.id, claim.lease_id, extend_seconds=30)
    assert lease.expires_at is not None
    assert not lease.cancel_requested
    message = await hub.tasks.message(claim.id, "one", lease_id=claim.lease_id)
    assert message.text == "one"
    artifact = await hub.tasks.artifact(
        claim.id, path="a.txt", content=b"hello", content_type="text/plain", lease_id=claim.lease_id
    )
    assert fake.artifacts[task.id][artifact.id]["content_base64"] == "aGVsbG8="
    done = await hub.tasks.complete(claim.id, None, lease_id=claim.lease_id)
    assert done.final
    assert fake.bodies("complete")[-1] == {"lease_id": claim.lease_id, "output": None}
    assert fake.bodies("register")[-1]["tools"] == {"required": [], "optional": ["grep"]}


async def test_nothing_to_claim_is_none(hub: Crossdock) -> None:
    assert await hub.tasks.claim("a") is None
    assert list(await hub.tasks.claim_many("a", 5)) == []


async def test_lists_are_read_page_by_page(hub: Crossdock, fake: FakeHub) -> None:
    ids = [await fake.submit(f"task {n}") for n in range(5)]
    assert [task.id async for task in hub.tasks.all(per_page=2)] == ids


async def test_a_lost_lease_is_a_conflict_that_names_its_reason(hub: Crossdock, fake: FakeHub) -> None:
    task_id = await fake.submit()
    claim = await hub.tasks.claim("a", start=True)
    assert claim is not None
    await fake.end(task_id, "ready", "task_ownership_moved")
    with pytest.raises(Conflict, match="task_ownership_moved") as caught:
        await hub.tasks.complete(claim.id, "late", lease_id=claim.lease_id, idempotency_key="k")
    assert caught.value.lease_lost
    assert caught.value.request_id == "r1"


async def test_a_wrong_key_is_unauthorized_and_an_unknown_task_not_found(
    fake: FakeHub, hub: Crossdock
) -> None:
    with pytest.raises(NotFound):
        await hub.tasks.get("b")
    async with Crossdock(fake.url, "wrong") as stranger:
        with pytest.raises(Unauthorized):
            await stranger.tasks.get("b")


@pytest.mark.parametrize("fault", ["unavailable", "deaf", "mute"])  # mute: done, and the answer lost
async def test_a_write_with_a_key_is_repeated_and_happens_once(
    hub: Crossdock, fake: FakeHub, fault: str
) -> None:
    fake.faults["tasks"] = [fault]
    await hub.tasks.create("once", idempotency_key="k1")
    assert len(fake.tasks) == 1
    assert fake.bodies("tasks") == [{"title": "once"}] * 2


@pytest.mark.parametrize(("fault", "error"), [("unavailable", Unavailable), ("deaf", Unreachable)])
async def test_a_write_without_a_key_is_not_repeated(
    hub: Crossdock, fake: FakeHub, fault: str, error: type[Exception]
) -> None:
    fake.faults["tasks"] = [fault]
    with pytest.raises(error):
        await hub.tasks.create("once")
    assert not fake.tasks
    assert len(fake.bodies("tasks")) == 1


async def test_reads_are_repeated(hub: Crossdock, fake: FakeHub) -> None:
    task_id = await fake.submit()
    fake.faults[task_id] = ["unavailable", "deaf"]
    assert (await hub.tasks.get(task_id)).id == task_id


async def test_a_fault_of_the_hub_is_not_repeated(hub: Crossdock, fake: FakeHub) -> None:
    fake.faults["tasks"] = ["broken"]
    with pytest.raises(ServerFault):
        await hub.tasks.create("once", idempotency_key="k1")
    assert len(fake.bodies("tasks")) == 1


async def test_repeating_ends_with_the_time_given(fake: FakeHub) -> None:
    await fake.stop()
    async with Crossdock(fake.url, KEY, retry_seconds=0.0) as hub:
        with pytest.raises(Unreachable, match=fake.url):
            await hub.tasks.get("a")


async def test_the_listener_hears_that_the_hub_went_and_came(fake: FakeHub) -> None:
    heard: list[bool] = []
    task_id = await fake.submit()
    fake.faults[task_id] = ["deaf", "deaf"]
    async with Crossdock(fake.url, KEY, on_reach=heard.append) as hub:
        await hub.tasks.get(task_id)
    assert heard == [False, True]


async def test_what_is_no_hub_is_unreachable(fake: FakeHub) -> None:
    async with Crossdock(f"{fake.url}/elsewhere", KEY) as hub:
        with pytest.raises(NotFound):  # a bare 404 has no envelope; the status alone decides
            await hub.tasks.get("a")


async def test_nothing_that_json_cannot_carry_is_sent(hub: Crossdock, fake: FakeHub) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await hub.tasks.create("not a number", input={"x": float("nan")})
    assert not fake.requests


def test_the_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("xd_agent_filed\n")
    assert key_of({"CROSSDOCK_API_KEY": "k", "CROSSDOCK_API_KEY_FILE": str(file)}) == "k"
    assert key_of({"CROSSDOCK_API_KEY_FILE": str(file)}) == "xd_agent_filed"
    assert key_of({}) is None


async def test_the_key_is_sent_to_the_hub_of_the_environment(fake: FakeHub) -> None:
    environ = {"CROSSDOCK_URL": fake.url + "/", "CROSSDOCK_API_KEY": KEY}
    async with Crossdock(environ=environ) as hub:
        await hub.tasks.create("hello")
    assert fake.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_every_error_code_of_the_hub_has_its_exception() -> None:
    assert set(BY_CODE) == set(ErrorCode)
    for code, kind in BY_CODE.items():
        by_status = BY_STATUS[MEANINGS[ErrorCode(code)].http]
        assert issubclass(kind, by_status), code


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (409, {"error": {"code": "AGENT_BUSY", "message": "m"}}, "AgentBusy"),
        (403, {"error": {"code": "FORBIDDEN", "message": "m"}}, "Forbidden"),
        (422, {"error": {"code": "NEW_CODE", "message": "m"}}, "SchemaInvalid"),
        (502, None, "BadGateway"),
        (418, [], "ApiError"),
        (400, {"error": "text"}, "Invalid"),
    ],
)
def test_an_error_is_known_by_its_code_or_else_its_status(status: int, body: object, kind: str) -> None:
    assert type(error_of(status, body, {})).__name__ == kind


def test_an_error_tells_everything_that_the_hub_told() -> None:
    details: Mapping[str, Any] = {"issues": {"fieldErrors": {"title": ["too long"]}}}
    body = {
        "error": {
            "code": "SCHEMA_VALIDATION_FAILED",
            "message": "m",
            "recovery_hint": "h",
            "details": details,
        },
        "meta": {"request_id": "r9"},
    }
    error = error_of(422, body, {"retry-after": "2"})
    assert isinstance(error, SchemaInvalid)
    assert isinstance(error, Invalid)
    assert error.field_errors == {"title": ["too long"]}
    assert (error.recovery_hint, error.request_id, error.retry_after) == ("h", "r9", 2.0)
    assert not isinstance(error, Forbidden)
    assert isinstance(error, ApiError)
