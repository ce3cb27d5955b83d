"""Signing keys: by which the hub signs the cards of its agents."""

from typing import Any

from typing_extensions import TypedDict

from schemas.v1.fields import Id, Instant, Replayable, answer


class SigningKeyCreate(Replayable):
    """Nothing needs to be said."""


@answer
class SigningKey(TypedDict):
    """A key, without its private half."""

    id: Id
    kid: str
    """What signatures and the key set call it: its thumbprint (RFC 7638)."""
    algorithm: str
    public_key: dict[str, Any]
    """As a JWK."""
    is_active: bool
    """Whether it signs, and is published at `/.well-known/jwks.json`."""
    created_at: Instant
    retired_at: Instant | None
