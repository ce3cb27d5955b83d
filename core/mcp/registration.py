"""What may be asked of the registry, and what cannot: bad slugs, and secrets that would go elsewhere."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from core.errors import Invalid
from core.mcp.parameters import GivenParameter
from core.mcp.records import McpServer
from core.mcp.words import AuthMode, Pinning, ServerKind, TransportPreference, ValueKind

SLUG: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MOST_SLUG: Final = 32
RESERVED: Final = frozenset({"crossdock"})
REVERIFY_SECONDS: Final = 3600


@dataclass(frozen=True)
class RegisterServer:
    """A new server. `slug` of None is made from the name."""

    name: str
    endpoint_url: str
    kind: ServerKind = ServerKind.MCP
    slug: str | None = None
    description: str | None = None
    transport_preference: TransportPreference = TransportPreference.AUTO
    call_timeout_seconds: int = 300
    auth_mode: AuthMode = AuthMode.NONE
    pinning: Pinning = Pinning.STRICT
    reverify_seconds: int | None = REVERIFY_SECONDS
    parameters: Sequence[GivenParameter] = ()
    document_url: str | None = None
    document: Mapping[str, Any] | None = None
    worker_id: UUID | None = None


@dataclass(frozen=True)
class ChangeServer:
    """What is to be different. None leaves a member as it is."""

    server_id: UUID
    name: str | None = None
    endpoint_url: str | None = None
    description: str | None = None
    transport_preference: TransportPreference | None = None
    call_timeout_seconds: int | None = None
    auth_mode: AuthMode | None = None
    pinning: Pinning | None = None
    reverify_seconds: int | None = None
    parameters: Sequence[GivenParameter] | None = None
    document_url: str | None = None
    document: Mapping[str, Any] | None = None
    is_archived: bool | None = None

    @property
    def verifies(self) -> bool:
        """Whether it changes what was verified."""
        wanted = (
            self.endpoint_url, self.transport_preference, self.auth_mode, self.parameters, self.document,
            self.document_url,
        )  # fmt: skip
        return any(value is not None for value in wanted) or self.is_archived is False


def slug_of(name: str) -> str:
    """A slug that is made from a name."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain[:MOST_SLUG].strip("-")


def check_slug(slug: str) -> None:
    """Pass only what tools can be called by.

    Raises:
        Invalid: it is no slug, or the hub's own.
    """
    if not SLUG.fullmatch(slug) or len(slug) > MOST_SLUG or slug in RESERVED:
        raise Invalid(
            f"{slug!r} cannot be a slug: up to {MOST_SLUG} of a-z, 0-9 and single hyphens, not crossdock",
            details={"reason_code": "bad_slug"},
            hint="give one in the field slug",
        )


def check_secrets_stay(known: McpServer, wanted: ChangeServer) -> None:
    """A stored secret goes only to the origin that it was given for.

    Raises:
        Invalid: it would go elsewhere.
    """
    if wanted.endpoint_url is None or origin_of(wanted.endpoint_url) == origin_of(known.endpoint_url):
        return
    secret = {one.id for one in known.parameters if one.value_kind is ValueKind.SECRET}
    given = wanted.parameters
    kept = secret if given is None else {one.parameter_id for one in given if one.keeps} & {*secret}
    if kept:
        raise Invalid(
            "its endpoint has another origin now: give the parameters again, with their secrets",
            details={"reason_code": "secrets_needed"},
        )


def origin_of(url: str) -> tuple[str, str]:
    """Scheme and authority of a URL, for comparison."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()
