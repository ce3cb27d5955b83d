"""An agent on a2a-sdk's own server, in a process of its own: `python -m tests.conformance.reference_agent`.

The first word of a message decides what it does. Each piece of work that it begins is one line in a file, so
that a test can count how often something was really done. Arguments: PORT SPOKEN WORK_FILE [STORE_FILE];
SPOKEN is a binding and a version, like `JSONRPC/1.0`.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import DatabaseTaskStore, InMemoryTaskStore, TaskStore, TaskUpdater
from a2a.types import a2a_pb2 as pb
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette

CURRENT, REST, LEGACY = "JSONRPC/1.0", "HTTP+JSON/1.0", "JSONRPC/0.3"


class Scripted(AgentExecutor):
    """Does what the first word says."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._stop: dict[str, asyncio.Event] = {}

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """One message."""
        assert context.message is not None
        text = context.get_user_input()
        with self._work.open("a") as log:
            log.write(text + "\n")
        word, _, rest = text.partition(" ")
        if word == "message":
            said = pb.Message(message_id="answer", role=pb.ROLE_AGENT, parts=[pb.Part(text=rest)])
            await event_queue.enqueue_event(said)
            return
        task = context.current_task
        if task is None:
            assert context.task_id is not None
            assert context.context_id is not None
            status = pb.TaskStatus(state=pb.TaskState.TASK_STATE_SUBMITTED)
            task = pb.Task(
                id=context.task_id, context_id=context.context_id, status=status, history=[context.message]
            )
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        if context.current_task is not None:
            await updater.complete(updater.new_agent_message([pb.Part(text=f"you said {text}")]))
            return
        await updater.start_work()
        match word:
            case "ask":
                await updater.requires_input(updater.new_agent_message([pb.Part(text=rest)]))
            case "steps":
                await self._steps(updater, int(rest))
            case "fail":
                await updater.failed(updater.new_agent_message([pb.Part(text=rest)]))
            case "reject":
                await updater.reject(updater.new_agent_message([pb.Part(text=rest)]))
            case "wait":
                await self._until_cancelled(task.id)
            case _:
                await updater.add_artifact([pb.Part(text=rest or text)], name="answer")
                await updater.complete()

    async def _steps(self, updater: TaskUpdater, count: int) -> None:
        for n in range(count):
            said = updater.new_agent_message([pb.Part(text=f"step {n}")])
            await updater.update_status(pb.TaskState.TASK_STATE_WORKING, said)
            await asyncio.sleep(0.02)
        await updater.add_artifact([pb.Part(text="one ")], artifact_id="a", name="report", last_chunk=False)
        await updater.add_artifact([pb.Part(text="two")], artifact_id="a", append=True, last_chunk=True)
        await updater.complete()

    async def _until_cancelled(self, task_id: str) -> None:
        self._stop[task_id] = stop = asyncio.Event()
        await stop.wait()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Stop."""
        assert context.task_id is not None
        assert context.context_id is not None
        with self._work.open("a") as log:
            log.write("cancelled\n")
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()
        if context.task_id in self._stop:
            self._stop[context.task_id].set()


def app(port: int, spoken: str, work: Path, store: Path | None) -> Starlette:
    """The agent."""
    tasks: TaskStore = InMemoryTaskStore()
    if store is not None:
        tasks = DatabaseTaskStore(create_async_engine(f"sqlite+aiosqlite:///{store}"))
    binding, version = spoken.split("/")
    url = f"http://127.0.0.1:{port}/{'rest' if spoken == REST else 'rpc'}"
    card = pb.AgentCard(
        name="reference",
        description="does what the first word says",
        version="1",
        capabilities=pb.AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[pb.AgentSkill(id="any", name="any", description="anything", tags=["any"])],
        supported_interfaces=[pb.AgentInterface(url=url, protocol_binding=binding, protocol_version=version)],
    )
    handler = DefaultRequestHandler(agent_executor=Scripted(work), task_store=tasks, agent_card=card)

    @asynccontextmanager
    async def ready(_: Starlette) -> AsyncIterator[None]:
        if isinstance(tasks, DatabaseTaskStore):
            await tasks.initialize()
        yield

    routes = [
        *create_agent_card_routes(card),
        *create_jsonrpc_routes(handler, "/rpc", enable_v0_3_compat=spoken == LEGACY),
        *create_rest_routes(handler, path_prefix="/rest"),
    ]
    return Starlette(routes=routes, lifespan=ready)


if __name__ == "__main__":
    port, spoken, work = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    store = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    uvicorn.run(
        app(port, spoken, work, store), host="127.0.0.1", port=port, log_level="error", access_log=False
    )
