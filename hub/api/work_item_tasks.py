"""What is done to a task under the path of its work item: the very operations of `/tasks/{id}/…`."""

from collections.abc import Mapping
from typing import Any

from core.work_items.tasks import LinkedTask, check_linked
from hub.api import escalation, review, task_surroundings
from hub.api.call import Answer, Call
from hub.api.routing import Route, route, routes_of
from schemas.v1 import tasks as v1_tasks

_PATH = "/workflows/{id}/work-items/{work_item_id}/tasks/{task_id}"
_OPERATIONS = (
    "cancel",
    "retry",
    "approve",
    "approve-output",
    "reject",
    "rework",
    "request-changes",
    "skip",
    "reassign",
    "escalate",
    "escalation-response",
    "agent-escalate",
    "resolve-escalation",
    "output-override",
)


def _same() -> Mapping[str, Route]:
    """The routes of the operations on a task, by their names."""
    found = {
        item.path.removeprefix("/tasks/{id}/"): item
        for module in (review, escalation, task_surroundings)
        for item in routes_of(module)
        if item.method == "POST"
    }
    return {name: found[name] for name in _OPERATIONS}


_SAME = _same()


async def task_operation(call: Call, body: Any) -> Answer:
    """As the same operation on `/tasks/{id}`. The task must be one of the work item's."""
    task_id = call.ids["task_id"]
    await call.read(check_linked, LinkedTask(call.id, call.ids["work_item_id"], task_id))
    name = call.scope["path"].rsplit("/", 1)[-1]
    about = call.about(task_id)
    answer = await _SAME[name].handler(about, body)
    call.replayed = about.replayed
    return answer


for _name, _item in _SAME.items():
    assert _item.body is not None
    assert _item.scope is not None
    route(
        "POST",
        f"{_PATH}/{_name}",
        scope=_item.scope,
        body=_item.body,
        returns=v1_tasks.Task,
        errors=_item.errors,
        summary=f"{_item.summary}, under its work item",
        operation_id=f"work_items_{_item.operation_id}",
        example=_item.example,
    )(task_operation)
