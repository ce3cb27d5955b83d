"""A theatre with work items on it."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from core.caller import Caller
from core.tasks.task import Task
from core.work_items import change, control, create, handoffs, read
from core.work_items.handoffs import Handoff
from core.work_items.read import WorkItemView
from core.work_items.records import WorkItem, WorkItemId
from core.workflows.records import Workflow
from schemas.item_words import Resolution
from tests.core.workflows.theatre import Theatre

PLAIN: Mapping[str, Any] = {"stages": [{"name": "work"}]}
"""A playbook that says of no tasks: what is to be done are its work items."""


class Bench(Theatre):
    """What a test of work items needs."""

    hand: Caller | None = None

    async def item(self, workflow: Workflow, title: str = "a thing", **more: Any) -> WorkItem:
        command = create.CreateWorkItem(workflow.id, title, **more)
        return await self.platform.write(self.admin, create.create_work_item, command)

    async def begun(self, definition: Mapping[str, Any] = PLAIN, **more: Any) -> tuple[Workflow, WorkItem]:
        """A workflow with one work item."""
        workflow = await self.workflow(definition)
        return workflow, await self.item(workflow, **more)

    async def view(self, item: WorkItem) -> WorkItemView:
        query = WorkItemId(item.workflow_id, item.id)
        return await self.platform.read(self.admin, read.get_work_item, query)

    async def look(self, item: WorkItem) -> WorkItem:
        return (await self.view(item)).item

    async def update(self, item: WorkItem, **changes: Any) -> WorkItem:
        command = change.UpdateWorkItem(item.workflow_id, item.id, changes)
        return await self.platform.write(self.admin, change.update_work_item, command)

    async def finish(self, item: WorkItem) -> WorkItem:
        command = change.CompleteWorkItem(item.workflow_id, item.id)
        return await self.platform.write(self.admin, change.complete_work_item, command)

    async def hold(self, item: WorkItem, **more: Any) -> WorkItem:
        command = control.PauseWorkItem(item.workflow_id, item.id, **more)
        return await self.platform.write(self.admin, control.pause_work_item, command)

    async def let_go(self, item: WorkItem) -> WorkItem:
        command = control.ResumeWorkItem(item.workflow_id, item.id)
        return await self.platform.write(self.admin, control.resume_work_item, command)

    async def stop(self, item: WorkItem, reason: str | None = None) -> WorkItem:
        command = control.CancelWorkItem(item.workflow_id, item.id, reason)
        return await self.platform.write(self.admin, control.cancel_work_item, command)

    async def task(self, item: WorkItem, title: str = "work", **wish: Any) -> Task:
        """A task of the item."""
        return await self.submit(
            title, by=self.admin, workflow_id=item.workflow_id, work_item_id=item.id, **wish
        )

    async def assessment(self, item: WorkItem, subject: Task, **more: Any) -> Task:
        """A task that judges another one of the item, in the revision that it has now."""
        extras = {
            "task_kind": "assessment",
            "subject_task_id": str(subject.id),
            "subject_revision": (await self.get(subject.id)).rework_count,
        }
        return await self.task(item, "judge", role="critic", extras={**extras, **more})

    async def hand_on(self, agent: Caller, task_id: UUID, lease_id: UUID | None, **said: Any) -> Handoff:
        command = handoffs.SubmitHandoff(task_id, lease_id=lease_id, **({"summary": "so far"} | said))
        return await self.platform.write(agent, handoffs.submit_handoff, command)

    async def done(self, task: Task, output: Any = None, **handoff: Any) -> None:
        """The task is claimed, handed on when something is said, and completed."""
        if self.hand is None:
            roles = ("role:maker", "role:critic", "role:lead")
            self.hand = await self.agent("hand", routing_tags=roles, max_concurrent=9)
        held = [c for c in (await self.claim(self.hand, start=True, limit=9)).items if c.task.id == task.id]
        assert held, "the task can be claimed"
        if handoff:
            await self.hand_on(self.hand, task.id, held[0].lease_id, **handoff)
        await self.complete(self.hand, task.id, held[0].lease_id, output)

    async def judged(self, item: WorkItem, subject: Task, resolution: Resolution, **content: Any) -> Task:
        """An assessment with that outcome is made and completed."""
        task = await self.assessment(item, subject)
        await self.done(task, summary="my word", resolution=resolution, content=content)
        return task

    async def kinds(self, task: Task) -> list[str]:
        """What the log says of a task beside its moves."""
        return [kind for kind, _ in await self.told(task.id) if kind != "task.state_changed"]

    async def tasks_of(self, item: WorkItem) -> Sequence[Task]:
        """The item's tasks, newest first."""
        query = read.ItemTasks(item.workflow_id, item.id)
        return await self.platform.read(self.admin, read.tasks_of_item, query)
