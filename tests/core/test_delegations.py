"""What was given to a remote agent, as rows: what a restart finds, and that nothing is taken over twice."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from core import delegations as d
from core.caller import SYSTEM, Caller
from core.delegation_results import Ask, Ending, Finish, Relay, ask, finish, relay
from core.delegation_upkeep import (
    FadingBefore,
    Resume,
    fading,
    hand_back,
    orphaned,
    resume,
    waiting,
)
from core.errors import Conflict
from core.platform import Platform
from core.relaying import Brought, Item, Said
from core.store import tables as t
from core.store.tx import Tx
from core.tasks.artifacts import ListArtifacts, list_artifacts
from core.tasks.claim import GiveBack
from core.tasks.messages import ListMessages, list_messages
from core.tasks.review import RetryTask, retry
from core.tasks.task import Claimed
from schemas.vocabulary import DelegationState as S
from schemas.vocabulary import InputKind, Scope, TaskState
from tests.core.tasks.stage import EAGER, Stage, reason
from tests.core.test_remote_agents import FakeCards, install, register
from tests.fakes import FakeClock

HUB = SYSTEM(UUID(int=0))


class Delegated:
    """One task of one remote agent, and what is done to it."""

    def __init__(self, stage: Stage, agent: Caller) -> None:
        self.stage = stage
        self.agent = agent
        self.held: Claimed
        self.row: d.Delegation

    async def claim(self) -> None:
        """Claim what there is, and begin."""
        self.held = await self.stage.take(self.agent, lease_seconds=20)
        await self.begin()

    async def begin(self) -> None:
        """Begin, or go on."""
        command = d.Begin(self.held.task.id, self.held.lease_id, self.agent.principal_id, "context")
        self.row = await self.do(d.begin, command)

    async def attach(self, n: int = 1) -> None:
        """Send, and hear that it arrived."""
        self.row = await self.do(d.sending, d.Sending(*self.key, n))
        self.row = await self.do(d.attached, d.Attached(*self.key, "remote-1", "remote context"))

    async def relay(self, *items: Item) -> None:
        """Take items over."""
        await self.do(relay, Relay(*self.key, items))

    async def ask(self, question: str = "q@1") -> None:
        """Pass a question on."""
        parts = [{"text": "which?"}]
        self.row = await self.do(ask, Ask(*self.key, question, parts, InputKind.INPUT, 15.0))

    async def do(self, command: Any, argument: Any) -> Any:
        """Run a command as the agent."""
        return await self.stage.platform.write(self.agent, command, argument)

    @property
    def key(self) -> tuple[UUID, UUID, UUID]:
        """Task, lease and delegation."""
        return self.held.task.id, self.held.lease_id, self.row.id

    @property
    def back(self) -> GiveBack:
        """What hands the task back."""
        return GiveBack(self.held.task.id, self.held.lease_id)

    @property
    def task_id(self) -> UUID:
        """The task."""
        return self.held.task.id

    async def said(self) -> list[str]:
        """The history in words."""
        messages = await self.stage.platform.read(self.agent, list_messages, ListMessages(self.task_id))
        return [m.parts[0]["text"] for m in messages]

    async def artifacts(self) -> dict[str, list[Any]]:
        """The artifacts' texts."""
        found = await self.stage.platform.read(self.agent, list_artifacts, ListArtifacts(self.task_id))
        return {a.artifact_id: [part["text"] for part in a.parts] for a in found}

    async def state(self) -> str:
        """Where the newest delegation stands."""

        async def query(tx: Tx, task_id: UUID) -> list[str]:
            rows = await tx.all(
                sa.select(t.delegation.c.state)
                .where(t.delegation.c.task_id == task_id)
                .order_by(t.delegation.c.id)
            )
            return [row.state for row in rows]

        states = await self.stage.platform.read(self.stage.admin, query, self.task_id)
        return states[-1]


@pytest.fixture
async def stage(platform: Platform, clock: FakeClock) -> Stage:
    """A tenant on a platform that can seal."""
    stage = Stage(platform, clock)
    await platform.write(stage.admin, install, "s" * 32)
    return stage


@pytest.fixture
async def given(stage: Stage) -> Delegated:
    """A task that its remote agent's delegator holds."""
    remote = await register(stage, FakeCards())
    await stage.submit(policy=EAGER)
    delegated = Delegated(stage, stage.caller(Scope.AGENT, "agent", remote.id))
    await delegated.claim()
    return delegated


async def test_beginning_again_finds_what_was_begun(given: Delegated) -> None:
    first = given.row
    assert (first.state, first.context_id, first.sent_n) == (S.UNSENT, "context", 0)
    await given.begin()
    assert given.row == first
    await given.attach()
    assert (given.row.state, given.row.remote_task_id, given.row.sent_n) == (S.ACTIVE, "remote-1", 1)
    assert (given.row.context_id, given.row.sending_n) == ("remote context", None)
    await given.stage.platform.write(given.stage.admin, hand_back, given.back)
    await given.claim()
    assert replace(given.row, attempt=1) == replace(first, state=S.ACTIVE, **_attached())
    assert given.row.attempt == 2


def _attached() -> dict[str, Any]:
    return {"remote_task_id": "remote-1", "context_id": "remote context", "sent_n": 1}


async def test_an_intent_is_written_down_and_can_be_taken_back(given: Delegated) -> None:
    given.row = await given.do(d.sending, d.Sending(*given.key, 3))
    assert (given.row.state, given.row.sending_n) == (S.SENDING, 3)
    await given.begin()
    assert (given.row.state, given.row.sending_n) == (S.SENDING, 3)
    given.row = await given.do(d.unsent, d.Unsent(*given.key))
    assert (given.row.state, given.row.sending_n, given.row.sent_n) == (S.UNSENT, None, 0)
    await given.attach()
    given.row = await given.do(d.sending, d.Sending(*given.key, 5))
    assert (given.row.state, given.row.sending_n, given.row.sent_n) == (S.ACTIVE, 5, 1)
    given.row = await given.do(d.unsent, d.Unsent(*given.key))
    assert (given.row.state, given.row.sending_n) == (S.ACTIVE, None)


async def test_where_it_runs_is_told_once(given: Delegated) -> None:
    await given.attach()
    await given.attach(2)
    told = [data for kind, data in await given.stage.told(given.task_id) if kind == "task.delegated"]
    assert [data["remote_task_id"] for data in told] == ["remote-1"]


async def test_a_snapshot_read_twice_changes_nothing(given: Delegated) -> None:
    await given.attach()
    snapshot: list[Item] = [
        Said("m1", [{"text": "one"}], known=True),
        Said("m2", [{"text": "two"}], known=True),
        Brought("a", [{"text": "x"}, {"text": "y"}], whole=True),
    ]
    await given.relay(Said("m1", [{"text": "one"}]), Brought("a", [{"text": "x"}], last=False))
    for _ in range(2):
        await given.relay(*snapshot, snapshot[1])
    assert await given.said() == ["one", "two"]
    assert await given.artifacts() == {"a": ["x", "y"]}
    version = (await given.stage.get(given.task_id)).version
    await given.relay(*snapshot)
    assert (await given.stage.get(given.task_id)).version == version


async def test_an_artifact_that_is_another_now_is_replaced(given: Delegated) -> None:
    await given.attach()
    await given.relay(Brought("a", [{"text": "old"}]))
    await given.relay(Brought("a", [{"text": "new"}, {"text": "er"}], whole=True))
    await given.relay(Brought("b", [{"text": "begins with a chunk"}], append=True))
    assert await given.artifacts() == {"a": ["new", "er"], "b": ["begins with a chunk"]}


async def test_nobody_without_the_lease_writes(given: Delegated) -> None:
    await given.attach()
    await given.stage.platform.write(given.stage.admin, hand_back, given.back)
    late: list[tuple[Any, Any]] = [
        (relay, Relay(*given.key, [Said("m", [{"text": "late"}])])),
        (d.sending, d.Sending(*given.key, 2)),
        (d.attached, d.Attached(*given.key, "other", None)),
        (ask, Ask(*given.key, "q", [{"text": "?"}], InputKind.INPUT, 1.0)),
        (finish, Finish(*given.key, Ending.COMPLETE)),
    ]
    for command, argument in late:
        with pytest.raises(Conflict):
            await given.do(command, argument)
    assert await given.said() == []
    assert (await given.stage.state(given.task_id), await given.state()) == (TaskState.READY, "active")


async def test_a_question_parks_the_task_and_its_answer_brings_it_back(given: Delegated) -> None:
    await given.attach()
    await given.ask()
    task = await given.stage.get(given.task_id)
    assert (task.state, task.held) == (TaskState.INPUT_REQUIRED, False)
    assert (given.row.state, given.row.asked) == (S.ASKED, ["q@1"])
    await given.stage.answer(given.task_id)
    await given.claim()
    assert (given.row.state, given.row.asked, given.row.attempt) == (S.ASKED, ["q@1"], 2)
    await given.attach(9)
    assert (given.row.state, given.row.sent_n) == (S.ACTIVE, 9)
    await given.ask("q@2")
    assert given.row.asked == ["q@1", "q@2"]


@pytest.mark.parametrize(
    ("how", "state"),
    [
        (Ending.COMPLETE, TaskState.COMPLETED),
        (Ending.FAIL, TaskState.FAILED),
        (Ending.REFUSE, TaskState.REJECTED),
        (Ending.CANCEL, TaskState.CANCELLED),
    ],
)
async def test_the_end_of_the_task_ends_the_delegation_with_it(
    given: Delegated, how: Ending, state: TaskState
) -> None:
    await given.attach()
    last = Said("m", [{"text": "last words"}])
    await given.do(finish, Finish(*given.key, how, output=1, message="why", items=[last]))
    assert (await given.stage.state(given.task_id), await given.state()) == (state, "done")
    assert await given.said() == ["last words"]
    with pytest.raises(Conflict):
        await given.relay(last)


async def test_an_attempt_that_fails_for_now_leaves_the_delegation_to_the_next(given: Delegated) -> None:
    await given.attach()
    command = Finish(*given.key, Ending.FAIL, None, category="flaky", message="away", recoverable=True)
    await given.do(finish, command)
    assert (await given.stage.state(given.task_id), await given.state()) == (TaskState.PENDING, "active")
    await given.stage.later(6)
    await given.claim()
    assert (given.row.remote_task_id, given.row.attempt) == ("remote-1", 2)


async def test_a_new_run_of_an_ended_task_is_a_new_delegation(given: Delegated) -> None:
    first = given.row
    await given.attach()
    lost = Finish(*given.key, Ending.FAIL, S.LOST, message="nobody knows")
    await given.do(finish, lost)
    assert await given.state() == "lost"
    made = await given.stage.platform.write(given.stage.admin, retry, RetryTask(given.task_id))
    assert not made.is_new
    await given.claim()
    assert given.row.id != first.id
    assert (given.row.state, given.row.remote_task_id) == (S.UNSENT, None)


async def test_a_lease_that_nobody_renews_is_given_back_before_it_costs_a_retry(given: Delegated) -> None:
    platform, stage = given.stage.platform, given.stage
    assert await platform.read(HUB, fading, FadingBefore(10)) == []
    stage.clock.advance(11)
    [lost] = await platform.read(HUB, fading, FadingBefore(10))
    assert lost.tenant_id == stage.tenant
    await platform.write(SYSTEM(lost.tenant_id), hand_back, lost.lease)
    task = await stage.get(given.task_id)
    assert (task.state, task.retry_count) == (TaskState.READY, 0)
    assert task.preferred_agent_id == given.agent.principal_id
    with pytest.raises(Conflict):
        await platform.write(SYSTEM(lost.tenant_id), hand_back, lost.lease)
    # Leases of other agents are not the delegator's to give back.
    ada = await stage.agent()
    await stage.submit()
    await stage.take(ada, lease_seconds=5)
    assert await platform.read(HUB, fading, FadingBefore(10)) == []


async def test_what_nobody_waits_for_is_found_until_it_is_dropped(given: Delegated) -> None:
    platform, stage = given.stage.platform, given.stage
    await given.attach()
    assert await platform.read(HUB, orphaned, None) == []
    await stage.cancel(given.task_id)
    [found] = await platform.read(HUB, orphaned, None)
    assert (found.id, found.remote_task_id) == (given.row.id, "remote-1")
    await platform.write(stage.admin, d.look_again, d.LookAgain(found.id, 15.0))
    assert await platform.read(HUB, orphaned, None) == []
    stage.clock.advance(16)
    assert len(await platform.read(HUB, orphaned, None)) == 1
    await platform.write(stage.admin, d.drop, d.Drop(found.id))
    await platform.write(stage.admin, d.drop, d.Drop(found.id, "too late to say so"))
    assert await given.state() == "done"
    assert await platform.read(HUB, orphaned, None) == []


async def test_what_another_agent_took_over_is_not_waited_for_either(given: Delegated) -> None:
    platform, stage = given.stage.platform, given.stage
    await given.attach()
    await platform.write(stage.admin, hand_back, given.back)
    assert await platform.read(HUB, orphaned, None) == []
    await stage.later(61)  # nobody keeps it for the remote agent any longer
    await stage.take(await stage.agent())
    assert [found.id for found in await platform.read(HUB, orphaned, None)] == [given.row.id]


async def test_an_open_question_is_looked_at_and_taken_up_when_it_is_settled_elsewhere(
    given: Delegated,
) -> None:
    platform, stage = given.stage.platform, given.stage
    await given.attach()
    await given.ask()
    assert await platform.read(HUB, waiting, None) == []
    stage.clock.advance(16)
    [found] = await platform.read(HUB, waiting, None)
    assert found.id == given.row.id
    again = Resume(given.task_id, given.agent.principal_id)
    await platform.write(SYSTEM(stage.tenant), resume, again)
    task = await stage.get(given.task_id)
    assert (task.state, task.retry_count) == (TaskState.READY, 0)
    assert await platform.read(HUB, waiting, None) == []
    with pytest.raises(Conflict) as refused:
        await stage.answer(given.task_id)
    assert reason(refused.value) == "nothing_asked"
    await given.claim()
    assert given.row.remote_task_id == "remote-1"


def test_final_states_are_left_by_no_move() -> None:
    assert set(d.MOVES) == set(d.Move)
    for arc in d.MOVES.values():
        assert arc.sources <= d.OPEN
    assert set(S) - {S.DONE, S.LOST} == d.OPEN
