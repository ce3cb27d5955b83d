"""The tools of an agent that does the work: claim, keep the lease, say, leave, ask, complete, fail."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from adapters.mcp import shown
from adapters.mcp.asking import Remark
from adapters.mcp.toolbox import Arguments, Bench, Key, Repeatable, Text, need, tool
from core.tasks import artifacts, claim, input, lease, messages, report
from schemas.parts import Parts
from schemas.vocabulary import InputKind

Seconds = Annotated[int, Field(ge=5, le=3600)]
LongPoll = Annotated[int, Field(ge=0, le=30)]


class ClaimTask(Repeatable):
    """Who wants work, and what it can do."""

    agent_id: UUID | None = None
    """For which agent; your own when your key is an agent's."""
    tags: Annotated[list[Key], Field(max_length=64)] = []
    """Tags that you offer beside those that the agent registered."""
    lease_seconds: Seconds = 300
    """How long you have until you must renew the lease."""
    wait_seconds: LongPoll = 0
    """Wait so long for work."""


class Claim(TypedDict):
    """The task that you now do, or null when there is no work."""

    task: shown.ClaimedTask | None


@tool("Take work", returns=Claim)
async def claim_task(bench: Bench, asked: ClaimTask) -> Claim:
    """Take the next task that fits you, and start it. Keep its lease_id: everything you report needs it."""
    caller = bench.caller
    agent_id = asked.agent_id or (caller.principal_id if caller.owner_type == "agent" else None)
    need(agent_id is not None, "agent_id is needed: your key is not an agent's")
    assert agent_id is not None
    command = claim.ClaimTasks(
        agent_id,
        routing_tags=asked.tags,
        start=True,
        lease_seconds=asked.lease_seconds,
        include_context=True,
    )
    if asked.wait_seconds:
        with bench.config.waits.taken_by(caller.principal_id):
            claims = await claim.claim_waiting(bench.platform, caller, command, asked.wait_seconds)
    else:
        claims = await bench.platform.write(caller, claim.claim, command)
    if not claims.items:
        return {"task": None}
    taken = claims.items[0]
    return {
        "task": {
            **shown.task(taken.task),
            "lease_id": str(taken.lease_id),
            "lease_expires_at": shown.stamp(taken.lease_expires_at),
            "messages": [shown.message(said) for said in taken.messages],
        }
    }


class RenewLease(Arguments):
    """Which lease."""

    task_id: UUID
    lease_id: UUID
    extend_seconds: Seconds | None = None
    """From now; by default as long as the claim asked for."""


@tool("Keep a lease", returns=shown.ShownLease, idempotent=True)
async def renew_lease(bench: Bench, asked: RenewLease) -> shown.ShownLease:
    """Keep the task that you do, and learn whether you should stop."""
    command = lease.RenewLease(asked.task_id, asked.lease_id, asked.extend_seconds)
    return shown.lease(await bench.platform.write(bench.reader, lease.renew, command))


class AddMessage(Repeatable):
    """What is said, as `text` or as `parts`."""

    task_id: UUID
    text: Text | None = None
    parts: Parts | None = None
    lease_id: UUID | None = None
    """You speak as the agent with it, and as whoever asked for the task without it."""


@tool("Say something", returns=shown.ShownMessage)
async def add_message(bench: Bench, asked: AddMessage) -> shown.ShownMessage:
    """Add a message to a task: progress of the agent that does it, or a remark of whoever asked for it."""
    parts = _content(asked.text, asked.parts)
    role = "user" if asked.lease_id is None else "agent"
    command = messages.AddMessage(asked.task_id, parts, role=role, lease_id=asked.lease_id)
    return shown.message(await bench.platform.write(bench.caller, messages.add_message, command))


class PutArtifact(Repeatable):
    """An artifact, as `text` or as `parts`."""

    task_id: UUID
    lease_id: UUID
    text: Text | None = None
    parts: Parts | None = None
    artifact_id: Key | None = None
    """Replaces the artifact of that id; a new one when absent."""
    name: Key | None = None
    description: Remark | None = None
    content_type: Key | None = None
    append: bool = False
    """Add to the artifact instead of replacing it."""
    last_chunk: bool = True


@tool("Leave an artifact", returns=shown.ShownArtifact)
async def put_artifact(bench: Bench, asked: PutArtifact) -> shown.ShownArtifact:
    """Leave something that the task brings forth: a file, a document, data. Whole, or in chunks."""
    command = artifacts.PutArtifact(
        asked.task_id,
        _content(asked.text, asked.parts),
        artifact_id=asked.artifact_id,
        name=asked.name,
        description=asked.description,
        content_type=asked.content_type,
        append=asked.append,
        last_chunk=asked.last_chunk,
        lease_id=asked.lease_id,
    )
    return shown.artifact(await bench.platform.write(bench.caller, artifacts.put_artifact, command))


class RequestInput(Repeatable):
    """What you need to know."""

    task_id: UUID
    lease_id: UUID
    text: Text
    answer_schema: dict[str, Any] | None = None
    """JSON Schema that the answer must fit."""


@tool("Ask for input", returns=shown.ShownTask)
async def request_input(bench: Bench, asked: RequestInput) -> shown.ShownTask:
    """Ask whoever wants the task. Your lease ends; the answer puts the task back into the queue, for you
    first."""
    command = input.RequestInput(
        asked.task_id,
        asked.lease_id,
        [{"text": asked.text}],
        kind=InputKind.INPUT,
        schema=asked.answer_schema,
    )
    return shown.task((await bench.platform.write(bench.caller, input.request_input, command)).task)


class CompleteTask(Repeatable):
    """The result."""

    task_id: UUID
    lease_id: UUID
    output: Any = None
    """Text, or any JSON value."""


@tool("Complete a task", returns=shown.ShownTask, idempotent=True)
async def complete_task(bench: Bench, asked: CompleteTask) -> shown.ShownTask:
    """Hand in the result of the task that you do. An equal one again changes nothing."""
    output = {"text": asked.output} if isinstance(asked.output, str) else asked.output
    command = report.CompleteTask(asked.task_id, output=output, lease_id=asked.lease_id)
    return shown.task(await bench.platform.write(bench.caller, report.complete, command))


class FailTask(Repeatable):
    """Why it failed."""

    task_id: UUID
    lease_id: UUID
    message: Remark
    category: Annotated[str, Field(min_length=1, max_length=120)] = "executor_error"
    """Retried when the task's policy lists it, for example network_error or timeout."""
    recoverable: bool = True


@tool("Report a failure", returns=shown.ShownTask, idempotent=True)
async def fail_task(bench: Bench, asked: FailTask) -> shown.ShownTask:
    """Say that you could not do the task. It is tried again when its policy says so, else it has failed."""
    error = report.ReportedError(asked.category, asked.message, asked.recoverable)
    command = report.FailTask(asked.task_id, error, lease_id=asked.lease_id)
    return shown.task(await bench.platform.write(bench.caller, report.fail, command))


def _content(text: str | None, parts: Any) -> Any:
    need((text is None) != (parts is None), "send one of text and parts")
    return parts if text is None else [{"text": text}]


TOOLS = (
    claim_task,
    renew_lease,
    add_message,
    put_artifact,
    request_input,
    complete_task,
    fail_task,
)
