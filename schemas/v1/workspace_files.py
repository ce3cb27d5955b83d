"""Files of workspaces, and the artifacts that came of their tasks."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Moment, Name, Query, Replayable, answer

MediaType = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9.+_-]+/[A-Za-z0-9.+_-]+( ?;[ -~]{0,200})?$", max_length=255)
]
FileName = Annotated[str, StringConstraints(pattern=r"^[^/\\\x00-\x1f]+$", min_length=1, max_length=255)]
Described = Annotated[str, StringConstraints(max_length=2000)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class FileFields(Body):
    """A file, in base64."""

    key: Name | None = None
    """What it is called in the workspace; its name when absent. What has the key is replaced."""
    description: Described | None = None
    file_name: FileName
    content_base64: Annotated[str, StringConstraints(max_length=14_680_064)]
    content_type: MediaType = "application/octet-stream"


class FilePut(FileFields, Replayable):
    """A file for a workspace, of at most 10 MiB."""


class FileBatch(Replayable):
    """Files for a workspace, of at most 10 MiB together."""

    files: Annotated[list[FileFields], Field(min_length=1, max_length=10)]


class ArtifactQuery(Query):
    """Which artifacts."""

    q: Label | None = None
    """In the name, the path, the description or the id."""
    workflow_id: Id | None = None
    work_item_id: Id | None = None
    task_id: Id | None = None
    stage_name: Label | None = None
    role: Label | None = None
    content_type: Label | None = None
    preview_mode: Literal["text", "image", "pdf", "unsupported"] | None = None
    created_from: Moment | None = None
    created_to: Moment | None = None
    sort: Literal["created_at", "name", "size_bytes"] = "created_at"
    order: Literal["asc", "desc"] = "desc"
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


@answer
class WorkspaceFile(TypedDict):
    """A file of a workspace."""

    id: Id
    workspace_id: Id
    key: str
    description: str | None
    file_name: str
    content_type: str
    size_bytes: int
    checksum_sha256: str
    download_url: str
    created_at: Instant


@answer
class WorkspaceArtifact(TypedDict):
    """An artifact, and the task that it came of."""

    id: str
    task_id: Id
    task_title: str
    workflow_id: Id | None
    work_item_id: Id | None
    workspace_id: Id
    stage_name: str | None
    role: str | None
    name: str | None
    description: str | None
    logical_path: str | None
    content_type: str | None
    size_bytes: int
    checksum_sha256: str | None
    download_url: str
    preview_url: str
    preview_mode: str
    created_at: Instant
    updated_at: Instant
