"""Messages, artifacts and input requests: what is said, made and asked while a task is done."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator
from typing_extensions import TypedDict

from schemas import parts as content
from schemas.parts import base64_text
from schemas.v1.fields import Body, Id, Instant, Name, Object, Query, Replayable, UserSchema, answer
from schemas.vocabulary import InputKind, InputStatus

Role = Literal["agent", "user"]


def relative(path: str) -> str:
    """A path that may label an artifact.

    Raises:
        ValueError: it is absolute, or leads upwards.
    """
    if path.startswith("/") or "\\" in path or ".." in path.split("/"):
        raise ValueError("path is relative and has no '..'")
    return path


class MessageCreate(Replayable):
    """Say something in the task's conversation."""

    parts: content.Parts
    role: Role | None = None
    """Default: `agent` with a `lease_id`, else `user`."""
    lease_id: Id | None = None
    """Executors present their lease."""
    message_id: Name | None = None
    """Made by the hub when absent."""
    metadata: Object = {}
    final: bool = False
    """This message is the whole answer: A2A callers get a Message instead of a Task."""


class MessageQuery(Query):
    """Which messages to list, oldest first."""

    after: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Only messages with a greater `n`."""
    limit: Annotated[int, Field(ge=1, le=100)] = 100


@answer
class Message(TypedDict):
    """One message of a task's history."""

    id: str
    message_id: str
    task_id: Id
    n: int
    """The task's version at which it was said: history and events share one order."""
    role: str
    parts: list[content.PartFields]
    metadata: dict[str, Any]
    final: bool
    sender_id: Id
    created_at: Instant


class ArtifactFields(Body):
    """Something left: parts, or a file (`path` and `content_base64`). `append` lengthens what is there."""

    parts: content.Parts | None = None
    path: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    """A label; relative, without `..`."""
    content_base64: Annotated[str, AfterValidator(base64_text)] | None = None
    content_type: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None
    artifact_id: Name | None = None
    """Made by the hub when absent."""
    name: Name | None = None
    description: Annotated[str, StringConstraints(max_length=8000)] | None = None
    append: bool = False
    last_chunk: bool = True
    metadata: Object = {}

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        """Parts or a file, one of them.

        Raises:
            ValueError: both, neither, or a file without its content.
        """
        if (self.parts is None) == (self.content_base64 is None):
            raise ValueError("send either parts or content_base64")
        if self.content_base64 is not None and self.path is None:
            raise ValueError("content_base64 needs a path")
        relative(self.path or "")
        return self

    @property
    def whole_parts(self) -> list[content.Part]:
        """The content as parts; a file is one part with its bytes and name."""
        if self.parts is not None:
            return self.parts
        part: content.PartFields = {"raw": self.content_base64 or ""}
        if self.content_type is not None:
            part["media_type"] = self.content_type
        if self.path is not None:
            part["filename"] = self.path.rsplit("/", 1)[-1]
        return [part]


class ArtifactCreate(ArtifactFields, Replayable):
    """Leave something: parts, or a file (`path` and `content_base64`). `append` lengthens what is there."""

    lease_id: Id | None = None


class ArtifactItem(ArtifactFields):
    """An artifact or a chunk of one, among other things that are told together."""

    kind: Literal["artifact"]


class MessageItem(Body):
    """A message of the executor, among other things that are told together."""

    kind: Literal["message"]
    parts: content.Parts
    message_id: Name | None = None
    """Made by the hub when absent."""
    metadata: Object = {}
    final: bool = False
    """This message is the whole answer: A2A callers get a Message instead of a Task."""


class ProgressCreate(Replayable):
    """What an executor has gathered, in the order in which readers are to see it. All of it, or nothing."""

    lease_id: Id
    items: Annotated[
        list[Annotated[ArtifactItem | MessageItem, Field(discriminator="kind")]],
        Field(min_length=1, max_length=1000),
    ]


@answer
class ProgressReported(TypedDict):
    """What became of it."""

    version: int
    """The task's version that the last item took; each has one of its own."""
    ids: list[str]
    """The `artifact_id` or `message_id` of each item."""


class LeaseQuery(Query):
    """The executor's lease, where there is no body to put it in."""

    lease_id: Id | None = None


@answer
class Artifact(TypedDict):
    """Something that an executor made, as far as it has come."""

    id: str
    artifact_id: str
    task_id: Id
    name: str | None
    description: str | None
    logical_path: str | None
    content_type: str | None
    size_bytes: int
    complete: bool
    """Whether its last chunk came."""
    metadata: dict[str, Any]
    parts: list[content.PartFields]
    checksum_sha256: str | None
    """Of a content that came as a file, in hexadecimal."""
    download_url: str
    """Its content as bytes; relative to the hub's address."""
    preview_url: str
    permalink_url: str
    """Tells the absolute address of the content, which stays the same over changes."""
    preview_mode: Literal["text", "image", "pdf", "unsupported"]
    preview_eligible: bool
    created_at: Instant
    updated_at: Instant


@answer
class Permalink(TypedDict):
    """Where an artifact's content is, for as long as it is there."""

    url: str
    """Absolute. Whoever opens it needs a key that may see the task."""


class ContentQuery(LeaseQuery):
    """What is said of a file beside its bytes."""

    name: Name | None = None
    path: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    """A label; relative, without `..`."""

    @field_validator("path")
    @classmethod
    def _label(cls, value: str | None) -> str | None:
        """A path that leads nowhere.

        Raises:
            ValueError: it would.
        """
        return value if value is None else relative(value)


class InputAsk(Replayable):
    """Ask whoever submitted the task."""

    lease_id: Id
    kind: Annotated[InputKind, Field(strict=False)] = InputKind.INPUT
    parts: content.Parts
    """What is wanted."""
    answer_schema: Annotated[UserSchema | None, Field(alias="schema")] = None
    """JSON Schema of the answer's data."""
    hold: bool = False
    """Keep the lease while waiting (and renew it); else the attempt ends here."""


class InputAnswer(Replayable):
    """Answer what the task waits for."""

    parts: content.Parts | None = None
    data: Any = None
    """Any JSON value; checked against the request's schema."""
    input_id: Id | None = None
    """Default: the oldest open request."""
    message_id: Name | None = None
    metadata: Object = {}

    @model_validator(mode="after")
    def _some_answer(self) -> Self:
        """Parts, data or both.

        Raises:
            ValueError: neither was sent.
        """
        if self.parts is None and "data" not in self.model_fields_set:
            raise ValueError("send parts or data")
        return self


@answer
class InputRequest(TypedDict):
    """Something that an executor wants to know."""

    id: Id
    task_id: Id
    attempt: int
    kind: InputKind
    parts: list[content.PartFields]
    schema: dict[str, Any] | None
    status: InputStatus
    created_at: Instant
    answered_at: Instant | None
