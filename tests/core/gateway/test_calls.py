"""Grants, decisions, records, and calls that wait for leave."""

import asyncio
from dataclasses import replace

import pytest

from core.errors import Conflict, Forbidden, HubError, NotFound, TooMany
from core.gateway import calls, grants, leave
from core.gateway.calls import Ended, Noted
from core.gateway.grants import GrantId, ListGrants
from core.gateway.records import ListCalls, list_calls
from core.gateway.tool_agents import may_have_called
from schemas.vocabulary import ApprovalStatus, CallState, GrantEffect, GrantSubject
from tests.core.gateway.conftest import Gateway
from tests.core.tasks.stage import reason

ALLOW, APPROVE, DENY = GrantEffect.ALLOW, GrantEffect.APPROVE, GrantEffect.DENY
ROLE, PRINCIPAL, AGENT, TASK = GrantSubject


async def test_nothing_is_granted_to_anybody_by_itself(gateway: Gateway) -> None:
    assert await gateway.begin(gateway.stage.admin) is None
    assert await gateway.begin(await gateway.executing(role="researcher")) is None


async def test_a_grant_to_a_role_reaches_whoever_does_a_task_of_it(gateway: Gateway) -> None:
    await gateway.grant(ROLE, "researcher")
    caller = await gateway.executing(role="researcher")
    call = await gateway.begin(caller, path="/x", token="t")
    assert call is not None
    assert (call.state, call.task_id, call.attempt) == (CallState.STARTED, caller.task_id, 1)
    assert call.arguments == {"path": "/x", "token": "[redacted]"}
    without_token = replace(caller, task_id=None, lease_id=None)
    assert await gateway.begin(without_token) is None


async def test_grants_of_a_task_and_an_agent(gateway: Gateway) -> None:
    caller, other = await gateway.executing(), await gateway.executing()
    assert caller.task_id is not None
    await gateway.grant(TASK, caller.task_id, "read")
    await gateway.grant(AGENT, other.principal_id, "read")
    assert await gateway.begin(caller) is not None
    assert await gateway.begin(caller, "write") is None
    assert await gateway.begin(other) is not None
    assert await gateway.begin(replace(other, task_id=None, lease_id=None)) is not None


async def test_a_token_is_worth_nothing_once_its_lease_has_ended(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r")
    assert caller.task_id is not None
    await gateway.stage.complete(replace(caller, task_id=None), caller.task_id, caller.lease_id, "done")
    with pytest.raises(Conflict) as refused:
        await gateway.begin(caller)
    assert reason(refused.value) == "lease_expired"


async def test_what_is_denied_is_on_record(gateway: Gateway) -> None:
    user = gateway.stage.user
    await gateway.grant(PRINCIPAL, await gateway.principal(gateway.stage.user), "*", DENY)
    call = await gateway.begin(user)
    assert call is not None
    assert call.state is CallState.REFUSED


async def test_calls_leave_an_event_in_the_history_of_their_task(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r")
    call = await gateway.begin(caller)
    assert call is not None
    assert caller.task_id is not None
    assert await gateway.end(call) is not None
    assert await gateway.end(call) is None  # it is known
    wanted = gateway.wanted("list")
    noted = Noted(wanted, Ended(wanted.id, CallState.FAILED, 3, error={"reason_code": "timeout"}))
    await gateway.stage.platform.write(caller, calls.note, noted)
    told = [kind for kind, _ in await gateway.stage.told(caller.task_id) if kind.startswith("mcp_call.")]
    assert told == ["mcp_call.succeeded", "mcp_call.failed"]
    query = ListCalls(caller.task_id)
    for reader in (gateway.stage.user, gateway.stage.admin, replace(caller, full=True)):
        page = await gateway.stage.platform.read(reader, list_calls, query)
        assert [found.tool for found in page.items] == ["list", "read"]
    stranger = await gateway.stage.agent("eve")
    with pytest.raises(NotFound):
        await gateway.stage.platform.read(stranger, list_calls, query)
    with pytest.raises(NotFound):
        await gateway.get(call, by=stranger)


async def test_a_rate_is_kept(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r", calls_per_minute=2)
    for _ in range(2):
        assert await gateway.begin(caller) is not None
    with pytest.raises(TooMany):
        await gateway.begin(caller)
    gateway.stage.clock.advance(30)
    await gateway.stage.sweep()
    gateway.stage.clock.advance(29)
    with pytest.raises(TooMany):
        await gateway.begin(caller)
    gateway.stage.clock.advance(0.9)
    with pytest.raises(TooMany):
        await gateway.begin(caller)


async def test_limits_only_narrow(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r", timeout_seconds=10_000, max_result_bytes=100)
    call = await gateway.begin(caller)
    assert call is not None
    assert (call.timeout_seconds, call.max_result_bytes) == (300, 100)


async def test_a_call_that_needs_leave_is_executed_once_it_has_it(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r", "write", APPROVE)
    call = await gateway.waiting(caller, path="/x")
    asked = await gateway.approval(call)
    assert asked.subject["arguments"] == {"path": "/x"}
    assert asked.decider_id == gateway.stage.user.principal_id
    assert await gateway.take(call) is None  # nobody has decided
    await gateway.approve(call, by=gateway.stage.user)
    (found,) = await gateway.stage.platform.read(gateway.stage.admin, leave.decided, None)
    assert found.call_id == call.id
    taken = await gateway.take(call)
    assert taken is not None
    assert (taken.caller.principal_id, taken.caller.task_id) == (caller.principal_id, caller.task_id)
    assert await gateway.take(call) is None
    assert caller.task_id is not None
    told = [kind for kind, _ in await gateway.stage.told(caller.task_id)]
    assert told[-3:] == ["approval.requested", "approval.decided", "mcp_call.started"]


async def test_two_hubs_start_a_call_once(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r", "*", APPROVE)
    call = await gateway.waiting(caller)
    await gateway.approve(call)
    taken = await asyncio.gather(*(gateway.take(call) for _ in range(8)))
    assert sum(found is not None for found in taken) == 1


async def test_the_same_call_again_is_the_same_call(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r", "*", APPROVE)
    call = await gateway.waiting(caller, path="/x")
    assert await gateway.waiting(caller, path="/x") == call
    other = await gateway.waiting(caller, path="/y")
    assert other.id != call.id
    await gateway.approve(call)
    assert await gateway.take(call) is not None
    again = await gateway.begin(caller, "write", path="/x")
    assert again is not None
    assert (again.id, again.state) == (call.id, CallState.STARTED)
    await gateway.end(call)
    again = await gateway.begin(caller, "write", path="/x")
    assert again is not None
    assert again.result == {"content": []}
    await gateway.stage.platform.write(caller, calls.collect, call.id)
    assert (await gateway.waiting(caller, path="/x")).id != call.id


@pytest.mark.parametrize("action", ["reject", "expire", "lose the lease", "change the definition"])
async def test_without_leave_nothing_is_called(gateway: Gateway, action: str) -> None:
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r", "*", APPROVE)
    call = await gateway.waiting(caller)
    assert caller.task_id is not None
    if action == "expire":
        await gateway.keep(caller, days=3)
        await gateway.stage.later(24 * 3600)
    elif action == "reject":
        await gateway.approve(call, action="reject")
    else:
        await gateway.approve(call)
    if action == "lose the lease":
        await gateway.stage.complete(replace(caller, task_id=None), caller.task_id, caller.lease_id, "done")
    current = "b" * 64 if action == "change the definition" else "a" * 64
    assert await gateway.take(call, current) is None
    ended = await gateway.get(call)
    assert ended.state is CallState.REFUSED
    assert ended.error is not None
    codes = {
        "reject": "rejected",
        "expire": "approval_expired",
        "lose the lease": "lease_expired",
        "change the definition": "definition_changed",
    }
    assert ended.error["reason_code"] == codes[action]


async def test_leave_that_was_not_used_in_time_is_none(gateway: Gateway) -> None:
    user = gateway.stage.user
    await gateway.grant(PRINCIPAL, await gateway.principal(gateway.stage.user), "*", APPROVE)
    call = await gateway.waiting(user)
    await gateway.approve(call)
    gateway.stage.clock.advance(25 * 3600)
    assert await gateway.take(call) is None
    ended = await gateway.get(call)
    assert ended.error is not None
    assert ended.error["reason_code"] == "approval_expired"


async def test_whoever_asks_does_not_decide(gateway: Gateway) -> None:
    await gateway.grant(PRINCIPAL, await gateway.principal(gateway.stage.admin), "*", APPROVE)
    call = await gateway.waiting(gateway.stage.admin)
    with pytest.raises(Forbidden):
        await gateway.approve(call)
    assert (await gateway.approval(call)).status is ApprovalStatus.PENDING
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r", "*", APPROVE)
    theirs = await gateway.waiting(caller)
    with pytest.raises(HubError):
        await gateway.approve(theirs, by=caller)


async def test_a_call_of_no_task_is_seen_by_whoever_asked(gateway: Gateway) -> None:
    user = gateway.stage.user
    await gateway.grant(PRINCIPAL, await gateway.principal(gateway.stage.user), "*", APPROVE)
    call = await gateway.waiting(user)
    assert (await gateway.approval(call, by=user)).id == call.approval_id
    assert (await gateway.get(call, by=user)).id == call.id
    stranger = await gateway.stage.agent("eve")
    for look in (gateway.approval(call, by=stranger), gateway.get(call, by=stranger)):
        with pytest.raises(NotFound):
            await look
    await gateway.approve(call)
    assert await gateway.take(call) is not None


async def test_a_started_call_that_nobody_ended_is_unknown_and_not_repeated(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    await gateway.grant(ROLE, "r", "*", APPROVE)
    call = await gateway.waiting(caller)
    await gateway.approve(call)
    assert await gateway.take(call) is not None
    (behind,) = await gateway.stage.platform.read(gateway.stage.admin, leave.left_behind, None)
    await gateway.stage.platform.write(gateway.stage.admin, leave.give_up, behind)
    again = await gateway.begin(caller, "write")
    assert again is not None
    assert (again.id, again.state) == (call.id, CallState.UNKNOWN)
    assert await gateway.take(call) is None
    assert await gateway.end(call) is not None  # the answer came after all
    assert (await gateway.get(call)).state is CallState.SUCCEEDED


async def test_a_call_of_a_dead_hub_is_given_up_when_its_time_is_over(gateway: Gateway) -> None:
    user = gateway.stage.user
    await gateway.grant(PRINCIPAL, await gateway.principal(gateway.stage.user))
    call = await gateway.begin(user)
    assert call is not None
    await gateway.stage.later(329)
    assert (await gateway.get(call)).state is CallState.STARTED
    await gateway.stage.later(2)
    assert (await gateway.get(call)).state is CallState.UNKNOWN


async def test_the_next_attempt_finds_what_the_last_one_started(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    agent = replace(caller, face="rest", task_id=None, lease_id=None)
    await gateway.grant(ROLE, "r", "*", APPROVE)
    started, pending = await gateway.waiting(caller, n=1), await gateway.waiting(caller, n=2)
    await gateway.approve(started)
    assert await gateway.take(started) is not None
    await gateway.end(started)
    await gateway.stage.later(61)  # the lease is lost
    await gateway.stage.later(10)
    held = await gateway.stage.take(agent)
    assert held.task.id == caller.task_id
    later = replace(caller, lease_id=held.lease_id)
    again = await gateway.begin(later, "write", n=1)
    assert again is not None
    assert (again.id, again.state) == (started.id, CallState.SUCCEEDED)
    assert (await gateway.waiting(later, n=2)).id != pending.id


async def test_grants_are_given_once_and_taken(gateway: Gateway) -> None:
    first = await gateway.grant(ROLE, "r", calls_per_minute=1)
    second = await gateway.grant(ROLE, "r", calls_per_minute=5)
    assert (first.id, second.calls_per_minute) == (second.id, 5)
    page = await gateway.stage.platform.read(
        gateway.stage.admin, grants.list_grants, ListGrants(server="files", subject_kind=ROLE, subject="r")
    )
    assert [found.id for found in page.items] == [first.id]
    await gateway.stage.platform.write(gateway.stage.admin, grants.delete_grant, GrantId(first.id))
    assert await gateway.begin(await gateway.executing(role="r")) is None
    with pytest.raises(NotFound):
        await gateway.stage.platform.write(gateway.stage.admin, grants.delete_grant, GrantId(first.id))


async def test_only_operators_of_the_tenant_give_grants(gateway: Gateway) -> None:
    command = grants.CreateGrant(grants.Subject(ROLE, name="r"), "files")
    with pytest.raises(Forbidden):
        await gateway.stage.platform.write(gateway.stage.user, grants.create_grant, command)
    elsewhere = replace(gateway.stage.admin, tenant_id=gateway.stage.user.principal_id)
    with pytest.raises(NotFound):
        await gateway.stage.platform.write(elsewhere, grants.create_grant, command)
    with pytest.raises(NotFound):
        await gateway.grant(TASK, gateway.stage.user.principal_id)


async def test_a_call_that_may_have_happened_is_known_to_the_next_attempt(gateway: Gateway) -> None:
    caller = await gateway.executing(role="r")
    assert caller.task_id is not None
    await gateway.grant(ROLE, "r")
    read = gateway.stage.platform.read
    assert not await read(caller, may_have_called, caller.task_id)
    call = await gateway.begin(caller)
    assert call is not None
    assert await read(caller, may_have_called, caller.task_id)
    await gateway.end(call)
    assert not await read(caller, may_have_called, caller.task_id)
