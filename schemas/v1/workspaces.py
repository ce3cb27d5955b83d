"""Workspaces, their memory, spec and files, and the tags of tools."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Name, Object, Query, Replayable, answer

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=255)]
Described = Annotated[str, StringConstraints(max_length=2000)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Words = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=255)]], Field(max_length=256)
]


def _address(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in ("http", "https", "ssh", "git") or not rest:
        raise ValueError("should be a URL: http, https, ssh or git")
    return text


Address = Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(_address)]
StorageType = Literal["git_remote", "host_directory", "workspace_artifacts"]


class Storage(Body):
    """Where a workspace's files lie."""

    repository_url: Address | None = None
    default_branch: Word | None = None
    git_user_name: Name | None = None
    git_user_email: Name | None = None
    host_path: Annotated[str, StringConstraints(max_length=4096)] | None = None
    read_only: bool = False


class Credentials(Body):
    """Written only: it is never read back."""

    git_token: Annotated[SecretStr, Field(strict=False, min_length=1, max_length=8192)] | None = None


class Settings(Body):
    """A workspace's settings."""

    workspace_storage_type: StorageType = "workspace_artifacts"
    workspace_storage: Storage = Storage()
    credentials: Credentials = Credentials()
    workspace_brief: Annotated[str, StringConstraints(max_length=20_000)] | None = None


class WorkspaceCreate(Replayable):
    """A new workspace."""

    name: Name
    slug: Slug
    description: Described | None = None
    repository_url: Address | None = None
    settings: Settings = Settings()
    memory: Object = {}


class WorkspacePatch(Replayable):
    """What is to be different. `settings` and `memory` are replaced as a whole."""

    name: Name | None = None
    slug: Slug | None = None
    description: Described | None = None
    repository_url: Address | None = None
    settings: Settings | None = None
    memory: Object | None = None
    is_active: bool | None = None


class MemoryPatch(Replayable):
    """One key of the memory."""

    key: Key
    value: Any = None


class Tools(Body):
    """Which tools a workspace has, and which it does not want used."""

    available: Words = []
    blocked: Words = []


class SpecPut(Replayable):
    """The next version of what a workspace offers."""

    resources: Object = {}
    documents: Object = {}
    tools: Tools = Tools()
    config: Object = {}
    instructions: Object = {}


class WorkspaceQuery(Query):
    """Which workspaces to list, newest first."""

    q: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    """In the name or the slug."""
    is_active: bool | None = None
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


class RemoveQuery(Query):
    """How to remove it."""

    cascade: bool = False
    """With the workflows that are over."""


class SpecQuery(Query):
    """Which version."""

    version: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


class ResourceQuery(Query):
    """Which resources."""

    type: Word | None = None


class ToolCreate(Replayable):
    """A new tool tag."""

    id: Word
    name: Name
    description: Described | None = None
    category: Word | None = None


class ToolPatch(Replayable):
    """What is to be different."""

    name: Name | None = None
    description: Described | None = None
    category: Word | None = None


@answer
class Workspace(TypedDict):
    """A workspace, without its secrets."""

    id: Id
    tenant_id: Id
    name: str
    slug: str
    description: str | None
    repository_url: str | None
    settings: dict[str, Any]
    has_git_token: bool
    git_webhook_provider: str | None
    memory: dict[str, Any]
    memory_size_bytes: int
    memory_max_bytes: int
    current_spec_version: int
    is_active: bool
    created_at: Instant
    updated_at: Instant


@answer
class Deleted(TypedDict):
    """What is gone."""

    id: Id
    deleted: bool


@answer
class Spec(TypedDict):
    """One version of what a workspace offers."""

    workspace_id: Id
    version: int
    resources: dict[str, Any]
    documents: dict[str, Any]
    tools: dict[str, Any]
    config: dict[str, Any]
    instructions: dict[str, Any]
    created_at: Instant


@answer
class Resource(TypedDict):
    """A resource of the spec."""

    name: str
    type: str | None
    spec: Any


@answer
class WorkspaceTools(TypedDict):
    """The tools of the spec."""

    available: list[str]
    blocked: list[str]


@answer
class Tool(TypedDict):
    """A tool tag."""

    id: str
    name: str
    description: str | None
    category: str | None
    created_at: Instant
    updated_at: Instant
