"""The client against a real hub: each call is understood, and each answer read."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from hub.client import (
    AgentBusy,
    Claim,
    Conflict,
    Crossdock,
    Forbidden,
    InvalidTransition,
    NotFound,
    SchemaInvalid,
)
from tests.hub.client.real_hub import Hub, real_hub

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one hub serves them all


@pytest_asyncio.fixture(name="hub", scope="module", loop_scope="module")
async def _hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hub]:
    async with real_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest_asyncio.fixture(name="client", loop_scope="module")
async def _client(hub: Hub) -> AsyncIterator[Crossdock]:
    async with hub.client() as client:
        yield client


async def _claimed(client: Crossdock, title: str) -> Claim:
    """A task that its own agent has claimed and started."""
    agent = await client.agents.register(title, routing_tags=[title])
    await client.tasks.create(title, input={"text": "hi"}, required_tags=[title])
    claim = await client.tasks.claim(agent.id, start=True)
    assert claim is not None
    assert claim.title == title
    return claim


async def test_an_agent_has_a_key_that_knows_who_it_is(hub: Hub, client: Crossdock) -> None:
    agent = await client.agents.register("scout", tools=["grep"], idempotency_key="scout-1")
    assert agent.api_key is not None
    assert agent.raw["tools"] == {"required": [], "optional": ["grep"]}
    assert agent.id in [listed.id for listed in (await client.agents.list()).items]
    async with Crossdock(hub.url, agent.api_key) as own:
        assert (await own.me())["owner_id"] == agent.id
        assert (await own.agents.heartbeat(agent.id))["ack"] is True
        with pytest.raises(Forbidden):
            await own.agents.register("another")
    again = await client.agents.register("scout", tools=["grep"], idempotency_key="scout-1")
    assert (again.id, again.api_key) == (agent.id, None)


async def test_one_key_makes_one_task(client: Crossdock) -> None:
    first = await client.tasks.create("once", required_tags=["nobody"], idempotency_key="k1")
    assert (await client.tasks.create("once", required_tags=["nobody"], idempotency_key="k1")).id == first.id
    with pytest.raises(Conflict) as caught:
        await client.tasks.create("twice", idempotency_key="k1")
    assert caught.value.reason_code == "request_id_reused"


async def test_a_body_of_the_wrong_shape_is_refused_field_by_field(client: Crossdock) -> None:
    with pytest.raises(SchemaInvalid) as caught:
        await client.tasks.create("odd", priority="soon", nonsense=1)
    assert {"priority", "nonsense"} <= set(caught.value.field_errors)


async def test_lists_go_through_all_pages(client: Crossdock) -> None:
    made = [
        (await client.tasks.create(f"page {n}", context_id="pages", required_tags=["nobody"])).id
        for n in range(5)
    ]
    found = [task.id async for task in client.tasks.all(context_id="pages", per_page=2)]
    assert sorted(found) == sorted(made)


async def test_several_tasks_are_claimed_at_once_but_no_more_than_the_agent_may(client: Crossdock) -> None:
    agent = await client.agents.register("many", routing_tags=["many"], max_concurrent=2)
    for _ in range(3):
        await client.tasks.create("many", required_tags=["many"])
    with pytest.raises(AgentBusy):
        await client.tasks.claim_many(agent.id, 3)
    claims = await client.tasks.claim_many(agent.id, 2, start=True)
    assert len(claims) == 2
    for claim in claims:
        await client.tasks.refuse(claim.id, "only counting", lease_id=claim.lease_id)


async def test_a_question_is_asked_and_answered(client: Crossdock) -> None:
    claim = await _claimed(client, "question")
    task = await client.tasks.request_input(
        claim.id, "which city?", lease_id=claim.lease_id, hold=True, schema={"type": "string"}
    )
    assert task.state == "input_required"
    task = await client.tasks.input(claim.id, data="Paris")
    assert task.state == "in_progress"
    lease = await client.tasks.lease(claim.id, claim.lease_id, extend_seconds=30)
    assert not lease.cancel_requested
    assert lease.expires_at is not None


async def test_leave_is_asked_and_given_by_another_than_the_asker(client: Crossdock) -> None:
    claim = await _claimed(client, "leave")
    asked = await client.approvals.ask(
        claim.id, "publish?", lease_id=claim.lease_id, kind="permission", subject={"page": 1}
    )
    assert (asked.status, asked.task_id) == ("pending", claim.id)
    assert asked.id in [approval.id for approval in (await client.approvals.list()).items]
    decided = await client.approvals.decide(asked.id, action="approve")
    assert decided.status == "approved"
    assert (await client.approvals.get(asked.id, wait_seconds=1)).status == "approved"
    with pytest.raises(Conflict):
        await client.approvals.decide(asked.id, action="reject", feedback="too late")


async def test_a_failure_is_told_and_the_late_result_refused(client: Crossdock) -> None:
    claim = await _claimed(client, "failure")
    failed = await client.tasks.fail(claim.id, "no luck", lease_id=claim.lease_id)
    assert failed.final
    assert failed.error == {"category": "execution_error", "message": "no luck", "recoverable": False}
    with pytest.raises(Conflict) as caught:
        await client.tasks.complete(claim.id, "late", lease_id=claim.lease_id)
    assert caught.value.lease_lost or isinstance(caught.value, InvalidTransition)


async def test_an_artifact_grows_chunk_by_chunk(client: Crossdock) -> None:
    claim = await _claimed(client, "chunks")
    for n, text in enumerate(["one ", "two"]):
        await client.tasks.artifact(
            claim.id, text, artifact_id="a", name="count", append=n > 0, lease_id=claim.lease_id
        )
    (artifact,) = (await client.tasks.artifacts(claim.id)).items
    assert (artifact.id, artifact.name) == ("a", "count")
    assert [part["text"] for part in artifact.raw["parts"]] == ["one ", "two"]


async def test_the_log_is_read_and_followed_by_the_same_cursor(client: Crossdock) -> None:
    claim = await _claimed(client, "log")
    await client.tasks.message(claim.id, "hello", lease_id=claim.lease_id)
    await client.tasks.complete(claim.id, {"n": 1}, lease_id=claim.lease_id)
    read = [event.id async for event in client.events.all(entity_id=claim.id)]
    followed = [event async for event in client.tasks.follow(claim.id)]
    assert [event.id for event in followed] == read
    assert [event.version for event in followed] == list(range(1, len(read) + 1))
    tail = [event.id async for event in client.tasks.follow(claim.id, after=read[1])]
    assert tail == read[2:]


async def test_what_does_not_exist_is_not_found(client: Crossdock) -> None:
    with pytest.raises(NotFound):
        await client.tasks.get("01a21334-0000-7000-8000-000000000000")


async def test_much_is_reported_in_one_request(client: Crossdock) -> None:
    claim = await _claimed(client, "much")
    piece: dict[str, Any] = {"kind": "artifact", "artifact_id": "a", "parts": [{"text": "x"}]}
    said: dict[str, Any] = {"kind": "message", "parts": [{"text": "done"}]}
    items = [piece, {**piece, "append": True}, said]
    ids = await client.tasks.progress(claim.id, items, lease_id=claim.lease_id)
    assert ids[:2] == ["a", "a"]
    assert [message.id for message in (await client.tasks.messages(claim.id)).items] == [ids[2]]
