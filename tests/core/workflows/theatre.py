"""A stage with playbooks: workflows are made, and everything that is ready in them is done."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from core import playbooks, workspaces
from core.caller import Caller
from core.playbooks import CreatePlaybook, Playbook
from core.tasks.task import Claimed
from core.workflows import create, gates, read
from core.workflows.create import CreateWorkflow
from core.workflows.read import BoardView
from core.workflows.records import Workflow, WorkflowId
from core.workspaces import CreateWorkspace, Workspace
from tests.core.tasks.stage import Stage

Does = Callable[[Claimed], Any]


class Theatre(Stage):
    """What a test of workflows needs."""

    doer: Caller | None = None
    place: Workspace | None = None

    async def workspace(self) -> Workspace:
        if self.place is None:
            command = CreateWorkspace("here", "here")
            self.place = await self.platform.write(self.admin, workspaces.create_workspace, command)
        return self.place

    async def playbook(self, definition: Mapping[str, Any], name: str = "play", **more: Any) -> Playbook:
        command = CreatePlaybook(name, "it is done", definition, **more)
        return await self.platform.write(self.admin, playbooks.create_playbook, command)

    async def workflow(self, definition: Mapping[str, Any], **more: Any) -> Workflow:
        """A workflow from a playbook of its own."""
        name = f"play-{self.platform.new_id().hex}"
        playbook = await self.playbook(definition, name)
        command = CreateWorkflow(playbook.id, (await self.workspace()).id, "a run", **more)
        return await self.platform.write(self.admin, create.create_workflow, command)

    async def now(self, workflow: Workflow) -> Workflow:
        return await self.platform.read(self.admin, read.get_workflow, WorkflowId(workflow.id))

    async def board(self, workflow: Workflow) -> BoardView:
        return await self.platform.read(self.admin, read.view_board, WorkflowId(workflow.id))

    async def steps(self, workflow: Workflow) -> dict[str, str]:
        """Where each step stands."""
        return {step.name: step.state for step in (await self.board(workflow)).steps}

    async def take_any(self) -> Claimed | None:
        if self.doer is None:
            self.doer = await self.agent("doer")
        claims = await self.claim(self.doer, start=True)
        return claims.items[0] if claims.items else None

    async def perform(self, does: Does = lambda held: held.task.input, *, most: int = 10_000) -> list[str]:
        """Do what is ready, until nothing is; the titles of what was done, in order."""
        done: list[str] = []
        while len(done) < most:
            await self.sweep()
            held = await self.take_any()
            if held is None:
                return done
            done.append(held.task.title)
            assert self.doer is not None
            try:
                output = does(held)
            except RuntimeError as error:
                await self.fail(self.doer, held.task.id, held.lease_id, str(error))
            else:
                await self.complete(self.doer, held.task.id, held.lease_id, output)
        await self.sweep()
        return done

    async def gate(self, workflow: Workflow) -> UUID:
        """The one gate that waits."""
        found = await self.platform.read(self.admin, gates.list_gates, WorkflowId(workflow.id))
        (waiting,) = [gate.id for gate in found if gate.status == "pending"]
        return waiting

    async def decide(self, workflow: Workflow, action: str, feedback: str | None = None) -> None:
        command = gates.DecideGate(workflow.id, await self.gate(workflow), action, feedback)
        await self.platform.write(self.admin, gates.decide_gate, command)
