"""Hubs that delegate to one another and to a2a-sdk's reference server, and what a kill leaves of that."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest

from hub.demo.process import HubProcess, free_port
from tests.conformance.reference_agent import CURRENT, LEGACY, REST
from tests.conftest import POSTGRES
from tests.crash.run import postgres_database

SECONDS = 45.0
"""Longer than anything here takes, a killed holder's lease included."""
T = TypeVar("T")
FINAL = {"completed", "failed", "cancelled", "rejected"}

pytestmark = pytest.mark.timeout(150)


class Hub(HubProcess):
    """A hub that may call some other ports of this machine, and its REST API."""

    def __init__(
        self, directory: Path, port: int, others: list[int], database_url: str | None = None
    ) -> None:
        directory.mkdir()
        super().__init__(directory, port=port)
        self._allowed = ",".join(f"127.0.0.1:{other}" for other in others)
        self._database_url = database_url
        self.http = httpx.AsyncClient(timeout=40)

    def _environment(self) -> dict[str, str]:
        chosen = {"CROSSDOCK_DATABASE_URL": self._database_url} if self._database_url else {}
        return {**super()._environment(), "CROSSDOCK_OUTBOUND_ALLOW": self._allowed, **chosen}

    async def __aenter__(self) -> "Hub":
        await self.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.http.aclose()
        await super().__aexit__()

    async def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the REST API: the data of the answer."""
        answer = await self.http.request(
            method,
            f"{self.url}/api/v1{path}",
            headers={"Authorization": f"Bearer {self.admin_key}"},
            json=None if method == "GET" else body,
        )
        assert answer.status_code < 300, (path, answer.status_code, answer.text)
        return None if answer.status_code == 204 else answer.json()["data"]

    async def key_for(self, owner: str) -> str:
        """A key of the least scope."""
        minted = await self.call("POST", "/api-keys", scope="agent", owner_type="user", owner_id=owner)
        key: str = minted["api_key"]
        return key

    async def knows(self, card_url: str, **members: Any) -> dict[str, Any]:
        """Register a remote agent."""
        made: dict[str, Any] = await self.call("POST", "/remote-a2a-agents", card_url=card_url, **members)
        assert (made["verification_status"], made["health"]) == ("verified", "ok"), made
        return made

    async def submit(self, text: str, *tags: str) -> str:
        """A new task."""
        made = await self.call("POST", "/tasks", title=text, input={"text": text}, required_tags=list(tags))
        task_id: str = made["id"]
        return task_id

    async def task(self, task_id: str) -> dict[str, Any]:
        """A task."""
        task: dict[str, Any] = await self.call("GET", f"/tasks/{task_id}")
        return task

    async def tasks(self) -> list[dict[str, Any]]:
        """Every task of the hub."""
        found: list[dict[str, Any]] = await self.call("GET", "/tasks?per_page=100")
        return found

    async def until(self, task_id: str, *states: str) -> dict[str, Any]:
        """The task, once it is in one of these states."""

        async def there() -> dict[str, Any] | None:
            task = await self.task(task_id)
            assert task["state"] not in FINAL or task["state"] in states, task
            return task if task["state"] in states else None

        return await until(there)

    async def ended(self, task_id: str) -> dict[str, Any]:
        """The task, once it is final."""
        return await self.until(task_id, *FINAL)

    async def said(self, task_id: str) -> list[tuple[str, str]]:
        """The words of a task's history."""
        messages = await self.call("GET", f"/tasks/{task_id}/messages")
        return [(m["role"], m["parts"][0].get("text")) for m in messages]

    async def claim(self, agent_id: str) -> dict[str, Any]:
        """The next task for a worker of this hub, started."""

        async def there() -> dict[str, Any] | None:
            wish = {"agent_id": agent_id, "start": True, "wait_seconds": 5, "include_context": True}
            task: dict[str, Any] | None = await self.call("POST", "/tasks/claim", **wish)
            return task

        return await until(there)

    async def report(self, task: dict[str, Any], path: str, **body: Any) -> Any:
        """Write as the executor of a claimed task."""
        return await self.call("POST", f"/tasks/{task['id']}{path}", lease_id=task["lease_id"], **body)


class Reference:
    """The reference server as a child process."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._directory = directory
        self._work = directory / "work.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, spoken: str = CURRENT, *, durable: bool = False) -> None:
        """Start it, with an empty memory or with what is in its store, and return when it answers."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.conformance.reference_agent",
            str(self.port),
            spoken,
            str(self._work),
            *([str(self._directory / "reference.db")] if durable else []),
            cwd=Path(__file__).parents[2],
            env=dict(os.environ),
        )

        async def answers() -> bool:
            try:
                async with httpx.AsyncClient() as http:
                    card = await http.get(f"{self.url}/.well-known/agent-card.json")
            except httpx.TransportError:
                return False
            return card.status_code == 200

        await until(answers)

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def work(self) -> list[str]:
        """What it began, in order."""
        return self._work.read_text().splitlines() if self._work.exists() else []


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """What `look` gives, once it gives something."""
    async with asyncio.timeout(SECONDS):
        while not (found := await look()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.05)
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
async def databases(request: pytest.FixtureRequest) -> AsyncIterator[Sequence[str | None]]:
    """Where two hubs keep everything: files of their own, or databases of their own."""
    if request.param == "sqlite":
        yield (None, None)
        return
    if POSTGRES is None:
        pytest.skip("CROSSDOCK_TEST_POSTGRES_URL is not set")
    async with postgres_database(POSTGRES) as one, postgres_database(POSTGRES) as two:
        yield (one, two)


@asynccontextmanager
async def two_hubs(
    directory: Path, databases: Sequence[str | None] = (None, None)
) -> AsyncIterator[tuple[Hub, Hub, Reference]]:
    """Two hubs that each know the other for tasks tagged `far`, and the reference server, not started."""
    one, two, third = free_port(), free_port(), free_port()
    reference = Reference(directory, third)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(reference.kill)
        a = await stack.enter_async_context(Hub(directory / "a", one, [two, third], databases[0]))
        b = await stack.enter_async_context(Hub(directory / "b", two, [one, third], databases[1]))
        for hub, other in ((a, b), (b, a)):
            key = await other.key_for("the other hub")
            await hub.knows(other.url, auth={"kind": "bearer", "token": key}, routing_tags=["far"])
        yield a, b, reference


async def worker_of(hub: Hub) -> str:
    """An agent of the hub that takes what asks for nothing."""
    made = await hub.call("POST", "/agents/register", name="worker", max_concurrent=4)
    agent_id: str = made["id"]
    return agent_id


async def a2a(hub: Hub, key: str, method: str, **params: Any) -> Any:
    """Call a hub over A2A: the result."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"Authorization": f"Bearer {key}", "A2A-Version": "1.0"}
    answer = await hub.http.post(f"{hub.url}/a2a", json=body, headers=headers)
    told = answer.json()
    assert "result" in told, told
    return told["result"]


def message(text: str, **members: Any) -> dict[str, Any]:
    """A message of a user."""
    return {"messageId": uuid4().hex, "role": "ROLE_USER", "parts": [{"text": text}], **members}


async def test_two_hubs_delegate_to_each_other(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as (a, b, _):
        for near, far in ((a, b), (b, a)):
            worker = await worker_of(far)
            task_id = await near.submit("say hello", "far")
            claimed = await far.claim(worker)
            assert claimed["input"]["text"] == "say hello"
            assert claimed["origin"]["face"] == "a2a"
            await far.report(claimed, "/messages", parts=[{"text": "thinking"}])
            for n, text in enumerate(("one ", "two")):
                await far.report(
                    claimed,
                    "/artifacts",
                    artifact_id="x",
                    name="greeting",
                    parts=[{"text": text}],
                    append=n > 0,
                    last_chunk=n > 0,
                )
            await far.report(claimed, "/complete")
            done = await near.ended(task_id)
            assert (done["state"], done["output"], done["attempt"]) == ("completed", "one two", 1)
            assert await near.said(task_id) == [("agent", "thinking")]
            [artifact] = await near.call("GET", f"/tasks/{task_id}/artifacts")
            assert (artifact["name"], artifact["parts"]) == ("greeting", [{"text": "one "}, {"text": "two"}])
            [remote] = [t for t in await far.tasks() if t["id"] == claimed["id"]]
            assert remote["state"] == "completed"


async def test_a_question_of_the_reference_server_travels_through_both_hubs_and_its_answer_back(
    tmp_path: Path,
) -> None:
    async with two_hubs(tmp_path) as (a, b, reference):
        await reference.start()
        await b.knows(reference.url)
        [known] = await a.call("GET", "/remote-a2a-agents")
        await a.call("PATCH", f"/remote-a2a-agents/{known['id']}", accepts_untagged=True)
        key = await a.key_for("ann")
        asking = (await a2a(a, key, "SendMessage", message=message("ask which colour?")))["task"]
        assert asking["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        assert asking["status"]["message"]["parts"] == [{"text": "which colour?"}]
        assert [task["state"] for task in await b.tasks()] == ["input_required"]
        answer = message("blue", taskId=asking["id"])
        done = (await a2a(a, key, "SendMessage", message=answer))["task"]
        assert done["status"]["state"] == "TASK_STATE_COMPLETED"
        assert (await a.task(asking["id"]))["output"] == "you said blue"
        said = ["ask which colour?", "which colour?", "blue", "you said blue"]
        assert [text for _, text in await a.said(asking["id"])] == said
        [at_b] = await b.tasks()
        assert [text for _, text in await b.said(at_b["id"])] == said
        assert reference.work() == ["ask which colour?", "blue"]


@pytest.mark.parametrize("spoken", [CURRENT, REST, LEGACY])
async def test_the_reference_server_is_an_executor_like_any_other(tmp_path: Path, spoken: str) -> None:
    async with two_hubs(tmp_path) as (a, _, reference):
        await reference.start(spoken)
        known = await a.knows(reference.url, routing_tags=["reference"])
        assert "{binding}/{version}".format(**known["interface"]) == spoken
        assert not known["interface"]["idempotent"]
        expected = {
            "echo hello": ("completed", "hello", None),
            "steps 3": ("completed", "one two", None),
            "message a word": ("completed", "a word", None),
            "fail because": ("failed", None, "because"),
            "reject never": ("rejected", None, "never"),
        }
        tasks = {text: await a.submit(text, "reference") for text in expected}
        for text, (state, output, reason) in expected.items():
            done = await a.ended(tasks[text])
            assert (done["state"], done["output"]) == (state, output), done
            if reason is not None:
                assert done["status_message"] == [{"text": reason}]
        assert await a.said(tasks["steps 3"]) == [("agent", f"step {n}") for n in range(3)]
        [report] = await a.call("GET", f"/tasks/{tasks['steps 3']}/artifacts")
        assert report["parts"] == [{"text": "one "}, {"text": "two"}]
        waiting = await a.submit("wait", "reference")
        await until(lambda: _has(reference, "wait"))
        await a.call("POST", f"/tasks/{waiting}/cancel")
        await until(lambda: _has(reference, "cancelled"))
        assert (await a.task(waiting))["state"] == "cancelled"


async def _has(reference: Reference, line: str) -> bool:
    return line in reference.work()


async def test_a_hub_killed_in_mid_task_goes_on_with_what_it_gave_away(
    tmp_path: Path, databases: Sequence[str | None]
) -> None:
    async with two_hubs(tmp_path, databases) as (a, b, _):
        worker = await worker_of(b)
        task_id = await a.submit("long work", "far")
        claimed = await b.claim(worker)
        await b.report(claimed, "/messages", parts=[{"text": "before"}])
        await until(lambda: _heard(a, task_id, "before"))
        await a.kill()
        await b.report(claimed, "/messages", parts=[{"text": "while it was away"}])
        await b.report(claimed, "/artifacts", artifact_id="x", parts=[{"text": "half "}], last_chunk=False)
        await a.start()
        await until(lambda: _heard(a, task_id, "while it was away"))
        await b.report(claimed, "/messages", parts=[{"text": "after"}])
        await b.report(claimed, "/artifacts", artifact_id="x", parts=[{"text": "and half"}], append=True)
        await b.report(claimed, "/complete")
        done = await a.ended(task_id)
        assert (done["state"], done["output"], done["retry_count"]) == ("completed", "half and half", 0)
        told = [("agent", "before"), ("agent", "while it was away"), ("agent", "after")]
        assert await a.said(task_id) == told
        assert len(await b.tasks()) == 1


async def _heard(hub: Hub, task_id: str, words: str) -> bool:
    return ("agent", words) in await hub.said(task_id)


async def test_a_remote_hub_killed_in_mid_task_is_waited_for(
    tmp_path: Path, databases: Sequence[str | None]
) -> None:
    async with two_hubs(tmp_path, databases) as (a, b, _):
        worker = await worker_of(b)
        task_id = await a.submit("long work", "far")
        claimed = await b.claim(worker)
        await b.report(claimed, "/messages", parts=[{"text": "before"}])
        await until(lambda: _heard(a, task_id, "before"))
        await b.kill()
        await until(lambda: _health(a, "unreachable"))
        assert (await a.task(task_id))["state"] == "in_progress"
        await b.start()
        await b.report(claimed, "/messages", parts=[{"text": "after"}])
        await b.report(claimed, "/complete", output="done")
        done = await a.ended(task_id)
        assert (done["state"], done["output"], done["attempt"]) == ("completed", "done", 1)
        assert await a.said(task_id) == [("agent", "before"), ("agent", "after")]
        assert len(await b.tasks()) == 1
        await until(lambda: _health(a, "ok"))


async def _health(hub: Hub, health: str) -> bool:
    [known] = await hub.call("GET", "/remote-a2a-agents")
    return bool(known["health"] == health)


async def test_a_question_outlives_a_kill_of_either_hub(
    tmp_path: Path, databases: Sequence[str | None]
) -> None:
    async with two_hubs(tmp_path, databases) as (a, b, _):
        worker = await worker_of(b)
        task_id = await a.submit("work that asks", "far")
        claimed = await b.claim(worker)
        await b.report(claimed, "/request-input", parts=[{"text": "which?"}])
        await a.until(task_id, "input_required")
        await a.kill()
        await b.kill()
        await a.start()
        await b.start()
        await a.call("POST", f"/tasks/{task_id}/input", parts=[{"text": "this"}])
        claimed = await b.claim(worker)
        assert claimed["messages"][-1]["parts"] == [{"text": "this"}]
        await b.report(claimed, "/complete", output="that")
        done = await a.ended(task_id)
        assert (done["state"], done["output"], done["retry_count"]) == ("completed", "that", 0)
        assert await a.said(task_id) == [("agent", "which?"), ("user", "this")]
        assert len(await b.tasks()) == 1


async def test_leave_that_is_asked_for_over_there_is_given_over_here(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as (a, b, _):
        worker = await worker_of(b)
        task_id = await a.submit("dangerous work", "far")
        claimed = await b.claim(worker)
        asked = await b.report(claimed, "/approvals", title="delete everything?", kind="permission")
        asking = await a.until(task_id, "input_required")
        assert "delete everything?" in asking["status_message"][0]["text"]
        await a.call("POST", f"/tasks/{task_id}/input", parts=[{"text": "reject"}])
        decided = await b.call("GET", f"/approvals/{asked['id']}?wait_seconds=20")
        assert decided["status"] == "rejected"
        await b.report(claimed, "/complete", output="left alone")
        assert (await a.ended(task_id))["output"] == "left alone"


async def test_a_cancellation_reaches_the_remote_hub_even_after_a_kill(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as (a, b, _):
        worker = await worker_of(b)
        first = await a.submit("cancelled at once", "far")
        at_b = await b.claim(worker)
        await a.call("POST", f"/tasks/{first}/cancel", reason="changed my mind")
        await until(lambda: _state(b, at_b["id"], "cancelled"))
        second = await a.submit("cancelled while the other is away", "far")
        at_b = await b.claim(worker)
        await until(lambda: _delegated(a, second))
        await b.kill()
        await a.call("POST", f"/tasks/{second}/cancel")
        await a.kill()
        await b.start()
        await a.start()
        await until(lambda: _state(b, at_b["id"], "cancelled"))


async def _state(hub: Hub, task_id: str, state: str) -> bool:
    return bool((await hub.task(task_id))["state"] == state)


async def _delegated(hub: Hub, task_id: str) -> bool:
    events = await hub.call("GET", f"/events?entity_id={task_id}&after=0")
    return any(event["type"] == "task.delegated" for event in events)


async def test_a_reference_server_that_forgot_its_task_is_told_of_and_never_given_it_again(
    tmp_path: Path,
) -> None:
    """Its memory dies with it. What it has done of the work nobody knows, so the hub does not repeat it."""
    async with two_hubs(tmp_path) as (a, _, reference):
        await reference.start()
        await a.knows(reference.url, routing_tags=["reference"])
        task_id = await a.submit("wait", "reference")
        await until(lambda: _delegated(a, task_id))
        await reference.kill()
        await reference.start()
        done = await a.ended(task_id)
        assert (done["state"], done["error"]["category"]) == ("failed", "remote_lost")
        assert "may have done some of the work" in done["error"]["message"]
        assert reference.work() == ["wait"]


async def test_a_question_outlives_a_kill_of_the_reference_server(tmp_path: Path) -> None:
    """With a store on disk it keeps its questions, though not what it was doing."""
    async with two_hubs(tmp_path) as (a, _, reference):
        await reference.start(durable=True)
        await a.knows(reference.url, routing_tags=["reference"])
        task_id = await a.submit("ask which?", "reference")
        await a.until(task_id, "input_required")
        await reference.kill()
        await a.call("POST", f"/tasks/{task_id}/input", parts=[{"text": "this"}])
        await until(lambda: _reference_health(a, "unreachable"))
        await reference.start(durable=True)
        done = await a.ended(task_id)
        assert (done["state"], done["output"]) == ("completed", "you said this")
        assert reference.work() == ["ask which?", "this"]


async def _reference_health(hub: Hub, health: str) -> bool:
    known = await hub.call("GET", "/remote-a2a-agents")
    return health in [one["health"] for one in known if one["name"] == "reference"]


async def test_hubs_that_send_work_in_circles_stop_after_eight(tmp_path: Path) -> None:
    async with two_hubs(tmp_path) as (a, b, _):
        for hub in (a, b):
            [known] = await hub.call("GET", "/remote-a2a-agents")
            await hub.call("PATCH", f"/remote-a2a-agents/{known['id']}", accepts_untagged=True)
        task_id = await a.submit("round and round")
        done = await a.ended(task_id)
        assert done["state"] == "rejected"
        assert done["status_message"] == [{"text": "the work has come through 8 hubs already"}]
        assert len(await a.tasks()) + len(await b.tasks()) == 9
