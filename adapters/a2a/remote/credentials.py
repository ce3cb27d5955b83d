"""How the hub proves to a remote agent who it is: not at all, by an API key, by a bearer token, or by a token
that it fetches with OAuth client credentials (RFC 6749 §4.4). Secrets leave here only inside requests.
"""

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from adapters.a2a.remote.failures import NotSent, Unauthorized, failure_of
from adapters.outbound import TOKEN, Outbound, OutboundError
from core.sealing import Secret
from schemas.strict_json import InvalidJson, parse_json

EARLY: Final = 30.0
"""Seconds before its end in which a token is not used any more."""
_UNTOLD: Final = 300.0
"""How long a token is used whose end the server does not tell."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request carries."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


class Credentials:
    """The credential of the hub at one remote agent. A fetched token is kept in memory, and shared."""

    def __init__(
        self,
        outbound: Outbound,
        auth: Mapping[str, Any],
        secret: Secret | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbound = outbound
        self._auth = auth
        self._secret = secret
        self._monotonic = monotonic
        self._token: Secret | None = None
        self._until = 0.0
        self._fetching = asyncio.Lock()

    @property
    def renewable(self) -> bool:
        """Whether another token may be had."""
        return bool(self._auth["kind"] == "client_credentials")

    async def proof(self) -> Proof:
        """What the next request carries.

        Raises:
            NotSent: the token could not be fetched now.
            Unauthorized: the authorization server refuses the hub.
        """
        kind = self._auth["kind"]
        if kind == "none" or self._secret is None:
            return Proof()
        secret = self._secret.reveal()
        if kind == "bearer":
            return Proof({"Authorization": f"Bearer {secret}"})
        if kind == "api_key":
            return self._key(secret)
        return Proof({"Authorization": f"Bearer {(await self._fetched()).reveal()}"})

    def forget(self) -> None:
        """The token was refused: fetch another."""
        self._token = None

    def _key(self, secret: str) -> Proof:
        name = self._auth["name"]
        match self._auth["location"]:
            case "query":
                return Proof(query={name: secret})
            case "cookie":
                return Proof({"Cookie": f"{name}={secret}"})
            case _:
                return Proof({name: secret})

    async def _fetched(self) -> Secret:
        async with self._fetching:
            if self._token is None or self._monotonic() >= self._until:
                self._token, lasts = await self._fetch()
                self._until = self._monotonic() + lasts
            return self._token

    async def _fetch(self) -> tuple[Secret, float]:
        assert self._secret is not None, "client credentials have a secret"
        auth, secret = self._auth, self._secret.reveal()
        form = {"grant_type": "client_credentials"}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if auth.get("scopes"):
            form["scope"] = " ".join(auth["scopes"])
        for name in ("audience", "resource"):
            if auth.get(name):
                form[name] = auth[name]
        if auth.get("method") == "post":
            form |= {"client_id": auth["client_id"], "client_secret": secret}
        else:  # RFC 6749 §2.3.1: both are form-encoded before they are joined
            pair = f"{quote_plus(auth['client_id'])}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        try:
            answer = await self._outbound.fetch(
                "POST", auth["token_url"], purpose=TOKEN, headers=headers, data=urlencode(form).encode()
            )
        except OutboundError as error:
            raise NotSent(f"no token: {failure_of(error)}") from error
        if answer.status in (400, 401, 403):
            raise Unauthorized("the authorization server refuses the hub's client credentials")
        if answer.status != 200:
            raise NotSent(f"no token: the authorization server answered HTTP {answer.status}")
        try:
            told = parse_json(answer.body)
        except InvalidJson as error:
            raise NotSent("no token: the authorization server answered with no JSON") from error
        token = told.get("access_token") if type(told) is dict else None
        if type(token) is not str or not token or not _is_bearer(told):
            raise NotSent("no token: the authorization server answered without a bearer token")
        lasts = told.get("expires_in")
        seconds = float(lasts) if type(lasts) in (int, float) and lasts > 0 else _UNTOLD
        return Secret(token), max(seconds - EARLY, min(seconds, 1.0))


def _is_bearer(told: Mapping[str, Any]) -> bool:
    said = told.get("token_type", "Bearer")
    return type(said) is str and said.lower() == "bearer"
