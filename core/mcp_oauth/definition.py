"""How the hub comes to a token for one MCP server: the operator's words, and the secrets that go with them.

The two are kept apart from the first moment: a `Definition` may be read back, `Secrets` never are.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pydantic import TypeAdapter

from core.push import Seals
from core.sealing import Place
from core.store.tx import Tx
from schemas.oauth import CallbackMode, ClientStrategy, GrantType, ParMode, TokenAuthMethod


@dataclass(frozen=True)
class Enterprise:
    """The identity provider that vouches (ID-JAG)."""

    idp_token_endpoint: str
    idp_client_id: str
    subject_token_type: str = "urn:ietf:params:oauth:token-type:id_token"


@dataclass(frozen=True)
class Definition:
    """What an operator says, or a client profile. None and empty: what is discovered."""

    grant_type: GrantType = GrantType.AUTHORIZATION_CODE
    client_strategy: ClientStrategy = ClientStrategy.AUTO
    callback_mode: CallbackMode = CallbackMode.HOSTED_HTTPS
    token_endpoint_auth_method: TokenAuthMethod | None = None
    client_id: str | None = None
    issuer: str | None = None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    registration_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    resource_metadata_url: str | None = None
    server_metadata_url: str | None = None
    scopes: tuple[str, ...] = ()
    resource_indicators: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    par_mode: ParMode = ParMode.DISABLED
    enterprise: Enterprise | None = None

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Definition":
        """As it was kept."""
        return _DEFINITION.validate_python(dict(kept))

    def kept(self) -> dict[str, Any]:
        """As it is kept."""
        return dataclasses.asdict(self)

    def over(self, profile: "Definition | None") -> "Definition":
        """This one, completed by a profile where it says nothing. The client is the profile's."""
        if profile is None:
            return self
        said: dict[str, Any] = {name: getattr(self, name) or getattr(profile, name) for name in _COMPLETED}
        client: dict[str, Any] = {
            "client_id": profile.client_id,
            "token_endpoint_auth_method": profile.token_endpoint_auth_method,
            "client_strategy": ClientStrategy.MANUAL_CLIENT,
            "callback_mode": profile.callback_mode,
        }
        return dataclasses.replace(self, **said, **client)


_COMPLETED: Final = (
    "issuer", "authorization_endpoint", "token_endpoint", "registration_endpoint",
    "device_authorization_endpoint", "scopes", "resource_indicators", "audiences",
)  # fmt: skip
_DEFINITION: Final = TypeAdapter(Definition)


@dataclass(frozen=True)
class Secrets:
    """What is sealed, and opened only for a request. An empty one is not kept at all."""

    client_secret: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    """PEM, for `private_key_jwt`."""
    idp_client_secret: str | None = field(default=None, repr=False)
    subject_token: str | None = field(default=None, repr=False)
    """The identity token that the identity provider gave."""

    def over(self, kept: Self) -> Self:
        """These, completed by what is kept already."""
        said = {f.name: getattr(self, f.name) or getattr(kept, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **said)

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in dataclasses.fields(self))


_SECRETS: Final = TypeAdapter(Secrets)
NO_SECRETS: Final = Secrets()


def seal_secrets(tx: Tx, secrets: Secrets, place: Place) -> str | None:
    """Secrets as a row keeps them."""
    return tx.memory(Seals).sealer.seal(_SECRETS.dump_json(secrets).decode(), place) if secrets else None


def open_secrets(tx: Tx, sealed: str | None, place: Place) -> Secrets:
    """The secrets of a row.

    Raises:
        Unsealable: they cannot be opened any more.
    """
    if sealed is None:
        return NO_SECRETS
    return _SECRETS.validate_json(tx.memory(Seals).sealer.open(sealed, place).reveal())
