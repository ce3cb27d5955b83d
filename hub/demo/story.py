"""The demo's story. Every line it prints was seen; what it promises, it asserts.

An outside caller sends work with the stock A2A client, a worker does it, the hub is killed in mid-sentence,
and the same task, under the same lease, goes on and ends.
"""

import asyncio
import hashlib
import json
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from hub.cli.output import Output
from hub.client import Crossdock, Event
from hub.demo.process import HubProcess
from hub.demo.scout import Scout
from hub.demo.show import Show, short
from hub.worker import WorkerConfig, run_worker

TRY_NEXT = """
Try next:  crossdock serve --demo      a hub that stays up, with ready-to-paste commands
           crossdock worker --exec 'CMD'      your own command as an agent
           README, "Your turn"         the same in curl"""


class Broken(AssertionError):
    """Something that the demo promises did not happen."""


def run_demo(out: Output, *, keep: bool = False) -> int:
    """Run the story in a temporary directory; 0 when all of it was seen, else 1."""
    directory = Path(tempfile.mkdtemp(prefix="crossdock-demo-"))
    show, hub = Show(out), HubProcess(directory)
    try:
        asyncio.run(_story(hub, show))
    except Exception as error:
        show.line("broken", f"{type(error).__name__}: {error}", style="red")
        show.text(hub.last_words())
        keep = True
        return 1
    finally:
        if keep:
            show.text(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    out.json(show.lines) if out.as_json else show.text(TRY_NEXT)
    return 0


async def _story(hub: HubProcess, show: Show) -> None:
    show.line("", "one task, two faces, one kill -9")
    async with hub:
        show.line("hub", f"up at 127.0.0.1:{hub.port}, SQLite, pid {hub.pid}")
        async with asyncio.timeout(60), Crossdock(hub.url, hub.admin_key) as admin:
            agent = await admin.agents.register("scout")
            key = await admin.keys.create(scope="agent", owner_type="user", owner_id="demo", label="demo")
            async with Crossdock(hub.url, agent.api_key, retry_seconds=60) as scout_hub:
                config = WorkerConfig(
                    url=hub.url,
                    api_key=agent.api_key or "",
                    handler=Scout(scout_hub),
                    name="scout",
                    agent_id=agent.id,
                )
                worker = asyncio.create_task(run_worker(config))
                watching = asyncio.create_task(_watch(admin, show))
                show.line("worker", '"scout" waiting')
                try:
                    await _tell(hub, admin, key, show)
                finally:
                    for task in (worker, watching):
                        task.cancel()
                    await asyncio.gather(worker, watching, return_exceptions=True)


async def _watch(admin: Crossdock, show: Show) -> None:
    """Print each change of state as the event stream brings it, across the kill."""
    async with aclosing(admin.events.stream(after="0", event_type="task.state_changed")) as events:
        async for event in events:
            _print_state(event, show)


def _print_state(event: Event, show: Show) -> None:
    data = event.data
    who = "" if data.get("agent_id") is None else f"scout, attempt {data.get('attempt')}"
    text = f"{short(str(data['task_id']))} {data['from_state']} → {data['to_state']}"
    show.line("state", text, who)


async def _tell(hub: HubProcess, admin: Crossdock, key: str, show: Show) -> None:
    from hub.demo.caller import Caller  # the stock A2A client, an extra

    async with Caller(hub.url, key) as caller:
        await _hello(caller, show)
        await _count(hub, admin, caller, show)


async def _hello(caller: Any, show: Show) -> None:
    show.line("A2A  →", '"say hello"')
    task = await caller.send("say hello")
    answer = "".join(part.text for artifact in task.artifacts for part in artifact.parts)
    _must(answer == "Hello.", f"the answer was {answer!r}")
    show.line("A2A  ←", f"{short(task.id)} {_state(task)}", answer)


async def _count(hub: HubProcess, admin: Crossdock, caller: Any, show: Show) -> None:
    show.line("A2A  →", '"count to twelve, then publish"')
    heard: list[str] = []
    task_id, attempt = "", 0
    with suppress(ConnectionError):
        async for task_id, chunk in caller.stream("count to twelve, then publish"):
            if chunk:
                heard.append(chunk.strip())
            if len(heard) == 5:
                show.line("stream", " ".join(heard))
                attempt = (await admin.tasks.get(task_id)).raw["attempt"]
                pid = hub.pid
                await hub.kill()
                show.line("kill -9", f"pid {pid} is dead, in mid-sentence", style="bold red")
                break
    _must(len(heard) == 5, "the stream ended before the kill")
    await asyncio.sleep(1)
    show.line("worker", "hub gone; counting on")
    await hub.start()
    show.line("hub", f"up again, pid {hub.pid}; the lease is still good")
    await _resume(caller, admin, task_id, show)
    await _publish(caller, admin, task_id, show)
    after = await admin.tasks.get(task_id)
    _must(after.raw["attempt"] == attempt == 1, "the task was begun twice")
    await _compare(caller, admin, task_id, show)


async def _resume(caller: Any, admin: Crossdock, task_id: str, show: Show) -> None:
    text = ""
    async with aclosing(_artifact_text(caller.follow(task_id))) as texts:
        async for text in texts:
            if text.split()[-1:] == ["12"]:
                break
    numbers = text.split()
    _must(numbers == [str(n) for n in range(1, 13)], f"the artifact holds {numbers}")
    show.line("stream", f"resumed: {' '.join(numbers[5:])}", "nothing missing, nothing twice")


async def _artifact_text(updates: AsyncIterator[Any]) -> AsyncGenerator[str, None]:
    """The text of the task's artifacts so far, after each update of the stream."""
    text = ""
    async for update in updates:
        if update.HasField("task"):
            text = "".join(p.text for a in update.task.artifacts for p in a.parts)
        elif update.HasField("artifact_update"):
            text += "".join(p.text for p in update.artifact_update.artifact.parts)
        else:
            continue
        yield text


async def _publish(caller: Any, admin: Crossdock, task_id: str, show: Show) -> None:
    pending = await _asked(admin, task_id)
    task = await caller.get(task_id)
    _must(_state(task) == "INPUT_REQUIRED", f"A2A says {_state(task)}")
    show.line("approval", 'scout asks: "publish?"', "A2A sees INPUT_REQUIRED")
    await admin.approvals.decide(pending, action="approve")
    show.line("REST →", "approved", "asked on A2A, answered on REST")
    done = await admin.tasks.wait(task_id, timeout=10)
    _must(done.state == "completed", f"the task is {done.state}")


async def _asked(admin: Crossdock, task_id: str) -> str:
    """The id of the approval that the worker asks for; what came before is read from the log."""
    async with asyncio.timeout(10):
        async with aclosing(admin.events.stream(after="0", event_type="approval.requested")) as events:
            async for event in events:
                if event.data["task_id"] == task_id:
                    return str(event.data["approval_id"])
    raise Broken("nobody asked for approval")


async def _compare(caller: Any, admin: Crossdock, task_id: str, show: Show) -> None:
    """Both faces tell the same story: the same messages and artifacts, by their digest."""
    task = await caller.get(task_id)
    rest = await admin.tasks.get(task_id)
    artifacts = [list(artifact.raw["parts"]) for artifact in (await admin.tasks.artifacts(task_id)).items]
    messages = [list(message.parts) for message in (await admin.tasks.messages(task_id)).items]
    mine = digest(_texts(messages), _texts(artifacts))
    theirs = digest(
        [[part.text for part in message.parts] for message in task.history],
        [[part.text for part in artifact.parts] for artifact in task.artifacts],
    )
    events = await _count_events(admin, task_id)
    show.blank()
    show.text("      FACE  CALLED            SAYS                    HISTORY")
    show.text(f"      REST  GET /tasks/{{id}}   {rest.state:<23} {mine}")
    show.text(f"      A2A   GetTask           TASK_STATE_{_state(task):<12} {theirs}")
    show.text(f"      {events} events, no gap, none twice.")
    _must(mine == theirs, "the faces tell different stories")
    _must(_state(task) == "COMPLETED", f"A2A says {_state(task)}")


async def _count_events(admin: Crossdock, task_id: str) -> int:
    versions = [event.version async for event in admin.events.all(entity_id=task_id)]
    _must(versions == list(range(1, len(versions) + 1)), f"event versions are {versions}")
    return len(versions)


def digest(messages: list[list[str]], artifacts: list[list[str]]) -> str:
    """Six digits that stand for what was said and made."""
    said = {"messages": messages, "artifacts": ["".join(parts) for parts in artifacts]}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:6]


def _texts(parts: list[list[Mapping[str, Any]]]) -> list[list[str]]:
    return [[str(part["text"]) for part in group if "text" in part] for group in parts]


def _state(task: Any) -> str:
    from a2a.types import a2a_pb2

    name: str = a2a_pb2.TaskState.Name(task.status.state)
    return name.removeprefix("TASK_STATE_")


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Broken(otherwise)
