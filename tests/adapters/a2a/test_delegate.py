"""Tasks that are given to an agent elsewhere: what is sent, what is taken over, what faults leave of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import pytest
import sqlalchemy as sa

from adapters.a2a.delegate import Delegator
from adapters.a2a.remote.card import CardReader
from adapters.a2a.remote.compose import HOPS
from adapters.a2a.remote.pace import Pace
from adapters.outbound import Outbound
from core.caller import SYSTEM
from core.egress import Allowed
from core.jobs.runner import Clockwork
from core.keyring import Keyring
from core.platform import Platform
from core.push import Seals
from core.remote_agents import ChangeRemote, RegisterRemote
from core.remote_records import RemoteAgent, RemoteAuth, RemoteId, get_remote
from core.remote_verification import change_remote, register_remote
from core.store import tables as t
from core.store.tx import Tx
from core.tasks.cancel import CancelTask, cancel
from core.tasks.input import AnswerInput, answer_input
from core.tasks.messages import AddMessage, add_message
from core.tasks.read import GetTask, view_task
from core.tasks.submit import SubmitTask, submit
from core.tasks.task import Policy, RetryPolicy, Task, TaskView
from core.transitions import FINAL
from schemas.vocabulary import Health, TaskState
from tests.adapters.a2a.fake_agent import FakeAgent
from tests.adapters.a2a.support import ANN, TENANT

T = TypeVar("T")
QUICK = Pace(
    lease=20,
    renew=0.2,
    claim_wait=0.5,
    first_pause=0.02,
    longest_pause=0.1,
    first_poll=0.02,
    longest_poll=0.05,
    patience=5.0,
    stale=0.1,
    ask_again=0.1,
    sweep=0.05,
    probe=0.05,
    longest_probe=0.1,
    grace=1.0,
)
EAGER = Policy(
    retry=RetryPolicy(
        max_attempts=3,
        backoff_strategy="fixed",
        initial_backoff_seconds=0.05,
        retryable_categories=("infrastructure",),
    )
)
DONE = "TASK_STATE_COMPLETED"
ASKS = "TASK_STATE_INPUT_REQUIRED"


async def _install(tx: Tx, _: None) -> None:
    tx.memory(Seals).install(Keyring("s" * 32))


async def _delegations(tx: Tx, task_id: UUID) -> list[tuple[str, int, str | None]]:
    rows = await tx.all(
        sa.select(t.delegation).where(t.delegation.c.task_id == task_id).order_by(t.delegation.c.id)
    )
    return [(row.state, row.attempt, row.error) for row in rows]


@dataclass
class Scene:
    """A platform, an agent elsewhere, and delegators that come and go."""

    platform: Platform
    agent: FakeAgent
    stack: AsyncExitStack
    pace: Pace = QUICK
    remote: RemoteAgent | None = None

    @asynccontextmanager
    async def delegating(self) -> AsyncIterator[Delegator]:
        """A delegator, as long as the block runs; then it stops as a hub does."""
        outbound = Outbound(Allowed.parse("127.0.0.1"))
        delegator = Delegator(self.platform, outbound, pace=self.pace)
        await delegator.start()
        try:
            yield delegator
        finally:
            await delegator.stop()
            await outbound.close()

    async def know(self, **members: Any) -> RemoteAgent:
        """Register the agent."""
        if self.agent.port == 0:
            await self.agent.start()
        outbound = Outbound(Allowed.parse("127.0.0.1"))
        wanted = RegisterRemote(self.agent.url, **members)
        try:
            made = await register_remote(self.platform, SYSTEM(TENANT), CardReader(outbound), wanted)
        finally:
            await outbound.close()
        self.remote = made.result
        return made.result

    async def submit(self, text: str = "work", **wish: Any) -> UUID:
        """A new task of ann's."""
        wish = {"parts": [{"text": text}], "policy": EAGER, **wish}
        return (await self.platform.write(ANN, submit, SubmitTask(text, **wish))).id

    async def view(self, task_id: UUID) -> TaskView:
        """A task with everything."""
        return await self.platform.read(ANN, view_task, GetTask(task_id))

    async def task(self, task_id: UUID) -> Task:
        """A task."""
        return (await self.view(task_id)).task

    async def ended(self, task_id: UUID) -> Task:
        """A task, once it is final."""
        return await self.until(task_id, *FINAL)

    async def until(self, task_id: UUID, *states: TaskState) -> Task:
        """A task, once it is in one of these states."""

        async def there() -> Task | None:
            task = await self.task(task_id)
            assert task.state not in FINAL or task.state in states, task
            return task if task.state in states else None

        return await until(there)

    async def said(self, task_id: UUID) -> list[str]:
        """What the agent side has said in a task."""
        return [m.parts[0]["text"] for m in (await self.view(task_id)).messages if m.role == "agent"]

    async def answer(self, task_id: UUID, text: str) -> None:
        """Ann answers."""
        await self.platform.write(ANN, answer_input, AnswerInput(task_id, [{"text": text}]))

    async def delegations(self, task_id: UUID) -> list[tuple[str, int, str | None]]:
        """State, attempt and error of what was given away of a task."""
        return await self.platform.read(ANN, _delegations, task_id)

    async def health(self) -> Health:
        """How the agent is doing, as far as the hub knows."""
        assert self.remote is not None
        return (await self.platform.read(SYSTEM(TENANT), get_remote, RemoteId(self.remote.id))).health


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """What `look` gives, once it gives something."""
    async with asyncio.timeout(10):
        while not (found := await look()):  # noqa: ASYNC110 - what it looks at wakes nobody
            await asyncio.sleep(0.01)
    return found


@pytest.fixture
async def scene(platform: Platform) -> AsyncIterator[Scene]:
    """A hub with its clockwork, and an agent elsewhere that has not been started."""
    await platform.write(SYSTEM(TENANT), _install, None)
    clockwork = Clockwork(platform)
    await clockwork.start()
    async with AsyncExitStack() as stack:
        agent = FakeAgent()
        stack.push_async_callback(agent.stop)
        yield Scene(platform, agent, stack)
    await clockwork.stop()


async def test_a_task_is_sent_followed_and_taken_over(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit("write a poem", message_metadata={"mood": "sad", "crossdock/x": 1})
        there = await scene.agent.task()
        scene.agent.say(there, "thinking")
        scene.agent.bring(there, "poem", "roses ")
        scene.agent.bring(there, "poem", "are red", append=True)
        scene.agent.move(there, DONE)
        done = await scene.ended(task_id)
    assert (done.state, done.output, done.attempt) == (TaskState.COMPLETED, "roses are red", 1)
    assert await scene.said(task_id) == ["thinking"]
    [poem] = (await scene.view(task_id)).artifacts
    assert (poem.artifact_id, list(poem.parts)) == ("poem", [{"text": "roses "}, {"text": "are red"}])
    [sent] = scene.agent.sent()
    message = sent.params["message"]
    assert (message["role"], message["parts"]) == ("ROLE_USER", [{"text": "write a poem"}])
    assert message["metadata"] == {"mood": "sad", HOPS: 1}
    assert sent.headers["Idempotency-Key"] == message["messageId"]
    assert sent.headers["A2A-Version"] == "1.0"
    assert [state for state, _, _ in await scene.delegations(task_id)] == ["done"]


async def test_tasks_of_one_conversation_share_one_over_there_and_its_name_is_kept_from_them(
    scene: Scene,
) -> None:
    await scene.know()
    async with scene.delegating():
        for n in range(3):
            await scene.submit(context_id="secret name" if n < 2 else "another")
        await scene.agent.task(2)
    names = [call.params["message"]["contextId"] for call in scene.agent.sent()]
    assert len(set(names)) == 2
    assert "secret name" not in str(scene.agent.calls)


async def test_an_agent_that_names_its_conversations_itself_may(scene: Scene) -> None:
    scene.agent.names_contexts = True
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        scene.agent.move(await scene.agent.task(), DONE)
        await scene.ended(task_id)
    assert ["contextId" in call.params["message"] for call in scene.agent.sent()] == [True, False]


async def test_a_task_that_was_born_without_a_message_is_told_in_parts(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        await scene.submit("add", parts=None, input={"a": 1, "b": 2}, description="Add these.")
        await scene.agent.task()
    told = scene.agent.sent()[0].params["message"]["parts"]
    assert told == [{"text": "Add these."}, {"data": {"a": 1, "b": 2}, "mediaType": "application/json"}]


async def test_a_plain_message_is_the_whole_answer(scene: Scene) -> None:
    said = {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "42"}]}
    scene.agent.answers = lambda params: {"message": said}
    await scene.know()
    async with scene.delegating():
        done = await scene.ended(await scene.submit())
    assert (done.state, done.output) == (TaskState.COMPLETED, "42")
    [message] = [m for m in (await scene.view(done.id)).messages if m.role == "agent"]
    assert message.final


@pytest.mark.parametrize(
    ("state", "ours"),
    [
        ("TASK_STATE_FAILED", TaskState.FAILED),
        ("TASK_STATE_REJECTED", TaskState.REJECTED),
        ("TASK_STATE_CANCELED", TaskState.CANCELLED),
    ],
)
async def test_our_task_ends_as_the_remote_one_did_with_its_reason(
    scene: Scene, state: str, ours: TaskState
) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        scene.agent.say(await scene.agent.task(), "for a reason", state=state)
        done = await scene.ended(task_id)
    assert done.state is ours
    if ours is TaskState.FAILED:
        assert (done.error or {})["message"] == "for a reason"
        assert done.retry_count == 0
    if ours is not TaskState.CANCELLED:
        assert done.status_message == [{"text": "for a reason"}]


async def test_a_stream_that_breaks_off_is_taken_up_and_nothing_comes_twice(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        for n in range(3):
            scene.agent.say(there, f"step {n}")
            scene.agent.bring(there, "a", f"{n} ", append=n > 0, last=False)
            await until(partial(_has_said, scene, task_id, n + 1))
            scene.agent.cut(there)
        scene.agent.say(there, "between streams")
        scene.agent.bring(there, "a", "end", append=True)
        scene.agent.move(there, DONE)
        done = await scene.ended(task_id)
    assert done.output == "0 1 2 end"
    assert await scene.said(task_id) == ["step 0", "step 1", "step 2", "between streams"]
    assert len(scene.agent.sent()) == 1


async def _has_said(scene: Scene, task_id: UUID, count: int) -> bool:
    return len(await scene.said(task_id)) >= count


async def test_an_agent_that_cannot_stream_is_looked_at(scene: Scene) -> None:
    scene.agent.streaming = False
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        scene.agent.say(there, "one")
        await until(lambda: _has_said(scene, task_id, 1))
        scene.agent.say(there, "two")
        scene.agent.bring(there, "a", "result")
        scene.agent.move(there, DONE)
        done = await scene.ended(task_id)
    assert done.output == "result"
    assert await scene.said(task_id) == ["one", "two"]
    methods = {call.method for call in scene.agent.calls}
    assert methods == {"SendMessage", "GetTask"}
    assert scene.agent.sent()[0].params["configuration"]["returnImmediately"] is True


async def test_a_lost_answer_is_sent_again_where_repeats_are_recognised(scene: Scene) -> None:
    scene.agent.idempotent = True
    scene.agent.faults["SendStreamingMessage"] = ["mute", "deaf"]
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        await scene.agent.until(lambda: len(scene.agent.sent()) == 3)
        scene.agent.move(await scene.agent.task(), DONE)
        done = await scene.ended(task_id)
    assert (done.state, done.attempt) == (TaskState.COMPLETED, 1)
    assert len(scene.agent.tasks) == 1
    assert len({call.headers["Idempotency-Key"] for call in scene.agent.sent()}) == 1
    assert len({str(call.params) for call in scene.agent.sent()}) == 1


async def test_elsewhere_what_was_sent_is_looked_for_before_anything_else(scene: Scene) -> None:
    scene.agent.faults["SendStreamingMessage"] = ["mute"]
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        await scene.agent.until(lambda: any(c.method == "SubscribeToTask" for c in scene.agent.calls))
        scene.agent.move(there, DONE)
        done = await scene.ended(task_id)
    assert (done.state, done.attempt) == (TaskState.COMPLETED, 1)
    assert len(scene.agent.sent()) == 1


@pytest.mark.parametrize(("fault", "lists"), [("mute", False), ("deaf", True)])
async def test_what_cannot_be_known_is_said_and_not_sent_again(scene: Scene, fault: str, lists: bool) -> None:
    scene.agent.lists = lists
    scene.agent.faults["SendStreamingMessage"] = [fault]
    await scene.know()
    async with scene.delegating():
        done = await scene.ended(await scene.submit())
    assert done.state is TaskState.FAILED
    assert done.error is not None
    assert done.error["category"] == "delegation_unknown"
    assert "it was not sent again" in done.error["message"]
    assert len(scene.agent.sent()) == 1
    assert [state for state, _, _ in await scene.delegations(done.id)] == ["lost"]


async def test_an_agent_that_is_away_is_waited_for_as_the_retry_policy_says(scene: Scene) -> None:
    await scene.know()
    await scene.agent.stop()
    async with scene.delegating():
        task_id = await scene.submit()
        await until(lambda: _is(scene, Health.UNREACHABLE))
        assert (await scene.task(task_id)).state is not TaskState.FAILED
        await scene.agent.start()
        scene.agent.move(await scene.agent.task(), DONE)
        done = await scene.ended(task_id)
        await until(lambda: _is(scene, Health.OK))
    assert done.state is TaskState.COMPLETED
    assert len(scene.agent.sent()) == 1
    assert [state for state, _, _ in await scene.delegations(task_id)] == ["done"]


async def _is(scene: Scene, health: Health) -> bool:
    return await scene.health() is health


async def test_an_agent_that_goes_away_in_mid_task_is_waited_for_in_the_same_attempt(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        await until(lambda: _state(scene, task_id, "active"))
        await scene.agent.stop()
        await until(lambda: _is(scene, Health.UNREACHABLE))
        scene.agent.bring(there, "a", "done meanwhile")
        scene.agent.move(there, DONE)
        await scene.agent.start()
        done = await scene.ended(task_id)
    assert (done.output, done.attempt) == ("done meanwhile", 1)


async def _state(scene: Scene, task_id: UUID, state: str) -> bool:
    found = await scene.delegations(task_id)
    return bool(found) and found[-1][0] == state


async def test_one_that_stays_away_fails_the_attempt_and_the_next_finds_its_task_again(scene: Scene) -> None:
    scene.pace = replace(QUICK, patience=0.2)
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        await until(lambda: _state(scene, task_id, "active"))
        await scene.agent.stop()
        await until(lambda: _retried(scene, task_id))
        await scene.agent.start()
        scene.agent.move(there, DONE)
        done = await scene.ended(task_id)
    assert (done.state, done.attempt, done.retry_count) == (TaskState.COMPLETED, 2, 1)
    assert len(scene.agent.sent()) == 1
    assert await scene.delegations(task_id) == [("done", 2, None)]


async def _retried(scene: Scene, task_id: UUID) -> bool:
    return (await scene.task(task_id)).retry_count == 1


async def test_a_task_that_the_agent_forgot_is_told_of_and_not_sent_again(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        await until(lambda: _state(scene, task_id, "active"))
        del scene.agent.tasks[there]
        scene.agent.cut(there)
        done = await scene.ended(task_id)
    assert (done.error or {})["category"] == "remote_lost"
    assert len(scene.agent.sent()) == 1


async def test_a_question_waits_without_a_holder_and_its_answer_goes_to_the_same_task(scene: Scene) -> None:
    await scene.know(max_concurrent=1)
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        asked = {"crossdock/input": {"schema": {"type": "string", "maxLength": 4}}}
        scene.agent.say(there, "which?", state=ASKS, metadata=asked)
        await scene.until(task_id, TaskState.INPUT_REQUIRED)
        view = await scene.view(task_id)
        assert (view.task.held, view.inputs[0].schema) == (False, {"type": "string", "maxLength": 4})
        # The one place of the agent is free for other work meanwhile.
        other = await scene.submit("other")
        scene.agent.move(await scene.agent.task(1), DONE)
        await scene.ended(other)
        await scene.answer(task_id, "this")
        await scene.agent.until(lambda: len(scene.agent.sent()) == 3)
        scene.agent.bring(there, "a", "chosen")
        scene.agent.move(there, DONE)
        done = await scene.ended(task_id)
    assert (done.output, done.attempt, done.retry_count) == ("chosen", 2, 0)
    assert await scene.said(task_id) == ["which?"]
    answer = scene.agent.sent()[2].params["message"]
    assert (answer["taskId"], answer["parts"]) == (there, [{"text": "this"}])


async def test_an_answer_that_is_refused_is_asked_for_again_with_the_reason(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        scene.agent.say(there, "which?", state=ASKS)
        await scene.until(task_id, TaskState.INPUT_REQUIRED)
        scene.agent.faults["SendMessage"] = [{"code": -32602, "message": "not one of the choices"}]
        await scene.answer(task_id, "nonsense")
        await until(lambda: _asked_again(scene, task_id))
        words = [part["text"] for part in (await scene.view(task_id)).inputs[0].parts]
        assert words == ["The answer was not accepted: not one of the choices", "which?"]
        await scene.answer(task_id, "this")
        await scene.agent.until(lambda: len(scene.agent.sent()) == 3)
        scene.agent.move(there, DONE)
        await scene.ended(task_id)


async def _asked_again(scene: Scene, task_id: UUID) -> bool:
    view = await scene.view(task_id)
    return view.task.state is TaskState.INPUT_REQUIRED and view.task.attempt == 2


async def test_an_answer_whose_outcome_is_unknown_is_not_given_twice(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        scene.agent.say(there, "which?", state=ASKS)
        await scene.until(task_id, TaskState.INPUT_REQUIRED)
        scene.agent.faults["SendMessage"] = ["mute"]
        await scene.answer(task_id, "this")
        await scene.agent.until(lambda: len(scene.agent.sent()) == 2)
        scene.agent.move(there, DONE)
        await scene.ended(task_id)
    assert len(scene.agent.sent()) == 2


async def test_an_answer_that_never_arrived_is_given_again(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        scene.agent.say(there, "which?", state=ASKS)
        await scene.until(task_id, TaskState.INPUT_REQUIRED)
        scene.agent.faults["SendMessage"] = ["deaf"]
        await scene.answer(task_id, "this")
        await scene.agent.until(lambda: len(scene.agent.sent()) == 3)
        scene.agent.move(there, DONE)
        await scene.ended(task_id)
    ids = {call.params["message"]["messageId"] for call in scene.agent.sent()[1:]}
    assert len(ids) == 1


async def test_a_remote_agent_that_goes_on_without_our_answer_takes_our_task_along(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        scene.agent.say(there, "sign in, please", state="TASK_STATE_AUTH_REQUIRED")
        await scene.until(task_id, TaskState.AUTH_REQUIRED)
        scene.agent.say(there, "thank you")
        scene.agent.move(there, DONE)
        done = await scene.ended(task_id)
    assert (done.state, done.retry_count) == (TaskState.COMPLETED, 0)
    assert len(scene.agent.sent()) == 1
    assert "thank you" in await scene.said(task_id)


async def test_what_is_said_meanwhile_reaches_the_remote_task_once(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        await until(lambda: _state(scene, task_id, "active"))
        await scene.platform.write(
            ANN, add_message, AddMessage(task_id, [{"text": "and hurry"}], role="user")
        )
        await scene.agent.until(lambda: len(scene.agent.sent()) == 2)
        scene.agent.say(there, "I do")
        await until(lambda: _has_said(scene, task_id, 1))
        scene.agent.move(there, DONE)
        await scene.ended(task_id)
    assert [call.params["message"]["parts"] for call in scene.agent.sent()] == [
        [{"text": "work"}],
        [{"text": "and hurry"}],
    ]


async def test_a_cancellation_reaches_the_remote_task(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        await until(lambda: _state(scene, task_id, "active"))
        await scene.platform.write(ANN, cancel, CancelTask(task_id))
        await scene.agent.until(lambda: any(c.method == "CancelTask" for c in scene.agent.calls))
        await until(lambda: _state(scene, task_id, "done"))
    assert scene.agent.tasks[there]["status"]["state"] == "TASK_STATE_CANCELED"


async def test_with_grace_the_remote_agent_is_asked_and_its_end_is_ours(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        await scene.agent.task()
        await until(lambda: _state(scene, task_id, "active"))
        await scene.platform.write(ANN, cancel, CancelTask(task_id, grace_seconds=30))
        done = await scene.ended(task_id)
    assert done.state is TaskState.CANCELLED


async def test_a_cancellation_that_cannot_be_told_now_is_told_later(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        await until(lambda: _state(scene, task_id, "active"))
    await scene.platform.write(ANN, cancel, CancelTask(task_id))
    async with scene.delegating():
        await until(lambda: _state(scene, task_id, "done"))
    assert scene.agent.tasks[there]["status"]["state"] == "TASK_STATE_CANCELED"


async def test_a_delegator_that_stops_hands_back_and_the_next_goes_on(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        task_id = await scene.submit()
        there = await scene.agent.task()
        await until(lambda: _state(scene, task_id, "active"))
    handed_back = await scene.task(task_id)
    assert (handed_back.state, handed_back.retry_count) == (TaskState.READY, 0)
    scene.agent.bring(there, "a", "meanwhile")
    async with scene.delegating():
        scene.agent.move(there, DONE)
        done = await scene.ended(task_id)
    assert (done.output, done.attempt) == ("meanwhile", 2)
    assert len(scene.agent.sent()) == 1


async def test_what_a_killed_delegator_held_is_taken_up_before_it_costs_a_retry(scene: Scene) -> None:
    scene.pace = replace(QUICK, lease=2, fading=1.2)
    await scene.know()
    outbound = Outbound(Allowed.parse("127.0.0.1"))
    before = asyncio.all_tasks()
    await Delegator(scene.platform, outbound, pace=scene.pace).start()
    task_id = await scene.submit()
    there = await scene.agent.task()
    await until(lambda: _state(scene, task_id, "active"))
    killed = [task for task in asyncio.all_tasks() - before if _is_delegators(task)]
    for task in killed:
        task.cancel()
    await asyncio.gather(*killed, return_exceptions=True)
    await outbound.close()
    assert (await scene.task(task_id)).state is TaskState.IN_PROGRESS
    async with scene.delegating():
        await until(lambda: _attempt(scene, task_id, 2))
        scene.agent.move(there, DONE)
        done = await scene.ended(task_id)
    assert (done.state, done.attempt, done.retry_count) == (TaskState.COMPLETED, 2, 0)
    assert len(scene.agent.sent()) == 1


def _is_delegators(task: "asyncio.Task[Any]") -> bool:
    return task.get_name().startswith(("errand ", "claims for ", "_look", "free_", "cancel_", "look_at_"))


async def _attempt(scene: Scene, task_id: UUID, attempt: int) -> bool:
    return (await scene.task(task_id)).attempt == attempt


async def test_two_replicas_send_each_task_once(scene: Scene) -> None:
    await scene.know(max_concurrent=20)
    async with scene.delegating(), scene.delegating():
        tasks = [await scene.submit(f"task {n}") for n in range(12)]
        await scene.agent.task(11)
        for there in list(scene.agent.tasks):
            scene.agent.move(there, DONE)
        for task_id in tasks:
            assert (await scene.ended(task_id)).attempt == 1
    assert len(scene.agent.sent()) == 12


async def test_no_more_is_claimed_than_the_agent_may_hold(scene: Scene) -> None:
    await scene.know(max_concurrent=2)
    async with scene.delegating():
        tasks = [await scene.submit(f"task {n}") for n in range(3)]
        await scene.agent.task(1)
        await until(lambda: _state(scene, tasks[1], "active"))
        assert len(scene.agent.tasks) == 2
        scene.agent.move(await scene.agent.task(0), DONE)
        await scene.agent.task(2)


async def test_an_agent_with_tags_gets_only_what_asks_for_some(scene: Scene) -> None:
    await scene.know(routing_tags=["weather"])
    async with scene.delegating():
        plain = await scene.submit("anything")
        tagged = await scene.submit("rain?", required_tags=["weather"])
        scene.agent.move(await scene.agent.task(), DONE)
        await scene.ended(tagged)
        assert (await scene.task(plain)).state is TaskState.READY
    assert [call.params["message"]["parts"] for call in scene.agent.sent()] == [[{"text": "rain?"}]]


async def test_a_refused_credential_stops_the_claims_until_there_is_another(scene: Scene) -> None:
    scene.agent.token = "right"
    remote = await scene.know(auth=RemoteAuth({"kind": "bearer"}, "wrong"))
    assert remote.health is Health.NEEDS_REAUTH
    async with scene.delegating():
        task_id = await scene.submit()
        outbound = Outbound(Allowed.parse("127.0.0.1"))
        change = ChangeRemote(remote.id, auth=RemoteAuth({"kind": "bearer"}, "right"))
        await change_remote(scene.platform, SYSTEM(TENANT), CardReader(outbound), change)
        await outbound.close()
        scene.agent.move(await scene.agent.task(), DONE)
        done = await scene.ended(task_id)
    assert (done.state, done.attempt) == (TaskState.COMPLETED, 1)


async def test_work_that_has_come_through_eight_hubs_is_not_handed_on(scene: Scene) -> None:
    await scene.know()
    async with scene.delegating():
        seven = await scene.submit("seven", message_metadata={HOPS: 7})
        scene.agent.move(await scene.agent.task(), DONE)
        await scene.ended(seven)
        eight = await scene.ended(await scene.submit("eight", message_metadata={HOPS: 8}))
    assert eight.state is TaskState.REJECTED
    assert [call.params["message"]["metadata"][HOPS] for call in scene.agent.sent()] == [8]


async def test_an_agent_that_answers_with_nonsense_is_degraded_and_fails_the_task(scene: Scene) -> None:
    scene.agent.answers = lambda params: {"task": {"id": "x", "status": {"state": "TASK_STATE_DANCING"}}}
    await scene.know()
    async with scene.delegating():
        done = await scene.ended(await scene.submit())
        assert (done.error or {})["category"] == "bad_answer"
        await until(lambda: _is(scene, Health.DEGRADED))
