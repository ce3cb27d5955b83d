"""a2a-sdk's own server with an executor that echoes: `python -m tests.bench.reference STORE PORT`.

STORE is `memory`, or the path of a SQLite file. The server is uvicorn with uvloop and httptools, like the
hub's.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import DatabaseTaskStore, InMemoryTaskStore, TaskStore, TaskUpdater
from a2a.types import a2a_pb2 as a2a
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette

from tests.bench.load import pin


class Echo(AgentExecutor):
    """Completes every task with the text that it was sent, after as many events as `stream N` asks for."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """A task, and its completion."""
        assert context.message is not None
        assert context.task_id is not None
        assert context.context_id is not None
        status = a2a.TaskStatus(state=a2a.TaskState.TASK_STATE_SUBMITTED)
        await event_queue.enqueue_event(
            a2a.Task(
                id=context.task_id, context_id=context.context_id, status=status, history=[context.message]
            )
        )
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        text = context.get_user_input()
        if text.startswith("stream "):
            for n in range(int(text.partition(" ")[2])):
                part = a2a.Part(text="a small event")
                await updater.add_artifact([part], artifact_id="a", append=n > 0, last_chunk=False)
        await updater.complete(updater.new_agent_message([a2a.Part(text=text)]))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Nothing runs long enough to be cancelled."""


def app(store: str) -> Starlette:
    """The reference server on that store."""
    tasks: TaskStore = InMemoryTaskStore()
    if store != "memory":
        tasks = DatabaseTaskStore(create_async_engine(f"sqlite+aiosqlite:///{store}"))
    card = a2a.AgentCard(
        name="echo",
        description="echoes",
        version="1",
        capabilities=a2a.AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
    )
    handler = DefaultRequestHandler(agent_executor=Echo(), task_store=tasks, agent_card=card)

    @asynccontextmanager
    async def ready(_: Starlette) -> AsyncIterator[None]:
        if isinstance(tasks, DatabaseTaskStore):
            await tasks.initialize()  # else its first requests race to make the table
        yield

    return Starlette(routes=create_jsonrpc_routes(handler, "/"), lifespan=ready)


if __name__ == "__main__":
    pin(0)
    uvicorn.run(
        app(sys.argv[1]),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        log_level="error",
        access_log=False,
    )
