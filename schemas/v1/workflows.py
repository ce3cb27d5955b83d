"""What is said to workflows: how one is made, steered and decided, and what belongs to it."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from schemas.v1.fields import Body, Id, Name, Object, Query, Remark, Replayable, Short
from schemas.v1.workflow_records import Visibility
from schemas.vocabulary import (
    OnTaskFailure,
    PauseMode,
    WorkflowState,
)

Parameters = Annotated[
    dict[
        Annotated[str, StringConstraints(max_length=80)], Annotated[str, StringConstraints(max_length=20_000)]
    ],
    Field(max_length=64),
]
_Failure = Annotated[OnTaskFailure, Field(strict=False)]
_Tokens = Annotated[int, Field(ge=0, le=10**15)]
_Money = Annotated[float, Field(ge=0, le=1e12)]
_Minutes = Annotated[float, Field(ge=0, le=1e9)]


class InputFile(Body):
    """A file that comes with the first input: a reference, not its content."""

    file_name: Name
    content_type: Name | None = None
    url: Annotated[str, StringConstraints(max_length=2048)] | None = None
    description: Annotated[str, StringConstraints(max_length=2000)] | None = None


class InputPacket(Body):
    """What a workflow is given to begin with. In templates: `inputs.<name>`."""

    summary: Annotated[str, StringConstraints(max_length=20_000)] | None = None
    structured_inputs: Object = {}
    files: Annotated[list[InputFile], Field(max_length=25)] = []


class Budget(Body):
    """What it may use. Advisory: the hub warns, and stops nothing."""

    token_budget: _Tokens | None = None
    cost_cap_usd: _Money | None = None
    max_duration_minutes: _Minutes | None = None


class WorkflowCreate(Replayable):
    """A workflow from a playbook."""

    playbook_id: Id
    workspace_id: Id
    name: Name
    operator_note: Remark | None = None
    initial_input_packet: InputPacket = InputPacket()
    parameters: Parameters = {}
    metadata: Object = {}
    context: Object = {}
    config_overrides: Object | None = None
    """Kept, never read."""
    instruction_config: Object | None = None
    """Kept, never read."""
    budget: Budget = Budget()
    live_visibility_mode: Visibility = "standard"
    on_task_failure: _Failure | None = None
    """Default: what the playbook says."""


class PauseRequest(Replayable):
    """Hold a workflow."""

    mode: Annotated[PauseMode, Field(strict=False)] = PauseMode.DRAIN
    """`drain` finishes what is being done, `interrupt` takes it back."""


class ResumeRequest(Replayable):
    """Nothing needs to be said."""


class WorkflowCancel(Replayable):
    """Stop a workflow."""

    reason: Remark | None = None


class RedriveRequest(Replayable):
    """Another attempt of a workflow that is over."""

    name: Name | None = None
    reason: Remark | None = None
    summary: Remark | None = None
    steering_instruction: Remark | None = None
    inheritance_policy: Literal["inherit_all", "inherit_none"] = "inherit_all"
    """Whether what was completed counts, or everything is done again."""
    parameters: Parameters | None = None
    structured_inputs: Object | None = None
    files: Annotated[list[InputFile], Field(max_length=25)] | None = None


class ChainRequest(Replayable):
    """A child of a workflow."""

    playbook_id: Id
    name: Name | None = None
    parameters: Parameters = {}


class BulkDelete(Replayable):
    """Remove many workflows."""

    workflow_ids: Annotated[list[Id], Field(min_length=1, max_length=10_000)]


class SettingsPatch(Replayable):
    """Change the settings as they were read."""

    settings_revision: Annotated[int, Field(ge=1, le=10**9)]
    live_visibility_mode: Visibility | None = None


class GateDecision(Replayable):
    """Decide a gate. The first decision stands."""

    action: Literal["approve", "reject", "request_changes", "block"]
    feedback: Remark | None = None
    """Needed for all but `approve`."""
    data: Any = None
    """The answer to the gate's form."""


class DocumentFields(Replayable):
    """What a document may say."""

    scope: Literal["workspace", "workflow"] = "workflow"
    title: Remark | None = None
    description: Annotated[str, StringConstraints(max_length=8000)] | None = None
    metadata: Object = {}
    repository: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = None
    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    task_id: Id | None = None
    artifact_id: Name | None = None
    logical_path: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = None


class DocumentCreate(DocumentFields):
    """Name a document."""

    logical_name: Name
    source: Literal["repository", "artifact", "external"]
    """Says what else is needed: `repository` and `path`, `url`, or `task_id` and `artifact_id`."""


class DocumentPatch(DocumentFields):
    """What is to be different. A field that is not sent stays."""

    source: Literal["repository", "artifact", "external"] | None = None


class ActivationCreate(Replayable):
    """Wake a workflow's orchestrator."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    event_type: Short
    payload: Object = {}


class WorkflowQuery(Query):
    """Which workflows to list, newest first."""

    workspace_id: Id | None = None
    state: WorkflowState | None = None
    playbook_id: Id | None = None
    parent_workflow_id: Id | None = None
    before: Id | None = None
    """Only older ones: the last id of the page before. Costs the same however far back, unlike `page`."""
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20
