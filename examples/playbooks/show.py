"""What the three playbooks share: a hub for as long as they run, workers that are plain functions, a board.

With `CROSSDOCK_URL` and `CROSSDOCK_API_KEY` set they run on that hub; else on one of their own, in a
directory that is gone afterwards.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hub.client import Claim, Crossdock, Event
from hub.worker.reporter import Reporter
from hub.worker.worker import Worker

HERE = Path(__file__).parent
ADMIN_KEY = "the-key-of-an-example-hub-that-nobody-else-reaches"
Does = Callable[[Claim, Reporter], Awaitable[Any]]
MARKS = {
    "claimed": "→ claimed",
    "completed": "✓ completed",
    "failed": "✗ failed",
    "escalated": "? escalated",
    "awaiting_approval": "? awaiting approval",
}


@asynccontextmanager
async def hub() -> AsyncIterator[Crossdock]:
    """A client of the hub that the environment names, or of one that is started for this."""
    if os.environ.get("CROSSDOCK_URL"):
        async with Crossdock() as client:
            yield client
        return
    with tempfile.TemporaryDirectory() as directory:
        environ = {**os.environ, "CROSSDOCK_ADMIN_API_KEY": ADMIN_KEY, "PYTHONPATH": str(HERE.parent.parent)}
        command = [sys.executable, "-m", "hub", "serve", "--port", "0", "--json"]
        serving = await asyncio.create_subprocess_exec(
            *command, cwd=directory, env=environ, stdout=-1, stderr=-3
        )
        try:
            assert serving.stdout is not None
            url = json.loads(await serving.stdout.readline())["url"]
            async with Crossdock(url, ADMIN_KEY) as client:
                yield client
        finally:
            serving.terminate()
            await serving.wait()


@asynccontextmanager
async def working(
    client: Crossdock, does: Mapping[str, Does], *, tags: list[str] | None = None, concurrency: int = 1
) -> AsyncIterator[None]:
    """A worker that does each task by the function of its step's name."""
    agent = await client.agents.register("example", routing_tags=tags or [], max_concurrent=concurrency)

    async def handle(claim: Claim, reporter: Reporter) -> Any:
        return await does[claim.raw["metadata"]["workflow_step"]["step"]](claim, reporter)

    worker = Worker(client, handle, agent_id=agent.id, concurrency=concurrency)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class Show:
    """One workflow, its board as it moves, and what is done about what it waits for."""

    def __init__(self, client: Crossdock, workflow: Mapping[str, Any]) -> None:
        self.client = client
        self.id: str = workflow["id"]
        self._steps: dict[str, str] = {}
        self._totals: dict[str, int] = {}
        self._done: Counter[str] = Counter()

    @classmethod
    async def start(cls, client: Crossdock, file: str, name: str, **parameters: str) -> "Show":
        """Make the playbook of that file, and a workflow from it."""
        definition = json.loads((HERE / file).read_text())
        workspace = await client.playbooks.workspace("examples")
        known = {book["slug"]: book["id"] for book in await client.playbooks.list()}
        slug = file.partition(".")[0].replace("_", "-")
        playbook_id = known.get(slug)
        if playbook_id is None:
            made = await client.playbooks.create(name, "It is done.", definition, slug=slug)
            playbook_id = made["id"]
        more = {"parameters": parameters}
        return cls(client, await client.workflows.create(playbook_id, workspace["id"], name, **more))

    async def run(self, helps: Callable[[Event], Awaitable[str | None]] | None = None) -> None:
        """Print the board with every move, until the workflow is over, and then its output.

        `helps` is told each event, and may do something about it and say what.
        """
        async for event in self.client.workflows.follow(self.id):
            line = await self._line(event)
            if line is not None:
                print(line, flush=True)
            said = await helps(event) if helps is not None else None
            if said is not None:
                print(f"          {said}", flush=True)
        ended = await self.client.workflows.get(self.id)
        print(f"workflow  {ended['state']}: {json.dumps(ended['output'], sort_keys=True)}", flush=True)

    async def _line(self, event: Event) -> str | None:
        data = event.data
        stage = data.get("stage_name")
        if event.type.startswith("stage."):
            said = event.type.removeprefix("stage.").replace("gate.", "gate: ").replace("_", " ")
            return f"stage     {stage} {said}"
        if event.type not in ("task.created", "task.state_changed"):
            return None
        step, total = await self._step_of(data["task_id"])
        state = data["to_state"]
        if total > 1:
            if state != "completed":
                return None
            self._done[step] += 1
            done = self._done[step]
            return f"{'▓' * done}{'░' * (total - done)} {step} {done}/{total}"
        if data.get("move") == "retry_later":
            return f"          {step} ↻ failed, tries again"
        mark = MARKS.get(state)
        return None if mark is None else f"          {step} {mark}"

    async def _step_of(self, task_id: str) -> tuple[str, int]:
        """The step that a task was made for, and how many tasks the step comes to."""
        if task_id not in self._steps:
            task = await self.client.tasks.get(task_id)
            self._steps[task_id] = task.raw["metadata"]["workflow_step"]["step"]
        step = self._steps[task_id]
        if step not in self._totals:
            board = await self.client.workflows.board(self.id)
            items = [item for column in board["columns"] for item in column["items"]]
            self._totals |= {item["id"]: item["total"] for item in items if item["state"] != "waiting"}
        return step, self._totals.get(step, 1)
