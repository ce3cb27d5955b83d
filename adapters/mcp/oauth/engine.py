"""Takes the steps of a flow, from discovery to the token. All that it knows of one is in the database, so any
replica goes on where another stopped. It decides nothing about who may.
"""

import logging
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any, Final
from uuid import UUID

from adapters.mcp.oauth.clients import Clients, Identity
from adapters.mcp.oauth.discovery import Discovered, Discovery
from adapters.mcp.oauth.documents import Server
from adapters.mcp.oauth.failures import OAuthFailure, Refused
from adapters.mcp.oauth.tokens import NO_EXTRAS, Endpoints, Extras, Proof, proven, seconds_of, with_query
from adapters.mcp.oauth.unattended import Unattended, about
from adapters.outbound import Outbound
from core.caller import SYSTEM, Caller
from core.errors import Conflict, HubError
from core.mcp_oauth.connection_records import Granted, ServerId
from core.mcp_oauth.connections import KeepClient, disconnect, keep_client
from core.mcp_oauth.flow_records import Flow, FlowId, get_flow
from core.mcp_oauth.flows import (
    Begin,
    Complete,
    Fail,
    Later,
    Received,
    TakenFlow,
    Wait,
    begin,
    cancel_flows,
    complete,
    fail,
    later,
    received,
    take_flow,
    wait,
)
from core.mcp_oauth.opened import OpenConnection, open_connection
from core.platform import Platform
from schemas.oauth import FlowKind, FlowState, ParMode

DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_AGAIN: Final = 5.0
"""Seconds until a step that found nobody is taken again."""
_log = logging.getLogger(__name__)

Connected = Callable[[UUID, UUID], Awaitable[None]]
"""Told tenant and server once there is a new credential."""


@dataclass(frozen=True)
class RequestExtras:
    """What an operator adds to requests, by where it goes."""

    authorize: Sequence[tuple[str, str]] = ()
    device: Extras = NO_EXTRAS
    token: Extras = NO_EXTRAS


ExtrasOf = Callable[[UUID, UUID], Awaitable[RequestExtras]]


async def no_extras(tenant_id: UUID, server_id: UUID) -> RequestExtras:
    """Nothing is added."""
    return RequestExtras()


async def nobody(tenant_id: UUID, server_id: UUID) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class OAuthConfig:
    """What `hub/app.py` decides."""

    identity: Identity
    extras: ExtrasOf = no_extras
    connected: Connected = nobody


class OAuthEngine:
    """The steps. One for a hub; it keeps nothing between them."""

    def __init__(self, platform: Platform, outbound: Outbound, config: OAuthConfig) -> None:
        self._platform = platform
        self._config = config
        self._discovery = Discovery(outbound)
        self.endpoints = Endpoints(outbound)
        self._clients = Clients(self.endpoints, config.identity)
        self._unattended = Unattended(self.endpoints)

    @property
    def identity(self) -> Identity:
        """What the hub says of itself."""
        return self._config.identity

    async def start(self, caller: Caller, server_id: UUID) -> Flow:
        """Begin a way to a token, and take it as far as nobody needs to act.

        Raises:
            NotFound: the server has no OAuth connection.
        """
        flow = await self._platform.write(replace(caller, replay_key=None), begin, Begin(server_id))
        return await self.advance(flow.tenant_id, flow.id)

    async def receive(self, answer: Received) -> Flow:
        """Go on with what came back through a browser.

        Raises:
            NotFound: no flow waits for this.
        """
        flow = await self._platform.write(SYSTEM(UUID(int=0)), received, answer)
        return await self.advance(flow.tenant_id, flow.id)

    async def advance(self, tenant_id: UUID, flow_id: UUID) -> Flow:
        """Take the next step of a flow, if there is one to take and nobody takes it. Safe to repeat.

        Raises:
            NotFound: no such flow.
        """
        hub = SYSTEM(tenant_id)
        taken = await self._platform.write(hub, take_flow, FlowId(flow_id))
        if taken is None:
            return await self._platform.read(hub, get_flow, FlowId(flow_id))
        try:
            flow = await self._step(hub, taken)
        except OAuthFailure as failure:
            if failure.retryable and taken.flow.state is not FlowState.PREPARING:
                flow = await self._platform.write(hub, later, Later(flow_id, taken.lease_id, _AGAIN))
            else:
                flow = await self._platform.write(hub, fail, Fail(flow_id, taken.lease_id, failure.reason))
        except Conflict:  # it was cancelled meanwhile
            flow = await self._platform.read(hub, get_flow, FlowId(flow_id))
        if flow.state is FlowState.COMPLETED:
            await self._tell(tenant_id, flow.server_id)
        return flow

    async def disconnect(self, caller: Caller, server_id: UUID) -> None:
        """End the credential: at the hub for certain, at the server if it revokes (RFC 7009).

        Raises:
            NotFound: the server has no OAuth connection.
        """
        plain = replace(caller, replay_key=None)
        known = await self._platform.read(plain, open_connection, ServerId(server_id))
        await self._platform.write(plain, cancel_flows, ServerId(server_id))
        await self._platform.write(plain, disconnect, ServerId(server_id))
        await self._revoke(known)

    async def renewal(self, opened: OpenConnection, scope: str | None) -> Granted:
        """A new token for a connection, without anybody: by its refresh token, else by its grant.

        Raises:
            OAuthFailure: there is none.
        """
        known = opened.discovered
        if known is None:
            raise OAuthFailure("no_metadata", "it is not known whom to ask")
        server, proof, resource = Server.of(known["server"]), _proof_of(opened), known["resource"]
        tenant_id, server_id = opened.connection.tenant_id, opened.connection.server_id
        extras = (await self._config.extras(tenant_id, server_id)).token
        if opened.refresh_token is not None and scope is None:
            return await self._unattended.refresh(opened, server, proof, resource, extras)
        asked = scope or known.get("scope")
        return await self._unattended.again(opened, server, proof, resource, asked, extras)

    async def _step(self, hub: Caller, taken: TakenFlow) -> Flow:
        state = taken.flow.state
        if state is FlowState.PREPARING:
            return await self._prepare(hub, taken)
        server = Server.of(taken.flow.context["server"])
        proof = _proof_of(taken.opened)
        if state is FlowState.EXCHANGING:
            form = {
                "grant_type": "authorization_code",
                "code": taken.secrets["code"],
                "redirect_uri": taken.flow.context["redirect_uri"],
                "code_verifier": taken.secrets["verifier"],
                **about(taken.opened, taken.flow.context["resource"], None),
            }
            extras = await self._config.extras(hub.tenant_id, taken.flow.server_id)
            return await self._completed(
                hub, taken, await self.endpoints.token(server, proof, form, extras.token)
            )
        return await self._poll(hub, taken, server, proof)

    async def _prepare(self, hub: Caller, taken: TakenFlow) -> Flow:
        opened, server_id = taken.opened, taken.flow.server_id
        wanted = opened.connection.wanted_scope
        found = await self._discovery.discover(opened.connection.endpoint_url, opened.definition, wanted)
        proof = await self._clients.proof(opened, found.server, found.scope)
        if proof.client != opened.connection.client:
            kept = KeepClient(server_id, proof.client, _registered_secret(opened, proof))
            await self._platform.write(hub, keep_client, kept)
        extras = await self._config.extras(hub.tenant_id, server_id)
        if taken.flow.kind is FlowKind.BROWSER:
            return await self._browser(hub, taken, found, proof, extras)
        if taken.flow.kind is FlowKind.DEVICE:
            return await self._device(hub, taken, found, proof, extras)
        granted = await self._unattended.grant(opened, found, proof, extras.token)
        return await self._completed(hub, taken, granted, _context(found))

    async def _browser(
        self, hub: Caller, taken: TakenFlow, found: Discovered, proof: Proof, extras: RequestExtras
    ) -> Flow:
        server, definition = found.server, taken.opened.definition
        if server.authorization_endpoint is None:
            raise OAuthFailure("no_authorization_endpoint", "the server names no authorization endpoint")
        verifier, state = token_urlsafe(48), token_urlsafe(32)
        redirect = self.identity.callback(definition.callback_mode)
        asked: dict[str, str | Sequence[str]] = {
            "response_type": "code",
            "client_id": proof.client.client_id,
            "redirect_uri": redirect,
            "state": state,
            "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **about(taken.opened, found.resource, found.scope),
        }
        if "offline_access" in (found.scope or "").split():
            asked["prompt"] = "consent"  # OpenID Connect §11: offline access wants it
        asked |= dict(extras.authorize)
        sent = await self._pushed(server, proof, asked, definition.par_mode)
        query = [(name, one) for name, value in sent.items() for one in _each(value)]
        url = with_query(server.authorization_endpoint, query)
        context = {**_context(found), "redirect_uri": redirect}
        secrets = {"verifier": verifier, "shown": {"authorize_url": url}}
        command = Wait(taken.flow.id, taken.lease_id, context, secrets, state=state)
        return await self._platform.write(hub, wait, command)

    async def _pushed(
        self, server: Server, proof: Proof, asked: dict[str, str | Sequence[str]], mode: ParMode
    ) -> Mapping[str, str | Sequence[str]]:
        """The request itself, or the name of one that was pushed (RFC 9126)."""
        endpoint = server.pushed_authorization_request_endpoint
        required = mode is ParMode.REQUIRED or server.requires_par
        if endpoint is None and required:
            raise OAuthFailure("no_par", "the authorization server takes no pushed requests")
        if endpoint is None or (mode is ParMode.DISABLED and not required):
            return asked
        told = await self.endpoints.post(endpoint, "the pushed request", *proven(server, proof, asked))
        name = told.get("request_uri")
        if type(name) is not str:
            raise OAuthFailure("malformed", "the pushed request got no name")
        return {"client_id": proof.client.client_id, "request_uri": name}

    async def _device(
        self, hub: Caller, taken: TakenFlow, found: Discovered, proof: Proof, extras: RequestExtras
    ) -> Flow:
        endpoint, what = found.server.device_authorization_endpoint, "the device authorization endpoint"
        if endpoint is None:
            raise OAuthFailure("no_device_endpoint", "the server names no device authorization endpoint")
        form = about(taken.opened, found.resource, found.scope)
        told = await self.endpoints.post(endpoint, what, *proven(found.server, proof, form), extras.device)
        texts = [told.get(name) for name in ("device_code", "user_code", "verification_uri")]
        if not all(type(text) is str and 0 < len(text) <= 4096 for text in texts):
            raise OAuthFailure("malformed", f"{what} answered without a code")
        complete_uri = told.get("verification_uri_complete")
        interval = seconds_of(told.get("interval")) or 5.0
        shown = {
            "user_code": texts[1],
            "verification_uri": texts[2],
            "verification_uri_complete": complete_uri if type(complete_uri) is str else None,
        }
        command = Wait(
            taken.flow.id,
            taken.lease_id,
            {**_context(found), "interval": interval},
            {"device_code": texts[0], "shown": shown},
            expires_in=seconds_of(told.get("expires_in")),
            interval=interval,
        )
        return await self._platform.write(hub, wait, command)

    async def _poll(self, hub: Caller, taken: TakenFlow, server: Server, proof: Proof) -> Flow:
        context = dict(taken.flow.context)
        form = {
            "grant_type": DEVICE,
            "device_code": taken.secrets["device_code"],
            **about(taken.opened, context["resource"], None),
        }
        extras = await self._config.extras(hub.tenant_id, taken.flow.server_id)
        try:
            granted = await self.endpoints.token(server, proof, form, extras.token)
        except Refused as refused:
            if refused.error not in ("authorization_pending", "slow_down"):
                raise
            if refused.error == "slow_down":  # RFC 8628 §3.5
                context["interval"] += 5.0
            command = Later(taken.flow.id, taken.lease_id, context["interval"], counts=False, context=context)
            return await self._platform.write(hub, later, command)
        return await self._completed(hub, taken, granted)

    async def _completed(
        self, hub: Caller, taken: TakenFlow, granted: Granted, context: Mapping[str, Any] | None = None
    ) -> Flow:
        known = taken.flow.context if context is None else context
        command = Complete(taken.flow.id, taken.lease_id, granted, known, known.get("scope"))
        return await self._platform.write(hub, complete, command)

    async def _tell(self, tenant_id: UUID, server_id: UUID) -> None:
        try:
            await self._config.connected(tenant_id, server_id)
        except HubError as error:  # the credential is good all the same
            _log.warning("after it was authorized, a server was not verified: %s", error.message)

    async def _revoke(self, known: OpenConnection) -> None:
        if known.discovered is None or known.connection.client is None:
            return
        server = Server.of(known.discovered["server"])
        if server.revocation_endpoint is None:
            return
        for token, kind in ((known.refresh_token, "refresh_token"), (known.access_token, "access_token")):
            if token is None:
                continue
            form = {"token": token, "token_type_hint": kind}
            try:
                sent = proven(server, _proof_of(known), form)
                await self.endpoints.post(server.revocation_endpoint, "revocation", *sent)
            except OAuthFailure as failure:
                _log.warning("a token was not revoked: %s", failure.reason)


def _proof_of(opened: OpenConnection) -> Proof:
    client = opened.connection.client
    if client is None:
        raise OAuthFailure("no_client", "the hub is not known to the authorization server any more")
    return Proof(client, opened.client_secret or opened.secrets.client_secret, opened.secrets.private_key)


def _registered_secret(opened: OpenConnection, proof: Proof) -> str | None:
    return None if proof.secret == opened.secrets.client_secret else proof.secret


def _context(found: Discovered) -> dict[str, Any]:
    return {
        "issuer": found.server.issuer,
        "iss_supported": found.server.tells_iss,
        "resource": found.resource,
        "scope": found.scope,
        "legacy": found.legacy,
        "server": found.server.kept(),
    }


def _each(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value
