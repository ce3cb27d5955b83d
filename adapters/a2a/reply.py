"""A message to a task that exists: one command, made of core's, in one transaction.

It answers what is open, in this order: a question of the executor, an approval that the sender may decide.
What decides nothing is heard all the same: it joins the task's history. An answer of hitl/v1 names what it
answers, and is refused when that is not open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from adapters.a2a import hitl, translate
from core.approvals import Approval, DecideApproval, decide
from core.errors import Forbidden, Invalid, InvalidTransition
from core.push import Notify, PutConfig, put_config
from core.store.tx import Tx
from core.tasks.input import AnswerInput, answer_input
from core.tasks.messages import AddMessage, add_message
from core.tasks.read import GetTask, view_task
from core.tasks.task import Part, TaskView
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
    response: hitl.Response | None = None
    """What it answers in the words of hitl/v1."""


@dataclass(frozen=True)
class Heard:
    """The task that was answered."""

    task_id: UUID


async def reply(tx: Tx, command: Reply) -> Heard:
    """Answer a task.

    Raises:
        NotFound: no such task, or not the caller's.
        Invalid: the context is not the task's, or the response answers nothing that is open.
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
    if command.response is not None:
        await _respond(tx, command, command.response, view)
        return Heard(task.id)
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
    await _hear(tx, command)
    for approval in translate.decidable(view.approvals, task, tx.caller):
        decision = translate.decision(command.parts, approval)
        if decision is not None:
            await decide(tx, decision)
            break
    return Heard(task.id)


async def _hear(tx: Tx, command: Reply) -> None:
    await add_message(
        tx,
        AddMessage(
            command.task_id,
            command.parts,
            role="user",
            message_id=command.message_id,
            metadata=command.metadata,
        ),
    )


async def _respond(tx: Tx, command: Reply, response: hitl.Response, view: TaskView) -> None:
    if isinstance(response, hitl.Answers):
        await _answer(tx, command, response, view)
        return
    open_now = {str(a.id): a for a in translate.decidable(view.approvals, view.task, tx.caller)}
    others = {str(a.id) for a in view.approvals} - open_now.keys()
    if any(verdict.id in others for verdict in response.verdicts):
        raise Forbidden("this approval is not yours to decide", details={"reason_code": "not_a_decider"})
    unknown = [verdict.id for verdict in response.verdicts if verdict.id not in open_now]
    if unknown:
        raise _not_open(f"approvals: {unknown[0][:60]!r} does not wait for a decision")
    await _hear(tx, command)
    for verdict in response.verdicts:
        await decide(tx, _decision(open_now[verdict.id], verdict))


async def _answer(tx: Tx, command: Reply, response: hitl.Answers, view: TaskView) -> None:
    asked = next((request for request in view.inputs if str(request.id) == response.id), None)
    if asked is None:
        raise _not_open(f"id: {response.id[:60]!r} does not wait for an answer")
    value = hitl.value_of(response, asked.schema)
    # What the client wrote beside it is for eyes: an executor that reads the message reads the answer.
    part = {"text": value} if isinstance(value, str) else {"data": value, "media_type": "application/json"}
    await answer_input(
        tx,
        AnswerInput(
            command.task_id,
            parts=[part],
            data=value,
            input_id=asked.id,
            message_id=command.message_id,
            message_metadata=command.metadata,
        ),
    )


def _decision(approval: Approval, verdict: hitl.Verdict) -> DecideApproval:
    """One decision holds for one call, so an option for this once comes before one for always."""
    action, kind = ("approve", "allow_once") if verdict.approved else ("reject", "reject_once")
    for option in approval.options:
        if option.get("kind") == kind:
            return DecideApproval(approval.id, option_id=option["id"], feedback=verdict.reason)
    return DecideApproval(approval.id, action=action, feedback=verdict.reason)


def _not_open(problem: str) -> Invalid:
    return Invalid(
        f"The response of hitl/v1 answers nothing that is open: {problem}.",
        details={"issues": {"fieldErrors": {"message.metadata": [problem]}}},
    )
