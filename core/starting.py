"""Starting what a schedule or a trigger declares, in the name of whoever made it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from core.errors import Invalid
from core.store.tx import Tx
from core.tasks.submit import SubmitTask, submit_within
from core.tasks.task import Policy
from core.workflows.create import CreateWorkflow, create_workflow
from schemas.starting import Start, TaskStart, WorkflowStart
from schemas.strict_json import dump_json
from schemas.templates import BadTemplate, Unfilled, fill

INPUT_MOST = 1024 * 1024
"""Bytes of what is started, filled in, as JSON."""


@dataclass(frozen=True)
class Started:
    """What was made: one of both."""

    task_id: UUID | None = None
    workflow_id: UUID | None = None


async def start(tx: Tx, action: Mapping[str, Any], values: Mapping[str, Any], owner_id: UUID) -> Started:
    """Fill in and start it. What was started can be claimed once the transaction is committed.

    Raises:
        Invalid: a template leads nowhere, or what comes of it is no task and no workflow.
        NotFound, Conflict, Invalid: as `submit` and `create_workflow`.
    """
    try:
        wanted = Start.model_validate(fill(action, values))
    except (Unfilled, BadTemplate) as error:
        raise Invalid(str(error), details={"reason_code": "template_unfilled"}) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise Invalid(f"{where}: {first['msg']}", details={"reason_code": "start_invalid"}) from error
    if len(dump_json(wanted.model_dump(mode="json"))) > INPUT_MOST:
        raise Invalid(f"what is to be started is larger than {INPUT_MOST} bytes")
    if wanted.task is not None:
        return Started(task_id=(await submit_within(tx, _task(wanted.task), owner_id)).id)
    assert wanted.workflow is not None, "the model wants one of both"
    return Started(workflow_id=(await create_workflow(tx, _workflow(wanted.workflow, owner_id))).id)


def _task(wanted: TaskStart) -> SubmitTask:
    policy = wanted.approval_policy
    return SubmitTask(
        title=wanted.title,
        description=wanted.description,
        type=wanted.type,
        priority=wanted.priority,
        role=wanted.role,
        input=wanted.input,
        context=wanted.context,
        metadata=wanted.metadata,
        required_tags=wanted.required_tags,
        required_tools=wanted.required_tools,
        policy=Policy(
            requires_approval=wanted.requires_approval,
            approval=None if policy is None else policy.model_dump(mode="json"),
            output_schema=wanted.output_schema,
            timeout_seconds=None if wanted.timeout_minutes is None else wanted.timeout_minutes * 60,
        ),
    )


def _workflow(wanted: WorkflowStart, owner_id: UUID) -> CreateWorkflow:
    return CreateWorkflow(
        UUID(wanted.playbook_id),
        UUID(wanted.workspace_id),
        wanted.name,
        parameters=wanted.parameters,
        inputs=wanted.inputs,
        metadata=wanted.metadata,
        created_by=owner_id,
    )
