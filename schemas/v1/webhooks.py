"""Webhooks: who outside is told of what happens, and the record of what was told."""

import base64
import binascii
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Csv, Id, Instant, Query, Replayable, answer
from schemas.vocabulary import DeliveryState

EventPattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.*]{1,100}$")]
"""A type of event, such as `task.created`, or a pattern, such as `task.*`."""


def _whsec(secret: SecretStr) -> SecretStr:
    """A secret of Standard Webhooks.

    Raises:
        ValueError: it is none.
    """
    text = secret.get_secret_value()
    try:
        size = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
    except binascii.Error:
        size = 0
    if not text.startswith("whsec_") or not 24 <= size <= 64:
        raise ValueError("should be whsec_ and 24 to 64 bytes in base64")
    return secret


Whsec = Annotated[SecretStr, Field(strict=False), AfterValidator(_whsec)]


class WebhookFilters(Body):
    """What the events must be about; all of it."""

    workspace_id: Id | None = None
    workflow_id: Id | None = None


class WebhookCreate(Replayable):
    """A new webhook."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    """https, and no address of a private network, unless the operator lets the hub call it."""
    event_types: Annotated[list[EventPattern], Field(min_length=1, max_length=50)] = ["*"]
    filters: WebhookFilters = WebhookFilters()
    secret: Whsec | None = None
    """Signs what is sent. Made by the hub when absent, and shown this once."""
    description: Annotated[str, StringConstraints(max_length=2000)] | None = None
    is_active: bool = True


class WebhookPatch(Replayable):
    """What changes. A new secret signs beside the one before it for 24 hours."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    event_types: Annotated[list[EventPattern], Field(min_length=1, max_length=50)] | None = None
    filters: WebhookFilters | None = None
    secret: Whsec | None = None
    rotate_secret: bool = False
    """Let the hub make a new secret, which is shown this once."""
    description: Annotated[str, StringConstraints(max_length=2000)] | None = None
    is_active: bool | None = None


class DeliveryQuery(Query):
    """Which deliveries to list, newest first."""

    status: Csv[DeliveryState] | None = None
    before: Id | None = None
    """The last one of the page before."""
    limit: Annotated[int, Field(ge=1, le=100)] = 50


@answer
class Webhook(TypedDict):
    """Who outside is told of what."""

    id: Id
    url: str
    event_types: list[str]
    filters: dict[str, Any]
    secret: str | None
    """Only in the answer to the call that set it."""
    description: str | None
    is_active: bool
    disabled: str | None
    """Why nothing new comes: `gone` when the receiver answered 410, `overflow` when too much waited."""
    created_at: Instant
    updated_at: Instant


@answer
class Delivery(TypedDict):
    """One event on its way, or its fate."""

    id: Id
    """The `webhook-id` of all its attempts."""
    event_id: int
    entity_id: Id
    status: str
    attempt: int
    """How often it was tried."""
    response_status: int | None
    error: str | None
    next_attempt_at: Instant | None
    created_at: Instant
    attempted_at: Instant | None
    settled_at: Instant | None
