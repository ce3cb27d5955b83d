"""Credentials: exchanging a key for tokens, and the keys themselves."""

from typing import Annotated, Literal, NotRequired

from pydantic import AliasChoices, Field, SecretStr
from typing_extensions import TypedDict

from schemas.v1.fields import Body, IdText, Instant, Moment, Name, Replayable, answer
from schemas.vocabulary import Scope

OwnerType = Literal["user", "agent", "worker", "system", "service"]


class TokenRequest(Body):
    """Exchange an API key for tokens."""

    api_key: Annotated[
        SecretStr,
        Field(min_length=1, max_length=512, validation_alias=AliasChoices("api_key", "apiKey"), repr=False),
    ]
    """The key. Also taken as `apiKey`."""
    persistent_session: bool = True
    """For cookies: whether they outlive the browser's window."""


@answer
class Renewed(TypedDict):
    """A fresh access token."""

    token: str
    """Send it as `Authorization: Bearer`. It works for an hour at most, and no longer than its key."""
    expires_at: Instant
    refresh_expires_at: Instant
    refresh_token: NotRequired[str]
    """Works once, at `POST /auth/refresh`. Absent when it was set as a cookie."""


@answer
class Granted(Renewed):
    """Tokens that stand for a key."""

    scope: Scope
    tenant_id: IdText


@answer
class Me(TypedDict):
    """Who the credential says you are."""

    authenticated: Literal[True]
    scope: Scope
    tenant_id: IdText
    principal_id: IdText
    """Whatever you make belongs to it; an agent's or worker's is its own id."""
    owner_type: OwnerType
    owner_id: str | None
    key_id: IdText | None


@answer
class LoggedOut(TypedDict):
    """The session is over."""

    logged_out: Literal[True]


class KeyCreate(Replayable):
    """Mint an API key."""

    scope: Annotated[Scope, Field(strict=False)]
    owner_type: OwnerType = "user"
    """`user` for whoever submits work; `agent` or `worker` for one that is registered."""
    owner_id: Name | None = None
    """Free text for a user: the same id is the same owner. An agent's or a worker's id otherwise."""
    label: Name | None = None
    expires_at: Moment | None = None
    """Without one it never expires."""


@answer
class NewKey(TypedDict):
    """A key that was just made."""

    id: IdText
    api_key: NotRequired[str]
    """Shown this once; a repeated call does not show it again."""
    key_prefix: str


@answer
class Key(TypedDict):
    """An API key, without its text."""

    id: IdText
    tenant_id: IdText
    scope: Scope
    principal_id: IdText
    owner_type: OwnerType
    owner_id: str | None
    label: str | None
    key_prefix: str
    """Safe to show."""
    last_used_at: Instant | None
    """To the minute."""
    expires_at: Instant | None
    is_revoked: bool
    revoked_at: Instant | None
    created_at: Instant


@answer
class Revoked(TypedDict):
    """The key is over, and every token that stands for it."""

    id: IdText
    revoked: Literal[True]
