"""The words of OAuth as the hub speaks it towards the MCP servers that it calls: each once."""

from enum import StrEnum


class GrantType(StrEnum):
    """How the hub comes to a token."""

    AUTHORIZATION_CODE = "authorization_code"
    """A person consents in a browser (RFC 6749 §4.1, with PKCE)."""
    DEVICE_AUTHORIZATION = "device_authorization"
    """A person consents on another device, with a code (RFC 8628)."""
    CLIENT_CREDENTIALS = "client_credentials"
    """The hub acts for itself (RFC 6749 §4.4)."""
    ENTERPRISE_MANAGED_AUTHORIZATION = "enterprise_managed_authorization"
    """The enterprise's identity provider vouches for a person (ID-JAG: RFC 8693, then RFC 7523)."""

    @property
    def interactive(self) -> bool:
        """Whether a person has to consent."""
        return self in (GrantType.AUTHORIZATION_CODE, GrantType.DEVICE_AUTHORIZATION)


class ClientStrategy(StrEnum):
    """How the hub is known to an authorization server."""

    AUTO = "auto"
    """What was given, else the document, else registration: the first that is possible."""
    DYNAMIC_REGISTRATION = "dynamic_registration"
    CLIENT_METADATA_DOCUMENT = "client_metadata_document"
    MANUAL_CLIENT = "manual_client"


class CallbackMode(StrEnum):
    """Where a browser is sent after consent."""

    HOSTED_HTTPS = "hosted_https"
    """To the hub itself."""
    LOOPBACK = "loopback"
    """To a port of the person's own machine; where it ended is handed to the hub afterwards."""


class TokenAuthMethod(StrEnum):
    """How the client proves itself at the token endpoint."""

    NONE = "none"
    CLIENT_SECRET_POST = "client_secret_post"
    CLIENT_SECRET_BASIC = "client_secret_basic"
    PRIVATE_KEY_JWT = "private_key_jwt"


class ParMode(StrEnum):
    """Whether the authorization request is pushed first (RFC 9126)."""

    DISABLED = "disabled"
    ENABLED = "enabled"
    """Where the server offers it."""
    REQUIRED = "required"


class ConnectionState(StrEnum):
    """Whether the hub has a credential for a server. `core/mcp_oauth/states.py` says how it moves."""

    DISCONNECTED = "disconnected"
    CONNECTED = "connected"
    NEEDS_REAUTH = "needs_reauth"
    """It had one, and that is not accepted any more."""


class FlowKind(StrEnum):
    """Who has to do something in a flow, and where."""

    BROWSER = "browser"
    DEVICE = "device"
    DIRECT = "direct"
    """Nobody."""


class FlowState(StrEnum):
    """How far the way to a token is. `core/mcp_oauth/states.py` says how it moves."""

    PREPARING = "preparing"
    """Discovery, registration, and what follows from them."""
    WAITING = "waiting"
    """For a person."""
    EXCHANGING = "exchanging"
    """A code was received, and is turned into a token."""
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether it is over."""
        return self not in (FlowState.PREPARING, FlowState.WAITING, FlowState.EXCHANGING)
