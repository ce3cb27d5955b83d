"""A message to a task that exists: one command, made of core's, in one transaction.

It answers what is open, in this order: a question of the executor, an approval that the sender may decide.
What decides nothing is heard all the same: it joins the task's history.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from adapters.a2a import translate
from core.approvals import decide
from core.errors import Invalid, InvalidTransition
from core.push import Notify, PutConfig, put_config
from core.store.tx import Tx
from core.tasks.input import AnswerInput, answer_input
from core.tasks.messages import AddMessage, add_message
from core.tasks.read import GetTask, view_task
from core.tasks.task import Part
from core.transitions import FINAL


@dataclass(frozen=True)
class Reply:
    """What is said, to which task. `context_id`, where given, must be the task's."""

    task_id: UUID
    context_id: str | None
    message_id: str
    parts: Sequence[Part]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notify: Notify | None = None
    """Who is to be told from now on."""


@dataclass(frozen=True)
class Heard:
    """The task that was answered."""

    task_id: UUID


async def reply(tx: Tx, command: Reply) -> Heard:
    """Answer a task.

    Raises:
        NotFound: no such task, or not the caller's.
        Invalid: the context is not the task's.
        InvalidTransition: the task is final; a new message in its context goes on from there.
        Unprocessable: the answer does not fit the schema that was asked for.
        Conflict: the task has as many push configurations as it may.
    """
    view = await view_task(tx, GetTask(command.task_id))
    task = view.task
    if command.context_id is not None and command.context_id != task.context_id:
        problem = "is not the context of this task"
        raise Invalid(
            f"message.contextId {problem}",
            details={"issues": {"fieldErrors": {"message.contextId": [problem]}}},
        )
    if task.state in FINAL:
        raise InvalidTransition(
            f"The task is {task.state.wire} and takes no more messages; "
            "send a new one with its contextId and without taskId."
        )
    if command.notify is not None:
        await put_config(tx, PutConfig(task.id, command.notify))
    if view.inputs:
        await answer_input(
            tx,
            AnswerInput(
                task.id,
                parts=command.parts,
                input_id=view.inputs[0].id,
                message_id=command.message_id,
                message_metadata=command.metadata,
            ),
        )
        return Heard(task.id)
    await add_message(
        tx,
        AddMessage(
            task.id,
            command.parts,
            role="user",
            message_id=command.message_id,
            metadata=command.metadata,
        ),
    )
    for approval in translate.decidable(view.approvals, task, tx.caller):
        decision = translate.decision(command.parts, approval)
        if decision is not None:
            await decide(tx, decision)
            break
    return Heard(task.id)
