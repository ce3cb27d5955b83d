"""A theatre with work items on it."""

from collections.abc import Mapping
from typing import Any

from core.tasks.task import Task
from core.work_items import change, control, create, read
from core.work_items.read import WorkItemView
from core.work_items.records import WorkItem, WorkItemId
from core.workflows.records import Workflow
from tests.core.workflows.theatre import Theatre

PLAIN: Mapping[str, Any] = {"stages": [{"name": "work"}]}
"""A playbook that says of no tasks: what is to be done are its work items."""


class Bench(Theatre):
    """What a test of work items needs."""

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
