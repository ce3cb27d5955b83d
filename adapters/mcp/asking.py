"""The tools of whoever wants something done: submit, follow, answer, cancel, decide, read."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from adapters.mcp import durable, shown, wire
from adapters.mcp.toolbox import Arguments, Bench, Instead, Key, Repeatable, Text, Wait, need, tool
from adapters.mcp.waiting import settled
from core import approval_queue, approvals, events
from core.tasks import artifacts, cancel, input, read, submit
from core.tasks.task import Policy
from schemas.parts import Parts
from schemas.vocabulary import ApprovalStatus, Priority, TaskState

Title = Annotated[str, Field(min_length=1, max_length=500)]
Remark = Annotated[str, Field(min_length=1, max_length=4_000)]
Page = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=1, le=100)]


class SubmitTask(Repeatable):
    """What is to be done."""

    title: Title
    """What is to be done, in one line."""
    input: Any = None
    """The task in detail: text, or any JSON value."""
    description: Annotated[str, Field(max_length=5_000)] | None = None
    priority: Priority = Priority.NORMAL
    required_tags: Annotated[list[Key], Field(max_length=64)] | None = None
    """Only agents with all of these tags may take it."""
    context_id: Key | None = None
    """The conversation that it belongs to; a new one when absent."""
    parent_id: UUID | None = None
    """The task that it is a part of."""
    depends_on: Annotated[list[UUID], Field(max_length=100)] = []
    """Tasks that must be completed first."""
    requires_approval: bool = False
    """Somebody must allow it before it begins."""
    output_schema: dict[str, Any] | None = None
    """JSON Schema of the output that you expect."""
    metadata: dict[str, Any] = {}
    wait_seconds: Wait = 0
    """Wait so long for it to end or to ask something; 0 returns at once."""


@tool("Submit a task", returns=shown.WholeTask)
async def submit_task(bench: Bench, asked: SubmitTask) -> shown.WholeTask:
    """Give the hub a task. An agent that is connected to it does the work. The task is durable: once this
    answers it will end, whatever crashes. Follow it with get_task, or wait with wait_seconds."""
    command = submit.SubmitTask(
        title=asked.title,
        input={"text": asked.input} if isinstance(asked.input, str) else asked.input,
        description=asked.description,
        priority=asked.priority,
        required_tags=asked.required_tags,
        context_id=asked.context_id,
        parent_id=asked.parent_id,
        depends_on=asked.depends_on,
        policy=Policy(requires_approval=asked.requires_approval, output_schema=asked.output_schema),
        metadata=asked.metadata,
    )
    view = await bench.platform.write(bench.caller, submit.submit_view, command)
    if not asked.wait_seconds:
        return shown.whole(view)
    if bench.call.modern and bench.call.supports(wire.TASKS):
        raise Instead(durable.created(view))
    return shown.whole(await settled(bench, bench.reader, view.task.id, asked.wait_seconds))


class GetTask(Arguments):
    """Which task."""

    task_id: UUID
    wait_seconds: Wait = 0
    """Wait so long for it to end or to ask something; 0 returns at once."""


@tool("Look at a task", returns=shown.WholeTask, read_only=True, idempotent=True)
async def get_task(bench: Bench, asked: GetTask) -> shown.WholeTask:
    """A task as it stands: its state, output, questions, approvals, artifacts and messages."""
    return shown.whole(await settled(bench, bench.reader, asked.task_id, asked.wait_seconds))


class ListTasks(Arguments):
    """Which tasks."""

    state: shown.State | None = None
    context_id: Key | None = None
    parent_id: UUID | None = None
    page: Page = 1
    per_page: Count = 20


class TaskPage(TypedDict):
    """A page of tasks, and how many there are in all."""

    tasks: list[shown.ShownTask]
    total: int


@tool("List tasks", returns=TaskPage, read_only=True, idempotent=True)
async def list_tasks(bench: Bench, asked: ListTasks) -> TaskPage:
    """The tasks that you may see, newest first."""
    query = read.ListTasks(
        states=() if asked.state is None else (TaskState.of_wire(asked.state),),
        context_id=asked.context_id,
        parent_id=asked.parent_id,
        page=asked.page,
        per_page=asked.per_page,
    )
    found = await bench.platform.read(bench.reader, read.list_tasks, query)
    return {"tasks": [shown.task(task) for task in found.items], "total": found.total}


class AnswerTask(Repeatable):
    """An answer: to a question as `text`, `data` or `parts`; to an approval as `option_id`."""

    task_id: UUID
    text: Text | None = None
    data: Any = None
    """An answer that fits the question's answer_schema."""
    parts: Parts | None = None
    input_id: UUID | None = None
    """Which question; the oldest open one when absent."""
    option_id: Key | None = None
    """Decides the task's pending approval instead."""


@tool("Answer a task", returns=shown.ShownTask)
async def answer_task(bench: Bench, asked: AnswerTask) -> shown.ShownTask:
    """Answer what a task asks: its open question, or with option_id its pending approval. Then it goes on."""
    given = [value is not None for value in (asked.text, asked.data, asked.parts, asked.option_id)]
    need(sum(given) == 1, "answer with exactly one of text, data, parts and option_id")
    if asked.option_id is not None:
        view = await bench.platform.read(bench.reader, read.view_task, read.GetTask(asked.task_id))
        need(len(view.approvals) == 1, "the task has no single pending approval: use decide_approval")
        decision = approvals.DecideApproval(view.approvals[0].id, option_id=asked.option_id)
        await bench.platform.write(bench.caller, approvals.decide, decision)
        task = await bench.platform.read(bench.reader, read.get_task, read.GetTask(asked.task_id))
        return shown.task(task)
    said: Any = asked.parts if asked.text is None else [{"text": asked.text}]
    command = input.AnswerInput(asked.task_id, parts=said, data=asked.data, input_id=asked.input_id)
    return shown.task(await bench.platform.write(bench.caller, input.answer_input, command))


class CancelTask(Repeatable):
    """Which task, and why."""

    task_id: UUID
    reason: Remark | None = None
    lease_id: UUID | None = None
    """Whoever does the task confirms with it that it has stopped."""


@tool("Cancel a task", returns=shown.ShownTask, destructive=True, idempotent=True)
async def cancel_task(bench: Bench, asked: CancelTask) -> shown.ShownTask:
    """End a task. Whoever does it is told, and what it still reports is refused."""
    command = cancel.CancelTask(asked.task_id, asked.reason, lease_id=asked.lease_id)
    return shown.task(await bench.platform.write(bench.caller, cancel.cancel, command))


class ListApprovals(Arguments):
    """Which approvals."""

    status: ApprovalStatus | None = ApprovalStatus.PENDING
    task_id: UUID | None = None
    page: Page = 1
    per_page: Count = 20


class ApprovalPage(TypedDict):
    """A page of approvals, and how many there are in all."""

    approvals: list[shown.ShownApproval]
    total: int


@tool("List approvals", returns=ApprovalPage, read_only=True, idempotent=True)
async def list_approvals(bench: Bench, asked: ListApprovals) -> ApprovalPage:
    """What somebody must allow; by default what is still pending."""
    query = approval_queue.ListApprovals(
        status=asked.status, task_id=asked.task_id, page=asked.page, per_page=asked.per_page
    )
    found = await bench.platform.read(bench.reader, approval_queue.list_approvals, query)
    return {"approvals": [shown.approval(item) for item in found.items], "total": found.total}


class DecideApproval(Repeatable):
    """Which approval, and one of its options or an action."""

    approval_id: UUID
    option_id: Key | None = None
    action: Literal["approve", "reject", "request_changes", "block"] | None = None
    feedback: Remark | None = None


@tool("Decide an approval", returns=shown.ShownApproval, destructive=True)
async def decide_approval(bench: Bench, asked: DecideApproval) -> shown.ShownApproval:
    """Allow something, or refuse it. The first decision stands. Whoever does the task decides nothing."""
    need((asked.option_id is None) != (asked.action is None), "decide with one of option_id and action")
    command = approvals.DecideApproval(asked.approval_id, asked.option_id, asked.action, asked.feedback)
    return shown.approval(await bench.platform.write(bench.caller, approvals.decide, command))


class ReadEvents(Arguments):
    """Which events. Without `after` the newest, newest first."""

    after: Annotated[int, Field(ge=0, le=2**53)] | None = None
    """Read on from the event with this id, oldest first."""
    task_id: UUID | None = None
    types: Annotated[list[Key], Field(max_length=32)] = []
    limit: Count = 20


class EventList(TypedDict):
    """Events, and where to read on."""

    events: list[shown.ShownEvent]
    has_more: bool
    next_after: int | None


@tool("Read events", returns=EventList, read_only=True, idempotent=True)
async def read_events(bench: Bench, asked: ReadEvents) -> EventList:
    """What happened, from the hub's log: every change of every task that you may see."""
    wanted = events.EventFilter(kinds=frozenset(asked.types), task_id=asked.task_id)
    query = events.ReadEvents(wanted, asked.after, None, asked.limit)
    page = await bench.platform.read(bench.reader, events.read_events, query)
    return {
        "events": [shown.event(event) for event in page.items],
        "has_more": page.has_more,
        "next_after": page.next_after,
    }


class ListArtifacts(Arguments):
    """Whose artifacts."""

    task_id: UUID


class ArtifactList(TypedDict):
    """Artifacts, without their content."""

    artifacts: list[shown.ShownArtifact]


@tool("List artifacts", returns=ArtifactList, read_only=True, idempotent=True)
async def list_artifacts(bench: Bench, asked: ListArtifacts) -> ArtifactList:
    """What a task has brought forth, in the order in which it came."""
    query = artifacts.ListArtifacts(asked.task_id)
    found = await bench.platform.read(bench.reader, artifacts.list_artifacts, query)
    return {"artifacts": [shown.artifact(item) for item in found]}


class GetArtifact(Arguments):
    """Which artifact."""

    task_id: UUID
    artifact_id: Key


@tool("Read an artifact", returns=shown.ShownArtifact, read_only=True, idempotent=True)
async def get_artifact(bench: Bench, asked: GetArtifact) -> shown.ShownArtifact:
    """One artifact with its content, as far as it has come."""
    query = artifacts.GetArtifact(asked.task_id, asked.artifact_id)
    found = await bench.platform.read(bench.reader, artifacts.get_artifact, query)
    return shown.artifact(found, with_parts=True)


TOOLS = (
    submit_task,
    get_task,
    list_tasks,
    answer_task,
    cancel_task,
    list_approvals,
    decide_approval,
    read_events,
    list_artifacts,
    get_artifact,
)
