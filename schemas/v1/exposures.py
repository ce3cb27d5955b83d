"""Exposures: agents, roles and playbooks that callers over A2A address by a name of their own."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Name, Query, Replayable, Short, Tag, Title, answer


def _no_id(slug: str) -> str:
    try:
        UUID(slug)
    except ValueError:
        return slug
    raise ValueError("should not be a UUID: where a slug may stand, a UUID means a tenant")


Slug = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), AfterValidator(_no_id)
]
"""Part of an address: lower-case letters, digits, and dashes between them."""
Said = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
_TYPE = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
MediaType = Annotated[str, StringConstraints(pattern=rf"^{_TYPE}/{_TYPE}$", min_length=3, max_length=255)]
Extension = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:[!-+\--~]+$", max_length=255)]
"""The URI of an extension, without the commas that separate them in a header."""
Extensions = Annotated[list[Extension], Field(max_length=16)]
Modes = Annotated[list[MediaType], Field(min_length=1, max_length=32)]


class AgentTarget(Body):
    """One agent. When it is removed, its exposures end with it."""

    kind: Literal["agent"]
    id: Id


class RoleTarget(Body):
    """Whoever offers the routing tag `role:<name>`."""

    kind: Literal["role"]
    name: Short


class PlaybookTarget(Body):
    """A playbook, in the version in use: each task that is sent to it runs as a workflow of the workspace."""

    kind: Literal["playbook"]
    name: Short
    """Its slug."""
    workspace_id: Id


Target = Annotated[AgentTarget | RoleTarget | PlaybookTarget, Field(discriminator="kind")]


class Skill(Body):
    """Something that the agent can do, as its card tells it."""

    id: Short
    name: Short
    description: Said
    tags: Annotated[list[Tag], Field(min_length=1, max_length=32)]
    examples: Annotated[list[Title], Field(max_length=16)] = []


Skills = Annotated[list[Skill], Field(max_length=64)]


class ExposureCreate(Replayable):
    """A new exposure. Its card and its endpoints are below `/agents/{slug}` at once."""

    slug: Slug
    target: Target
    name: Name | None = None
    """By default the name of the agent, the role or the playbook."""
    description: Said | None = None
    skills: Skills = []
    """Without any, the card has one that says what name and description say."""
    input_modes: Modes = ["text/plain", "application/json"]
    """Media types of what may be sent; parts of other types are refused."""
    output_modes: Modes = ["text/plain", "application/json"]
    required_extensions: Extensions = []
    """A call over A2A that does not activate all of these is refused; the card says so."""
    is_active: bool = True
    """Whether it can be addressed. One that cannot looks as if it were not there."""


class ExposurePatch(Replayable):
    """What is to be different. The slug stays: it is an address."""

    target: Target | None = None
    name: Name | None = None
    description: Said | None = None
    skills: Skills | None = None
    input_modes: Modes | None = None
    output_modes: Modes | None = None
    required_extensions: Extensions | None = None
    is_active: bool | None = None


class ExposureQuery(Query):
    """Which exposures to list, newest first."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


@answer
class TargetOut(TypedDict):
    """Who does the work."""

    kind: Literal["agent", "role", "playbook"]
    id: Id | None
    """Of the agent."""
    name: str | None
    """Of the role, or the slug of the playbook."""
    workspace_id: Id | None
    """Where the playbook runs."""


@answer
class SkillOut(TypedDict):
    """Something that the agent can do."""

    id: str
    name: str
    description: str
    tags: list[str]
    examples: list[str]


@answer
class Exposure(TypedDict):
    """An exposed agent, role or playbook."""

    id: Id
    tenant_id: Id
    slug: str
    target: TargetOut
    name: str
    description: str
    skills: list[SkillOut]
    input_modes: list[str]
    output_modes: list[str]
    required_extensions: list[str]
    is_active: bool
    url: str
    """Where it is reached over A2A."""
    card_url: str
    created_at: Instant
    updated_at: Instant
