"""Playbooks and roles."""

from typing import Annotated, Any

from pydantic import AliasChoices, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Id, Instant, Name, Object, Replayable, answer
from schemas.vocabulary import Lifecycle

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=80)]
Outcome = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Described = Annotated[str, StringConstraints(max_length=4000)]
_Lifecycle = Annotated[Lifecycle, Field(strict=False)]
RoleName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Words = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=255)]], Field(max_length=256)
]
Depth = Annotated[int, Field(ge=1, le=10)]


class PlaybookCreate(Replayable):
    """A new playbook."""

    name: Name
    outcome: Outcome
    """What is so when it is done."""
    slug: Slug | None = None
    """Default: made of the name."""
    description: Described | None = None
    lifecycle: _Lifecycle | None = None
    """Default: what the definition says, else `planned`."""
    definition: Object | None = None
    """As `GET /schemas/playbook` says. Default: one stage, to which tasks are posted by hand."""


class PlaybookPatch(Replayable):
    """What the next version says differently."""

    name: Name | None = None
    outcome: Outcome | None = None
    slug: Slug | None = None
    description: Described | None = None
    lifecycle: _Lifecycle | None = None
    definition: Object | None = None


class PlaybookArchive(Replayable):
    """Out of use, or back."""

    archived: bool


class RoleFields(Replayable):
    """What a role may say. The names of the reference, in camel case, are taken as well."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    description: Described | None = None
    system_prompt: Annotated[str, StringConstraints(max_length=100_000)] | None = Field(
        default=None, validation_alias=AliasChoices("system_prompt", "systemPrompt")
    )
    allowed_tools: Words | None = Field(
        default=None, validation_alias=AliasChoices("allowed_tools", "allowedTools")
    )
    mcp_server_ids: Words | None = Field(
        default=None, validation_alias=AliasChoices("mcp_server_ids", "mcpServerIds")
    )
    """The MCP servers whose tools it may call, by id or name."""
    verification_strategy: Name | None = Field(
        default=None, validation_alias=AliasChoices("verification_strategy", "verificationStrategy")
    )
    escalation_target: RoleName | None = Field(
        default=None, validation_alias=AliasChoices("escalation_target", "escalationTarget")
    )
    """Another role, or `human`."""
    max_escalation_depth: Depth | None = Field(
        default=None, validation_alias=AliasChoices("max_escalation_depth", "maxEscalationDepth")
    )
    is_active: bool | None = Field(default=None, validation_alias=AliasChoices("is_active", "isActive"))


class RoleCreate(RoleFields):
    """A new role."""

    name: RoleName


class RolePut(RoleFields):
    """What is to be different about a role. A field that is not sent stays as it is."""

    name: RoleName | None = None


@answer
class Playbook(TypedDict):
    """One version of a playbook."""

    id: Id
    tenant_id: Id
    slug: str
    version: int
    name: str
    description: str | None
    outcome: str
    lifecycle: Lifecycle
    definition: dict[str, Any]
    is_active: bool
    """Whether it is the version in use."""
    archived_at: Instant | None
    created_at: Instant
    updated_at: Instant


@answer
class Role(TypedDict):
    """A role."""

    id: Id
    tenant_id: Id
    name: str
    description: str | None
    system_prompt: str | None
    allowed_tools: list[str]
    mcp_server_ids: list[str]
    verification_strategy: str | None
    escalation_target: str | None
    max_escalation_depth: int
    is_active: bool
    version: int
    created_at: Instant
    updated_at: Instant
