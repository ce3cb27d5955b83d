"""What a playbook says: stages, the tasks that they are made of, gates, parameters.

The JSON Schema of `Definition` is published in `schemas/playbook.schema.json` and served by the hub. What
no schema can say is checked in `schemas/playbook_reading.py`.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schemas.approval_policy import ApprovalPolicy
from schemas.vocabulary import BackoffStrategy, Lifecycle, OnTaskFailure, Priority

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=80)]
TaskName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", max_length=80)]
Short = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Text = Annotated[str, StringConstraints(max_length=4000)]
Tags = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=255)]], Field(max_length=64)]

MAX_TASKS: Final = 5_000
"""Task templates of one playbook."""


class Piece(BaseModel):
    """A part of a definition: closed, so that a misspelt key is found."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Column(Piece):
    """One column of the board."""

    id: Slug
    label: Short
    description: Text | None = None
    is_blocked: bool = False
    is_terminal: bool = False


DEFAULT_COLUMNS: Final = (
    Column(id="inbox", label="Inbox"),
    Column(id="active", label="Active"),
    Column(id="blocked", label="Blocked", is_blocked=True),
    Column(id="done", label="Done", is_terminal=True),
)


class Board(Piece):
    """How the board is divided."""

    entry_column_id: Slug | None = None
    columns: Annotated[list[Column], Field(min_length=1, max_length=32)] = list(DEFAULT_COLUMNS)

    @property
    def entry(self) -> str:
        """Where new things stand."""
        return self.entry_column_id or self.columns[0].id


class Parameter(Piece):
    """Something that a workflow is told when it is made."""

    slug: Slug
    title: Short
    required: bool = False
    default: str | None = None
    """What it is when it is not given."""
    description: Text | None = None


class RetryPolicy(Piece):
    """When a failed attempt is tried again."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    backoff_strategy: BackoffStrategy = BackoffStrategy.EXPONENTIAL
    initial_backoff_seconds: Annotated[float, Field(ge=0, le=86_400)] = 5.0
    retryable_categories: Annotated[list[Short], Field(max_length=32)] = [
        "timeout",
        "transient_error",
        "resource_unavailable",
        "network_error",
        "infrastructure",
    ]


class FanOut(Piece):
    """One task for each item of a list."""

    over: str | list[Any]
    """The list, or a template that leads to it."""
    item: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=40)] = "item"
    """What the item is called in the task's templates; its place in the list is `index`."""
    max_parallel: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many of its tasks may be open at a time."""


class When(Piece):
    """The task is made only when the value is as it says; else it is skipped and counts as done."""

    value: Any
    equals: Any = None
    not_equals: Any = None


class TaskTemplate(Piece):
    """A task that the hub makes by itself, once everything it depends on is done.

    Its texts, input and context may hold templates: `parameters.<slug>`, `workflow.<id, name, …>`,
    `tasks.<name>.output` (of a fan-out `.outputs`, in order), and in a fan-out the item and `index`.
    """

    name: TaskName
    title: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None
    """By default its name."""
    description: Annotated[str, StringConstraints(max_length=5000)] | None = None
    role: Short | None = None
    type: Short = "custom"
    priority: Priority = Priority.NORMAL
    input: Any = None
    context: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    depends_on: Annotated[list[TaskName], Field(max_length=1000)] = []
    """Tasks of this stage or of an earlier one."""
    when: When | None = None
    fan_out: FanOut | None = None
    required_tags: Tags | None = None
    """Who may do it: agents that offer all of these, among them remote agents and MCP tools. Default: its
    role."""
    required_tools: Tags = []
    requires_approval: bool = False
    """Somebody must allow it before it starts."""
    approval_policy: ApprovalPolicy | None = None
    """How its approvals are decided: by whom, by how many, until when."""
    retry_policy: RetryPolicy | None = None
    timeout_minutes: Annotated[int, Field(ge=1, le=240)] | None = None
    output_schema: dict[str, Any] | None = None
    """JSON Schema of the output; one that does not fit waits for a judgement."""
    max_rework: Annotated[int, Field(ge=0, le=100)] = 10
    on_failure: OnTaskFailure | None = None
    """What its final failure means; by default what the playbook says."""
    deliverable: bool = False
    """Its output is a result of the workflow."""


class Gate(Piece):
    """The stage, once its tasks are done, waits for a decision."""

    summary: Text = ""
    recommendation: Text | None = None
    approval_policy: ApprovalPolicy | None = None
    """How it is decided: by whom, by how many, until when. With a form, what was answered is
    `gates.<stage>.answer` in the templates of later stages."""
    rework: Annotated[list[TaskName], Field(max_length=1000)] = []
    """What is done again when changes are requested, and then all that depends on it. Default: the tasks that
    depend on no other of the stage, and so all of it."""


class Stage(Piece):
    """One section of the way."""

    name: Short
    goal: Text = ""
    involves: Annotated[list[Short], Field(max_length=64)] = []
    """The roles that work in it; of none, all."""
    guidance: Text | None = None
    tasks: Annotated[list[TaskTemplate], Field(max_length=MAX_TASKS)] = []
    gate: Gate | None = None


class Orchestrator(Piece):
    """Who steers, if it is not the hub itself, and how much may go on at once."""

    instructions: Annotated[str, StringConstraints(max_length=20_000)] | None = None
    """With instructions an orchestrating agent advances the stages; without, the hub does."""
    tools: Annotated[list[Short], Field(max_length=64)] = []
    max_rework_iterations: Annotated[int, Field(ge=0, le=1000)] | None = None
    max_iterations: Annotated[int, Field(ge=1, le=100_000)] | None = None
    llm_max_retries: Annotated[int, Field(ge=0, le=100)] | None = None
    max_active_tasks: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many tasks of the workflow may be open at a time."""
    max_active_tasks_per_work_item: Annotated[int, Field(ge=1, le=10_000)] | None = None
    allow_parallel_work_items: bool = True


DEFAULT_STAGE: Final = Stage(name="work", goal="Do the work.")


class Definition(Piece):
    """A playbook's definition."""

    lifecycle: Lifecycle | None = None
    """`planned` ends with its last stage; `ongoing` never ends by itself and has no gates."""
    outcome: Text | None = None
    process_instructions: Annotated[str, StringConstraints(max_length=12_000)] | None = None
    roles: Annotated[list[Short], Field(max_length=64)] = []
    board: Board = Board()
    stages: Annotated[list[Stage], Field(min_length=1, max_length=64)] = [DEFAULT_STAGE]
    parameters: Annotated[list[Parameter], Field(max_length=64)] = []
    orchestrator: Orchestrator = Orchestrator()
    on_task_failure: OnTaskFailure = OnTaskFailure.FAIL_WORKFLOW
    """What the final failure of a task means, unless the task says otherwise."""
    output: Any = None
    """What the workflow comes to: JSON with templates, filled in when it is completed."""
    config: Any = None
    """Kept for orchestrators, never read."""
    config_policy: Any = None
    """Kept, never read."""
    default_instruction_config: Any = None
    """Kept, never read."""

    @property
    def orchestrated(self) -> bool:
        """Whether an agent steers, and not the hub itself."""
        return bool(self.orchestrator.instructions)

    @property
    def templates(self) -> Iterator[tuple[Stage, TaskTemplate]]:
        """Every task template with its stage, in order."""
        return ((stage, task) for stage in self.stages for task in stage.tasks)


def json_schema() -> dict[str, Any]:
    """The published JSON Schema."""
    schema = Definition.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Crossdock playbook",
    }
