"""Random commands against a real database: model, tables and log agree after every step."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from core.caller import Caller
from core.errors import HubError
from core.platform import Platform
from core.store import open_store
from core.store.tables import METADATA
from core.tasks import cancel, claim, input, lease, report, review, submit
from core.tasks.task import Policy, RetryPolicy, Task
from core.transitions import FINAL
from schemas.vocabulary import OnDependencyFailure as Wish
from schemas.vocabulary import Priority
from tests.conftest import POSTGRES
from tests.core.tasks.stage import Stage
from tests.fakes import FakeClock
from tests.properties import law
from tests.properties.model import Lease, Model, Refused, Work

EFFORT = float(os.environ.get("CROSSDOCK_PROPERTY_EFFORT", "1"))
"""Multiplies the number of sequences; 1 keeps `make test` short."""
PLACES = [1, 1, 2]
SCHEMA = {"const": "ok"}
SHOWN = (
    *("state", "status_at", "status_message", "left_queue", "output", "error", "attributes", "context_id"),
    *(
        "agent_id",
        "worker_id",
        "attempt",
        "cancel_requested_at",
        "finished_at",
        "retry_count",
        "rework_count",
    ),
)
"""What the faces show of a task."""


class Machine(RuleBasedStateMachine):
    """One tenant, three agents of which one may hold two tasks, and a clock that moves when told to."""

    fresh_database: ClassVar[Callable[[], str]]
    tasks = Bundle("tasks")
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.url = type(self).fresh_database()
        self.clock = FakeClock()
        self.began = self.clock.now()
        self.model = Model(PLACES)
        self.ids: list[UUID] = []
        self.lease_ids: dict[Lease, UUID] = {}
        self.keyed: list[tuple[Caller, Any, Any, Any]] = []
        self.position = 0
        self.views: dict[tuple[UUID, int], Any] = {}
        self.woken: list[str] = []

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    @initialize()
    def begin(self) -> None:
        self.run(self._open())
        self.stage = Stage(self.platform, self.clock)
        names = [(f"a{n}", most) for n, most in enumerate(PLACES)]
        self.agents = [self.run(self.stage.agent(name, max_concurrent=most)) for name, most in names]
        self._agree()

    async def _open(self) -> None:
        self.platform = Platform(open_store(self.url, clock=self.clock))
        await self.platform.start()
        publish = self.platform.hints.publish

        def heard(topic: str, count: int = 1) -> int:
            self.woken.append(topic)
            return publish(topic, count)

        self.platform.hints.publish = heard  # type: ignore[method-assign]

    def teardown(self) -> None:
        if hasattr(self, "platform"):
            self.run(self.platform.stop())
        self.runner.close()

    # What a rule does: the model decides, the hub must do the same, and everything must agree.

    def _both(self, expected: Callable[[], Any], actual: Coroutine[Any, Any, Any]) -> Any:
        self.woken.clear()
        try:
            expected()
        except Refused:
            with pytest.raises(HubError):
                self.run(actual)
            self._agree(nothing_new=True)
            return None
        result = self.run(actual)
        self._agree()
        return result

    def _write(
        self, caller: Caller, command: Any, argument: Any, key: bool = False
    ) -> Coroutine[Any, Any, Any]:
        async def keyed() -> Any:
            named = replace(caller, replay_key=f"key-{len(self.keyed)}")
            result = await self.platform.write(named, command, argument)
            self.keyed.append((named, command, argument, result))
            return result

        return keyed() if key else self.platform.write(caller, command, argument)

    def _executes(
        self, by: Lease, expected: Callable[[], Any], command: Any, argument: Any, key: bool = False
    ) -> None:
        self._both(expected, self._write(self.agents[by.agent], command, argument, key))

    def _agree(self, *, nothing_new: bool = False) -> None:
        snapshot: law.Snapshot = self.run(self.stage.numbered())
        offended = law.offences(snapshot)
        assert not offended, law.verdict(offended)
        position = len(snapshot.rows["event"])
        if nothing_new:
            assert position == self.position, "a refused command left an event"
            assert not [topic for topic in self.woken if topic.startswith(("route:", "task:", "approval:"))]
        self.position = position
        self._unseen_changes(snapshot)
        rows = {row["id"]: row for row in snapshot.rows["task"]}
        assert set(rows) == set(self.ids)
        for work, task_id in zip(self.model.tasks, self.ids, strict=True):
            row = rows[task_id]
            lease_id = None if work.lease is None else self.lease_ids[work.lease]
            found = (row["state"], row["attempt"], row["lease_id"], row["held"], row["waiting"])
            assert found == (work.state, len(work.leases), lease_id, work.held, len(work.waiting)), work
            assert (row["retry_count"], row["rework_count"]) == (work.retries, work.reworks), work
            for name, at in (("timeout_at", work.timeout_at), ("cancel_due_at", work.cancel_due)):
                assert row[name] == (None if at is None else self._time(at)), (name, work)
            if work.state not in FINAL:
                assert row["ready_at"] == self._time(work.ready_at), work

    def _unseen_changes(self, snapshot: law.Snapshot) -> None:
        """Whoever keeps a view of a task by its version must never show an old one."""
        inputs, pending = snapshot.of_task("input_request"), snapshot.of_task("approval")
        for row in snapshot.rows["task"]:
            open_inputs = [i["id"] for i in inputs.get(row["id"], ()) if i["status"] == "open"]
            to_decide = [a["id"] for a in pending.get(row["id"], ()) if a["status"] == "pending"]
            view = ({name: row[name] for name in SHOWN}, open_inputs, to_decide)
            known = self.views.setdefault((row["id"], row["version"]), view)
            assert view == known, "a task changed its view and not its version"

    def _time(self, at: float) -> Any:
        return self.began + timedelta(seconds=at)

    def _id(self, work: Work) -> UUID:
        return self.ids[work.n]

    # Submitting

    @rule(
        target=tasks,
        wish=st.sampled_from(Wish),
        priority=st.sampled_from(Priority),
        after=st.sets(st.integers(0, 30), max_size=2),
        delay=st.sampled_from([0, 0, 0, 20]),
        approval=st.sampled_from([False, False, False, True]),
        most=st.integers(1, 3),
        timeout=st.sampled_from([None, None, 40]),
        strict=st.booleans(),
    )
    def submit(
        self,
        wish: Wish,
        priority: Priority,
        after: set[int],
        delay: int,
        approval: bool,
        most: int,
        timeout: int | None,
        strict: bool,
    ) -> Any:
        model = self.model
        depends_on = {n for n in after if n < len(model.tasks)}
        ready_at = model.now + delay
        work = Work(len(model.tasks), wish, priority, most, timeout, strict, ready_at, approval)
        policy = Policy(
            retry=RetryPolicy(most, "fixed", 5.0, ("flaky", "infrastructure")),
            on_dependency_failure=wish,
            requires_approval=approval,
            output_schema=SCHEMA if strict else None,
            timeout_seconds=timeout,
            max_rework=2,
        )
        command = submit.SubmitTask(
            f"task {work.n}",
            priority=priority,
            policy=policy,
            depends_on=[self.ids[n] for n in sorted(depends_on)],
            ready_at=self._time(ready_at),
        )

        async def submitted() -> Task:
            task: Task = await self._write(self.stage.user, submit.submit, command, key=True)
            self.ids.append(task.id)
            return task

        task = self._both(lambda: model.submit(work, depends_on), submitted())
        return multiple() if task is None else work

    # Executing

    @rule(
        target=held,
        agent=st.integers(0, len(PLACES) - 1),
        start=st.booleans(),
        seconds=st.sampled_from([10, 60, 600]),
    )
    def claim(self, agent: int, start: bool, seconds: int) -> Any:
        expected: list[Work] = []
        command = claim.ClaimTasks(self.agents[agent].principal_id, start=start, lease_seconds=seconds)

        async def claimed() -> None:
            claims = await self._write(self.agents[agent], claim.claim, command)
            assert [h.task.id for h in claims.items] == [self._id(work) for work in expected]
            for work, got in zip(expected, claims.items, strict=True):
                assert work.lease is not None
                assert self.lease_ids.setdefault(work.lease, got.lease_id) == got.lease_id

        self._both(lambda: expected.extend(self.model.claim(agent, start, seconds)), claimed())
        return multiple(*((work, work.lease) for work in expected))

    @rule(which=held)
    def start(self, which: tuple[Work, Lease]) -> None:
        work, by = which
        command = report.StartTask(self._id(work), self.lease_ids[by])
        self._executes(by, lambda: self.model.start(work, by), report.start, command)

    @rule(which=held)
    def renew(self, which: tuple[Work, Lease]) -> None:
        work, by = which
        command = lease.RenewLease(self._id(work), self.lease_ids[by])
        self._executes(by, lambda: self.model.renew(work, by), lease.renew, command)

    @rule(which=held, output=st.sampled_from(["ok", "ok", {"bad": 1}, None]), key=st.booleans())
    def complete(self, which: tuple[Work, Lease], output: Any, key: bool) -> None:
        work, by = which
        command = report.CompleteTask(self._id(work), output, self.lease_ids[by])
        self._executes(by, lambda: self.model.complete(work, by, output), report.complete, command, key)

    @rule(which=held, flaky=st.booleans())
    def fail(self, which: tuple[Work, Lease], flaky: bool) -> None:
        work, by = which
        error = report.ReportedError("flaky" if flaky else "broken", "it broke")
        command = report.FailTask(self._id(work), error, self.lease_ids[by])
        self._executes(by, lambda: self.model.fail(work, by, flaky), report.fail, command)

    @rule(which=held, requeue=st.booleans())
    def refuse(self, which: tuple[Work, Lease], requeue: bool) -> None:
        work, by = which
        command = report.RefuseTask(self._id(work), self.lease_ids[by], "not mine", requeue)
        self._executes(by, lambda: self.model.refuse(work, by, requeue), report.refuse, command)

    @rule(which=held, hold=st.booleans())
    def ask(self, which: tuple[Work, Lease], hold: bool) -> None:
        work, by = which
        command = input.RequestInput(self._id(work), self.lease_ids[by], [{"text": "which?"}], hold=hold)
        self._executes(by, lambda: self.model.ask(work, by, hold), input.request_input, command)

    @rule(which=held)
    def confirm_cancel(self, which: tuple[Work, Lease]) -> None:
        work, by = which
        command = cancel.CancelTask(self._id(work), lease_id=self.lease_ids[by])
        self._executes(by, lambda: self.model.confirm(work, by), cancel.cancel, command)

    # What the others do

    @rule(work=tasks)
    def answer(self, work: Work) -> None:
        command = input.AnswerInput(self._id(work), [{"text": "this"}])
        self._both(lambda: self.model.answer(work), self._write(self.stage.user, input.answer_input, command))

    @rule(work=tasks, action=st.sampled_from(["approve", "approve", "reject", "request_changes"]))
    def judge(self, work: Work, action: str) -> None:
        command = review.JudgeTask(self._id(work), action)
        self._both(
            lambda: self.model.judge(work, action),
            self._write(self.stage.admin, review.judge_task, command),
        )

    @rule(work=tasks, grace=st.sampled_from([0, 15]))
    def cancel(self, work: Work, grace: int) -> None:
        command = cancel.CancelTask(self._id(work), grace_seconds=grace)
        self._both(
            lambda: self.model.cancel(work, grace), self._write(self.stage.user, cancel.cancel, command)
        )

    @rule(work=tasks, force=st.booleans())
    def retry(self, work: Work, force: bool) -> None:
        command = review.RetryTask(self._id(work), force=force)
        self._both(
            lambda: self.model.retry(work, force), self._write(self.stage.admin, review.retry, command)
        )

    @rule(work=tasks)
    def a_stranger_changes_nothing(self, work: Work) -> None:
        stranger = Stage(self.platform, self.clock).admin
        command = cancel.CancelTask(self._id(work))
        self.woken.clear()
        with pytest.raises(HubError):
            self.run(self._write(stranger, cancel.cancel, command))
        self._agree(nothing_new=True)

    @precondition(lambda self: self.keyed)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        caller, command, argument, result = data.draw(st.sampled_from(self.keyed))
        self.woken.clear()
        assert self.run(self.platform.write(caller, command, argument)) == result
        self._agree(nothing_new=True)

    # What happens by itself

    @rule(seconds=st.sampled_from([1, 5, 20, 60]), swept=st.sampled_from([True, True, False]))
    def time_passes(self, seconds: int, swept: bool) -> None:
        self.clock.advance(seconds)
        self.model.now += seconds
        if swept:
            self.model.sweep()
            self.run(self.stage.sweep())
        self._agree()

    @rule()
    def restart(self) -> None:
        self.run(self.platform.stop())
        self.run(self._open())
        self.stage.use(self.platform)
        self._agree()


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(";".join(f"DELETE FROM {table.name}" for table in METADATA.sorted_tables))
    await connection.close()


def _run(fresh_database: Callable[[], str], examples: int, steps: int) -> None:
    machine = type("Machine", (Machine,), {"fresh_database": staticmethod(fresh_database)})
    run_machine(
        machine,
        settings=settings(
            max_examples=max(1, int(examples * EFFORT)),
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(600 * max(EFFORT, 1))
def test_model_tables_and_log_agree_on_sqlite(sqlite_template: Path, tmp_path: Path) -> None:
    numbers = iter(range(1_000_000))

    def fresh() -> str:
        path = tmp_path / f"{next(numbers)}.db"
        path.write_bytes(sqlite_template.read_bytes())
        return f"sqlite:///{path}"

    _run(fresh, 60, 50)


@pytest.mark.skipif(POSTGRES is None, reason="CROSSDOCK_TEST_POSTGRES_URL is not set")
@pytest.mark.timeout(600 * max(EFFORT, 1))
def test_model_tables_and_log_agree_on_postgresql(postgres_schema: str) -> None:
    def fresh() -> str:
        asyncio.run(_empty(postgres_schema))
        return postgres_schema

    _run(fresh, 25, 40)
