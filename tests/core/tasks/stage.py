"""People and agents around one platform, so that a test reads as what they do to one another."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from core import agents, events
from core.caller import Caller
from core.errors import HubError
from core.jobs.runner import SWEEPS, Clockwork
from core.platform import Platform
from core.store import EVENTS
from core.store import tables as t
from core.store.tx import Tx
from core.tasks import cancel, claim, input, read, report, submit
from core.tasks.task import Claimed, Claims, Policy, RetryPolicy, Task
from schemas.vocabulary import OnDependencyFailure, Scope, TaskState
from tests.fakes import FakeClock
from tests.properties import law

SECONDS = 10.0
"""Longer than anything here may take; a wait that reaches it has failed."""

EAGER = Policy(retry=RetryPolicy(max_attempts=3, backoff_strategy="fixed", retryable_categories=("flaky",)))
"""Retries what fails as `flaky`, after 5 seconds, twice."""


class Stage:
    """One tenant with an operator and a submitter; agents come as they are needed."""

    def __init__(self, platform: Platform, clock: FakeClock) -> None:
        self.clock = clock
        self.use(platform)
        self.tenant = uuid4()
        self.admin = self.caller(Scope.ADMIN, "system")
        self.user = self.caller(Scope.AGENT, "user")

    def use(self, platform: Platform) -> None:
        """Go on with another platform on the same database."""
        self.platform = platform
        self.jobs = Clockwork(platform)

    def caller(self, scope: Scope, kind: str, principal: UUID | None = None) -> Caller:
        """Somebody of this tenant."""
        principal = principal or uuid4()
        return Caller(principal, self.tenant, scope, kind, str(principal))

    async def agent(self, name: str = "ada", *, by: Caller | None = None, **offer: Any) -> Caller:
        """A registered agent, as the caller that its key would make."""
        made = await self.platform.write(
            by or self.admin, agents.register, agents.RegisterAgent(name, **offer)
        )
        return self.caller(Scope.AGENT, "agent", made.id)

    async def submit(self, title: str = "work", *, by: Caller | None = None, **wish: Any) -> Task:
        return await self.platform.write(by or self.user, submit.submit, submit.SubmitTask(title, **wish))

    async def claim(self, agent: Caller, *, by: Caller | None = None, **wish: Any) -> Claims:
        """A claim that does not wait."""
        command = claim.ClaimTasks(agent.principal_id, **wish)
        return await self.platform.write(by or agent, claim.claim, command)

    async def take(self, agent: Caller, *, start: bool = True, **wish: Any) -> Claimed:
        """The one task that the agent gets, which must be there."""
        claims = await self.claim(agent, start=start, **wish)
        assert len(claims.items) == 1
        return claims.items[0]

    async def started(self, agent: Caller | None = None, **wish: Any) -> tuple[Caller, Task, UUID]:
        """A submitted, claimed and started task: its agent, itself, its lease."""
        agent = agent or await self.agent()
        task = await self.submit(**wish)
        held = await self.take(agent)
        assert held.task.id == task.id
        return agent, held.task, held.lease_id

    async def start(self, agent: Caller, task_id: UUID, lease_id: UUID | None) -> Task:
        return await self.platform.write(agent, report.start, report.StartTask(task_id, lease_id))

    async def complete(
        self, agent: Caller, task_id: UUID, lease_id: UUID | None, output: Any = None, **more: Any
    ) -> Task:
        command = report.CompleteTask(task_id, output, lease_id, **more)
        return await self.platform.write(agent, report.complete, command)

    async def fail(
        self, agent: Caller, task_id: UUID, lease_id: UUID | None, category: str = "broken", **more: Any
    ) -> Task:
        error = report.ReportedError(category, "it broke", **more)
        return await self.platform.write(agent, report.fail, report.FailTask(task_id, error, lease_id))

    async def refuse(self, agent: Caller, task_id: UUID, lease_id: UUID, *, requeue: bool = False) -> Task:
        command = report.RefuseTask(task_id, lease_id, "not mine", requeue)
        return await self.platform.write(agent, report.refuse, command)

    async def ask(self, agent: Caller, task_id: UUID, lease_id: UUID, **more: Any) -> input.InputAsked:
        command = input.RequestInput(task_id, lease_id, [{"text": "which?"}], **more)
        return await self.platform.write(agent, input.request_input, command)

    async def answer(self, task_id: UUID, *, by: Caller | None = None, **more: Any) -> Task:
        command = input.AnswerInput(task_id, **({"parts": [{"text": "this"}]} | more))
        return await self.platform.write(by or self.user, input.answer_input, command)

    async def cancel(self, task_id: UUID, *, by: Caller | None = None, **more: Any) -> Task:
        command = cancel.CancelTask(task_id, **more)
        return await self.platform.write(by or self.user, cancel.cancel, command)

    async def get(self, task_id: UUID, *, by: Caller | None = None) -> Task:
        return await self.platform.read(by or self.admin, read.get_task, read.GetTask(task_id))

    async def state(self, task_id: UUID) -> TaskState:
        return (await self.get(task_id)).state

    async def sweep(self) -> None:
        """Everything that is due now is done, and then nothing is due."""
        for _ in range(20):
            if not sum([await self.jobs.sweep(sweep) for sweep in SWEEPS if sweep.name != "silence"]):
                return
        raise AssertionError("something stays due for ever")

    async def later(self, seconds: float) -> None:
        """Time passes, and the hub does what falls due."""
        self.clock.advance(seconds)
        await self.sweep()

    async def numbered(self) -> law.Snapshot:
        """The database once every event has its position."""
        async with asyncio.timeout(SECONDS):
            with self.platform.hints.listen([EVENTS]) as woken:
                while (snapshot := await law.read(self.platform.store)).outbox:
                    await woken.wait(0.05)
        return snapshot

    async def waiters(self, topic: str, n: int = 1) -> None:
        """So many wait on a topic now."""
        async with asyncio.timeout(SECONDS):
            while self.platform.hints.waiting(topic) < n:  # noqa: ASYNC110 - nobody tells who waits
                await asyncio.sleep(0.001)

    async def told(self, task_id: UUID) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """What the log says of a task, in order."""
        await self.numbered()
        query = events.ReadEvents(events.EventFilter(task_id=task_id), after=0, limit=500)
        page = await self.platform.read(self.admin, events.read_events, query)
        return [(event.kind, event.data) for event in page.items]

    async def moves(self, task_id: UUID) -> list[str]:
        """The names of a task's moves, in order."""
        return [data["move"] for kind, data in await self.told(task_id) if kind == "task.state_changed"]

    async def outcomes(self, task_id: UUID) -> list[str | None]:
        """How a task's attempts ended, in order."""

        async def query(tx: Tx, wanted: UUID) -> list[str | None]:
            rows = await tx.all(
                sa.select(t.attempt.c.outcome).where(t.attempt.c.task_id == wanted).order_by(t.attempt.c.n)
            )
            return [row.outcome for row in rows]

        return await self.platform.read(self.admin, query, task_id)


def on_face(caller: Caller, face: str) -> Caller:
    """The same principal through another door."""
    return replace(caller, face=face)


def reason(error: HubError) -> Any:
    """The machine-readable reason of a refusal."""
    return error.details.get("reason_code")


def waits_for(*tasks: Task, then: OnDependencyFailure = OnDependencyFailure.WAIT) -> dict[str, Any]:
    """The wishes of a task that depends on others."""
    return {"depends_on": [task.id for task in tasks], "policy": Policy(on_dependency_failure=then)}
