"""Remote A2A agents: agents that work elsewhere, registered by their card."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from typing_extensions import TypedDict

from schemas.v1.fields import Body, Id, Instant, Name, Object, Query, Replayable, Tags, answer
from schemas.vocabulary import Health, VerificationStatus


def _public_key(key: dict[str, Any]) -> dict[str, Any]:
    if key.get("kty") not in ("EC", "OKP", "RSA") or "d" in key:
        raise ValueError("should be a public key: kty EC, OKP or RSA, and no private member")
    return key


Address = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Origins = Annotated[list[Address], Field(max_length=16)]
Keys = Annotated[list[Annotated[Object, AfterValidator(_public_key)]], Field(max_length=16)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Secret = Annotated[SecretStr, Field(strict=False, min_length=1, max_length=8192)]


class NoAuth(Body):
    """The agent lets anybody in."""

    kind: Literal["none"] = "none"


class ApiKeyAuth(Body):
    """An API key. Where it goes, the card says, unless it is said here."""

    kind: Literal["api_key"]
    key: Secret
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    location: Literal["header", "query", "cookie"] | None = None


class BearerAuth(Body):
    """A bearer token."""

    kind: Literal["bearer"]
    token: Secret


class ClientCredentialsAuth(Body):
    """A token that the hub fetches by OAuth client credentials, and renews."""

    kind: Literal["client_credentials"]
    client_id: Text
    client_secret: Secret
    token_url: Address | None = None
    """By default what the card says."""
    scopes: Annotated[list[Text], Field(max_length=64)] = []
    audience: Text | None = None
    resource: Text | None = None
    method: Literal["basic", "post"] = "basic"
    """How the client proves itself: in the `Authorization` header, or in the form."""


Auth = Annotated[NoAuth | ApiKeyAuth | BearerAuth | ClientCredentialsAuth, Field(discriminator="kind")]
Places = Annotated[int, Field(ge=1, le=1000)]


class RemoteAgentCreate(Replayable):
    """A new remote agent. Its card is fetched and judged before anything is stored."""

    card_url: Address
    """Of the agent card. An address without a path means the well-known one there."""
    name: Name | None = None
    """By default what the card says."""
    auth: Auth = NoAuth()
    """How the hub proves who it is. Written only: it is never read back."""
    routing_tags: Tags = []
    """What it offers; tasks ask for tags."""
    max_concurrent: Places = 8
    """How many tasks it may have at a time."""
    approved_origins: Origins = []
    """Where its endpoints may be, beside the card's own origin."""
    trusted_keys: Keys = []
    """Public keys (JWK), one of which must have signed the card. Without any, a signature is checked by the
    keys that it names itself."""
    accepts_untagged: bool | None = None
    """Whether it gets tasks that ask for no tag. By default only when it offers none itself."""
    is_active: bool = True


class RemoteAgentPatch(Replayable):
    """What is to be different. A new card, origin, key or credential is verified first."""

    card_url: Address | None = None
    name: Name | None = None
    auth: Auth | None = None
    routing_tags: Tags | None = None
    max_concurrent: Places | None = None
    approved_origins: Origins | None = None
    trusted_keys: Keys | None = None
    accepts_untagged: bool | None = None
    is_active: bool | None = None


class RemoteAgentReverify(Replayable):
    """Nothing needs to be said."""


class RemoteAgentQuery(Query):
    """Which remote agents to list, newest first."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=100)] = 20


@answer
class AuthOut(TypedDict):
    """How the hub proves who it is, without the secret."""

    kind: Literal["none", "api_key", "bearer", "client_credentials"]
    has_secret: bool
    name: str | None
    location: str | None
    client_id: str | None
    token_url: str | None
    scopes: list[str]
    audience: str | None
    resource: str | None
    method: str | None


@answer
class InterfaceOut(TypedDict):
    """The interface of the card that the hub calls."""

    url: str
    binding: str
    version: str
    tenant: str | None
    streaming: bool
    idempotent: bool
    """Whether the agent recognises a repeated send. One that does not is never sent anything twice."""


@answer
class RemoteAgent(TypedDict):
    """A remote agent."""

    id: Id
    agent_id: Id
    """The agent that its tasks are routed and leased to; the same id."""
    tenant_id: Id
    name: str
    card_url: str
    card: dict[str, Any]
    """The card as it was when it was last verified."""
    card_digest: str
    """SHA-256 of its canonical form."""
    signature: Literal["none", "valid", "unknown"]
    interface: InterfaceOut
    auth: AuthOut
    routing_tags: list[str]
    max_concurrent: int
    accepts_untagged: bool
    approved_origins: list[str]
    trusted_keys: list[dict[str, Any]]
    is_active: bool
    verification_status: VerificationStatus
    verification_error: str | None
    verified_at: Instant | None
    health: Health
    health_error: str | None
    health_changed_at: Instant
    created_at: Instant
    updated_at: Instant
