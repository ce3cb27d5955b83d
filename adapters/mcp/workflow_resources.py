"""Workflows as resources: `crossdock://workflows/{id}`. They show what REST shows to the same caller."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from adapters.mcp import shown
from core.caller import Caller
from core.errors import NotFound
from core.events import Event
from core.platform import Platform
from core.workflows.read import ListWorkflows, get_workflow, list_stages, list_workflows
from core.workflows.records import StageRecord, Workflow, WorkflowId
from schemas.strict_json import dump_json

ROOT: Final = "crossdock://workflows/"
TEMPLATE: Final[Mapping[str, str]] = {
    "uriTemplate": ROOT + "{id}",
    "name": "workflow",
    "title": "Workflow",
    "description": "A workflow: its state, its stages and gates, and what came of it.",
    "mimeType": "application/json",
}
_URI: Final = re.compile(re.escape(ROOT) + r"([0-9a-fA-F-]{36})")


def uri_of(workflow_id: UUID) -> str:
    """Where a workflow can be read and followed."""
    return f"{ROOT}{workflow_id}"


async def listed(
    platform: Platform, caller: Caller, page: int, per_page: int
) -> tuple[Sequence[Mapping[str, Any]], int]:
    """A page of the tenant's workflows, newest first, and how many there are."""
    query = ListWorkflows(page=page, per_page=per_page)
    found = await platform.read(caller, list_workflows, query)
    said = [
        {
            "uri": uri_of(workflow.id),
            "name": str(workflow.id),
            "title": workflow.name,
            "description": f"A workflow, {workflow.state.value}.",
            "mimeType": "application/json",
        }
        for workflow in found.items
    ]
    return said, found.total


async def read(platform: Platform, caller: Caller, uri: str) -> Sequence[Mapping[str, Any]]:
    """The contents of one.

    Raises:
        NotFound: no such workflow.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise NotFound("no such resource")
    try:
        wanted = WorkflowId(UUID(found[1]))
    except ValueError:
        raise NotFound("no such resource") from None
    workflow = await platform.read(caller, get_workflow, wanted)
    stages = (await platform.read(caller, list_stages, wanted)).stages
    text = dump_json(_workflow(workflow, stages)).decode()
    return [{"uri": uri, "mimeType": "application/json", "text": text}]


def touched(event: Event) -> str | None:
    """The workflow that an event has changed."""
    return None if event.workflow_id is None else uri_of(event.workflow_id)


def _workflow(workflow: Workflow, stages: Sequence[StageRecord]) -> dict[str, Any]:
    return {
        "id": str(workflow.id),
        "name": workflow.name,
        "state": workflow.state.value,
        "current_stage": workflow.current_stage,
        "playbook_id": str(workflow.playbook_id),
        "parameters": dict(workflow.parameters),
        "stages": [
            {
                "name": stage.name,
                "goal": stage.goal,
                "status": stage.status.value,
                "gate_status": stage.gate_status.value,
                "summary": stage.summary,
            }
            for stage in stages
        ],
        "task_uri": None if workflow.front_task_id is None else shown.task_uri(workflow.front_task_id),
        "output": workflow.output,
        "failure": workflow.failure,
        "created_at": shown.stamp(workflow.created_at),
        "updated_at": shown.stamp(workflow.updated_at),
    }
