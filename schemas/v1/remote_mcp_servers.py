"""MCP servers that the hub calls for others: what is given, and what is shown."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic.alias_generators import to_snake
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Object, Query, Remark, Replayable, Short, answer
from schemas.vocabulary import Health, VerificationStatus

Address = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Slug = Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Text = Annotated[str, StringConstraints(max_length=1000)]
Kind = Literal["mcp", "openapi", "hosted"]
TransportPreference = Literal["auto", "streamable_http", "http_sse_compat"]
AuthMode = Literal["none", "parameterized", "oauth"]
Pinning = Literal["strict", "changes", "off"]
Placement = Literal[
    "path", "query", "header", "cookie", "initialize_param", "environment", "authorize_request_query",
    "device_request_query", "device_request_header", "device_request_body_form", "device_request_body_json",
    "token_request_query", "token_request_header", "token_request_body_form", "token_request_body_json",
]  # fmt: skip
Timeout = Annotated[int, Field(ge=1, le=86_400)]
Reverify = Annotated[int, Field(ge=0, le=31 * 86_400)]
ItemState = Literal["active", "quarantined", "gone"]


class EitherCase(Replayable):
    """A body whose fields may be written in camelCase too."""

    @model_validator(mode="before")
    @classmethod
    def _in_snake_case(cls, given: Any) -> Any:
        return in_snake_case(cls, given)


def in_snake_case(cls: type[Body], given: Any) -> Any:
    """The fields of a body by their own names."""
    if not isinstance(given, dict):
        return given
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = to_snake(key) if isinstance(key, str) and to_snake(key) in cls.model_fields else key
        if name in found:
            raise ValueError(f"{name} is given twice")
        found[name] = value
    return found


class ParameterIn(Body):
    """A value that goes into every call. Secret ones are written only, and never read back."""

    id: Id | None = None
    """Of a stored parameter, whose value is kept when `value` is left out, or is the placeholder
    `redacted://remote-mcp-secret`."""
    placement: Placement
    key: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    value_kind: Literal["static", "secret"] = "static"
    value: Annotated[str, StringConstraints(max_length=16_384)] | None = Field(default=None, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _in_snake_case(cls, given: Any) -> Any:
        return in_snake_case(cls, given)


Parameters = Annotated[list[ParameterIn], Field(max_length=64)]


class RemoteMcpServerCreate(EitherCase):
    """A new server. It is looked at before anything is stored."""

    name: Short
    slug: Slug | None = None
    """What its tools are called by, `slug__tool`. Made from the name by default; it never changes."""
    description: Text | None = None
    kind: Literal["mcp", "openapi"] = "mcp"
    endpoint_url: Address | None = None
    """Where it answers, without query and fragment. `{key}` stands for a path parameter. An OpenAPI server
    needs it only where its document names no server."""
    document_url: Address | None = None
    """Of an OpenAPI document, instead of `document`."""
    document: Object | None = None
    """An OpenAPI document (3.0 or 3.1), whose operations become tools."""
    transport_preference: TransportPreference = "auto"
    call_timeout_seconds: Timeout = 300
    auth_mode: AuthMode = "none"
    pinning: Pinning = "strict"
    """Which definitions wait for approval when they differ from what was approved: new and changed ones,
    changed ones only, or none."""
    reverify_seconds: Reverify = 3600
    """How often it is verified by itself; 0 for never."""
    parameters: Parameters = []


class RemoteMcpServerPatch(EitherCase):
    """What is to be different. What was verified is verified again before it changes."""

    name: Short | None = None
    description: Text | None = None
    endpoint_url: Address | None = None
    document_url: Address | None = None
    document: Object | None = None
    transport_preference: TransportPreference | None = None
    call_timeout_seconds: Timeout | None = None
    auth_mode: AuthMode | None = None
    pinning: Pinning | None = None
    reverify_seconds: Reverify | None = None
    parameters: Parameters | None = None
    """All of them: they take the place of what was there."""
    is_archived: bool | None = None
    """An archived server is kept, and neither called nor verified."""


class RemoteMcpServerReverify(Replayable):
    """Nothing needs to be said."""


class ApprovalIn(Body):
    """A definition that is approved, as it was read."""

    id: Id
    definition_hash: Annotated[str, StringConstraints(min_length=64, max_length=64)]


class DefinitionsApprove(Replayable):
    """Which quarantined definitions may be shown and called from now on: all of these, or none."""

    items: Annotated[list[ApprovalIn], Field(min_length=1, max_length=1000)]
    comment: Remark | None = None


class RemoteMcpServerQuery(Query):
    """Which servers to list, newest first."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20
    is_archived: bool | None = None


@answer
class ParameterOut(TypedDict):
    """A value that goes into every call. `value` of a secret is the placeholder."""

    id: Id
    placement: Placement
    key: str
    value_kind: Literal["static", "secret"]
    value: str | None
    has_stored_secret: bool


@answer
class ToolOut(TypedDict):
    """A tool, as the server said it last. Only an `active` one is offered."""

    id: Id
    original_name: str
    title: str | None
    description: str | None
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    annotations: dict[str, Any] | None
    state: ItemState
    definition_hash: str
    flags: list[str]


@answer
class ResourceOut(TypedDict):
    """A resource, or a template of resources (`uri_template`)."""

    id: Id
    uri: str | None
    uri_template: str | None
    name: str | None
    title: str | None
    description: str | None
    mime_type: str | None
    annotations: dict[str, Any] | None
    state: ItemState
    definition_hash: str


@answer
class PromptOut(TypedDict):
    """A prompt."""

    id: Id
    original_name: str
    title: str | None
    description: str | None
    arguments: list[dict[str, Any]]
    state: ItemState
    definition_hash: str
    flags: list[str]


@answer
class CapabilitySummary(TypedDict):
    """How much a server offers."""

    tool_count: int
    resource_count: int
    resource_template_count: int
    prompt_count: int


@answer
class RemoteMcpServer(TypedDict):
    """A server that the hub calls for others."""

    id: Id
    tenant_id: Id
    name: str
    slug: str
    description: str | None
    kind: Kind
    endpoint_url: str
    document_url: str | None
    transport_preference: TransportPreference
    call_timeout_seconds: int
    auth_mode: AuthMode
    pinning: Pinning
    reverify_seconds: int
    is_archived: bool
    registered_by: Id
    worker_id: Id | None
    """The worker that hosts it."""
    verification_status: VerificationStatus
    verification_error: str | None
    verification_contract_version: Literal["remote-mcp-v1"]
    verified_transport: Literal["streamable_http", "http_sse_compat", "stdio", "openapi"] | None
    verified_era: Literal["modern", "legacy"] | None
    verified_version: str | None
    """The revision of MCP that is spoken with it."""
    supported_versions: list[str]
    verified_at: Instant | None
    next_verification_at: Instant | None
    verified_capability_summary: CapabilitySummary
    capabilities: dict[str, Any]
    server_info: dict[str, Any]
    instructions: str | None
    """As approved. Only when one server is read."""
    verification_warnings: list[str]
    """What was left out of the snapshot, and why."""
    discovered_tool_count: int
    discovered_resource_count: int
    discovered_prompt_count: int
    discovered_tools_snapshot: list[ToolOut] | None
    """Only when one server is read, as are the other snapshots."""
    discovered_resources_snapshot: list[ResourceOut] | None
    discovered_prompts_snapshot: list[PromptOut] | None
    quarantined_count: int | None
    health: Health
    health_error: str | None
    health_changed_at: Instant
    retry_at: Instant | None
    """Until when an unreachable server is not called."""
    oauth_needs_reauth: bool
    parameters: list[ParameterOut]
    revision: int
    created_at: Instant
    updated_at: Instant


@answer
class DifferenceOut(TypedDict):
    """How one thing differs from what was approved."""

    id: Id
    kind: Literal["tool", "resource", "template", "prompt", "instructions"]
    name: str
    change: Literal["new", "changed", "gone"]
    state: ItemState
    paths: list[str]
    """JSON pointers to what is not the same."""
    approved: dict[str, Any] | None
    approved_hash: str | None
    definition: dict[str, Any]
    """What the server said last."""
    definition_hash: str
    """To be repeated when it is approved."""
    flags: list[str]
    """What a reader should look at twice, as characters that do not show."""
    seen_at: Instant


@answer
class DriftReport(TypedDict):
    """How a server differs from what was approved."""

    server_id: Id
    slug: str
    verification_status: VerificationStatus
    verified_at: Instant | None
    quarantined_count: int
    gone_count: int
    items: list[DifferenceOut]
