"""An authorization server and the MCP server that it guards, on loopback, as strict as the standards are.

It checks what it is sent (PKCE, redirect, resource, the client's proof), rotates refresh tokens and ends a
family whose old one comes back. `faults` are spent one by one, by path: a number is a status to answer, a
dict an answer, `hang` never answers.
"""

import asyncio
import hashlib
from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode
from uuid import uuid4

import jwt
from aiohttp import web


@dataclass
class Grant:
    """What a token stands for."""

    client_id: str
    resource: str | None
    scope: str
    family: str


@dataclass
class FakeAuthorizationServer:
    """Serves on a port of its own."""

    methods: list[str] = field(default_factory=lambda: ["none", "client_secret_basic"])
    scopes: list[str] = field(default_factory=lambda: ["read"])
    """What the resource says it supports."""
    expires_in: int | None = 3600
    refreshes: bool = True
    tells_iss: bool = True
    takes_documents: bool = False
    registers: bool = True
    pushes: bool = False
    pkce: bool = True
    guards: str = "read"
    """The scope that a call needs."""
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    public_key: Any = None
    faults: dict[str, list[Any]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    """Laid over what it says of itself."""
    resource_metadata: dict[str, Any] = field(default_factory=dict)
    consents: bool = True
    sends_iss: str | None = "own"
    device_approved: bool = False
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refresh_calls: int = 0
    reused: int = 0
    """How often a refresh token came back that had been replaced: a hub that renews twice at once."""
    lists_fail: int = 0
    """How often a list ends in a 401, and every token with it."""
    tool: str = "look"
    port: int = 0
    _codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    _pushed: dict[str, dict[str, Any]] = field(default_factory=dict)
    _access: dict[str, Grant] = field(default_factory=dict)
    _refresh: dict[str, Grant] = field(default_factory=dict)
    _spent: set[str] = field(default_factory=set)
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Begin to serve."""
        app = web.Application(middlewares=[self._faulty])
        app.router.add_route("*", "/mcp", self._mcp)
        app.router.add_get("/.well-known/oauth-protected-resource/mcp", self._resource)
        app.router.add_get("/.well-known/oauth-authorization-server", self._server)
        app.router.add_get("/authorize", self._authorize)
        for name in ("register", "token", "device", "par", "revoke", "idp"):
            app.router.add_post(f"/{name}", getattr(self, f"_{name}"))
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Hang up on everybody."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """The issuer."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """The MCP server."""
        return f"{self.url}/mcp"

    def sent(self, path: str) -> list[dict[str, Any]]:
        """What was sent to a path, in order."""
        return [fields for asked, fields in self.asked if asked == path]

    def end_tokens(self) -> None:
        """Accept no access token any more."""
        self._access.clear()

    def end_everything(self) -> None:
        """Accept nothing any more."""
        self._access.clear()
        self._refresh.clear()

    def accepts(self, header: str | None) -> bool:
        """Whether the MCP server would take this `Authorization`."""
        grant = self._access.get((header or "").removeprefix("Bearer "))
        return grant is not None and self.guards in grant.scope.split()

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        fields: dict[str, Any] = dict(request.query)
        if request.can_read_body and request.content_type == "application/json":
            told = await request.json()
            fields |= told if isinstance(told, dict) else {}
        elif request.can_read_body:
            fields |= dict(parse_qsl((await request.text()), keep_blank_values=True))
        request["fields"] = fields
        self.asked.append((request.path, {**fields, "_headers": dict(request.headers)}))
        waiting = self.faults.get(request.path)
        if waiting:
            fault = waiting.pop(0)
            if fault == "hang":
                await asyncio.Event().wait()
            if isinstance(fault, int):
                return web.Response(status=fault, text="no")
            return web.json_response(fault)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _mcp(self, request: web.Request) -> web.Response:
        told = request.headers.get("Authorization")
        grant = self._access.get((told or "").removeprefix("Bearer "))
        metadata = f'resource_metadata="{self.url}/.well-known/oauth-protected-resource/mcp"'
        if grant is None or grant.resource != self.endpoint:
            said = f'Bearer {metadata}, scope="{self.guards}"'
            return web.Response(status=401, headers={"WWW-Authenticate": said})
        if self.guards not in grant.scope.split():
            said = f'Bearer error="insufficient_scope", scope="{self.guards}", {metadata}'
            return web.Response(status=403, headers={"WWW-Authenticate": said})
        asked: dict[str, Any] = request["fields"]
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.get("id")}
        if "id" not in asked:
            return web.Response(status=202)
        if asked["method"] == "initialize":
            info = {"name": "guarded", "version": "1"}
            version = asked["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
            return web.json_response({**answer, "result": result})
        if asked["method"] == "tools/list":
            if self.lists_fail:
                self.lists_fail -= 1
                self.end_tokens()
                return web.Response(status=401, headers={"WWW-Authenticate": f"Bearer {metadata}"})
            tool = {"name": self.tool, "inputSchema": {"type": "object"}}
            return web.json_response({**answer, "result": {"tools": [tool]}})
        return web.json_response({**answer, "error": {"code": -32601, "message": "unknown"}})

    async def _resource(self, request: web.Request) -> web.Response:
        told = {
            "resource": self.endpoint,
            "authorization_servers": [self.url],
            "scopes_supported": self.scopes,
        }
        return web.json_response({**told, **self.resource_metadata})

    async def _server(self, request: web.Request) -> web.Response:
        told: dict[str, Any] = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "revocation_endpoint": f"{self.url}/revoke",
            "token_endpoint_auth_methods_supported": self.methods,
            "authorization_response_iss_parameter_supported": self.tells_iss,
            "client_id_metadata_document_supported": self.takes_documents,
        }
        if self.registers:
            told["registration_endpoint"] = f"{self.url}/register"
        if self.pkce:
            told["code_challenge_methods_supported"] = ["S256"]
        if self.pushes:
            told["pushed_authorization_request_endpoint"] = f"{self.url}/par"
        return web.json_response({**told, **self.metadata})

    async def _register(self, request: web.Request) -> web.Response:
        asked = request["fields"]
        method = asked["token_endpoint_auth_method"]
        made = {"client_id": f"client-{len(self.clients)}", "token_endpoint_auth_method": method}
        if method != "none":
            made["client_secret"] = f"secret-{uuid4().hex}"
        self.clients[made["client_id"]] = {**asked, **made}
        return web.json_response(made, status=201)

    async def _par(self, request: web.Request) -> web.Response:
        name = f"urn:pushed:{uuid4().hex}"
        self._pushed[name] = request["fields"]
        return web.json_response({"request_uri": name, "expires_in": 60}, status=201)

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = request["fields"]
        if "request_uri" in asked:
            asked = self._pushed.pop(asked["request_uri"])
        assert asked["code_challenge_method"] == "S256"
        assert asked["response_type"] == "code"
        answer = {"state": asked["state"]}
        if self.sends_iss is not None:
            answer["iss"] = self.url if self.sends_iss == "own" else self.sends_iss
        if self.consents:
            code = uuid4().hex
            self._codes[code] = asked
            answer["code"] = code
        else:
            answer["error"] = "access_denied"
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(answer)}")

    async def _device(self, request: web.Request) -> web.Response:
        code = uuid4().hex
        self._codes[code] = request["fields"]
        told = {"device_code": code, "user_code": "ABCD-EFGH", "verification_uri": f"{self.url}/activate"}
        return web.json_response({**told, "expires_in": 300, "interval": 5})

    async def _revoke(self, request: web.Request) -> web.Response:
        self._access.pop(request["fields"]["token"], None)
        self._refresh.pop(request["fields"]["token"], None)
        return web.Response()

    async def _idp(self, request: web.Request) -> web.Response:
        asked = request["fields"]
        assert asked["audience"] == self.url
        told = {"issued_token_type": asked["requested_token_type"], "token_type": "N_A"}
        return web.json_response({**told, "access_token": f"jag for {asked['subject_token']}"})

    async def _token(self, request: web.Request) -> web.Response:
        asked = request["fields"]
        client_id = self._client(request, asked)
        if client_id is None:
            return _no("invalid_client", 401)
        if asked.get("resource") != self.endpoint:
            return _no("invalid_target")
        match asked["grant_type"]:
            case "authorization_code":
                return self._by_code(asked, client_id)
            case "refresh_token":
                return await self._by_refresh(asked, client_id)
            case "urn:ietf:params:oauth:grant-type:device_code":
                if asked["device_code"] not in self._codes:
                    return _no("invalid_grant")
                if not self.device_approved:
                    return _no("authorization_pending")
                scope = self._codes.pop(asked["device_code"]).get("scope", "")
                return self._granted(Grant(client_id, asked["resource"], scope, uuid4().hex))
            case "client_credentials":
                scope = asked.get("scope", "")
                return self._granted(Grant(client_id, asked["resource"], scope, uuid4().hex), False)
            case "urn:ietf:params:oauth:grant-type:jwt-bearer":
                if not asked["assertion"].startswith("jag for "):
                    return _no("invalid_grant")
                scope = asked.get("scope", "")
                return self._granted(Grant(client_id, asked["resource"], scope, uuid4().hex), False)
        return _no("unsupported_grant_type")

    def _by_code(self, asked: dict[str, Any], client_id: str) -> web.Response:
        known = self._codes.pop(asked["code"], None)
        digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
        if (
            known is None
            or known["client_id"] != client_id
            or known["redirect_uri"] != asked["redirect_uri"]
            or known["resource"] != asked["resource"]
            or urlsafe_b64encode(digest).rstrip(b"=").decode() != known["code_challenge"]
        ):
            return _no("invalid_grant")
        return self._granted(Grant(client_id, asked["resource"], known.get("scope", ""), uuid4().hex))

    async def _by_refresh(self, asked: dict[str, Any], client_id: str) -> web.Response:
        self.refresh_calls += 1
        token = asked["refresh_token"]
        if token in self._spent:
            self.reused += 1
        grant = self._refresh.pop(token, None)
        if grant is None or grant.client_id != client_id:
            return _no("invalid_grant")
        self._spent.add(token)
        await asyncio.sleep(0)  # others may come in between
        return self._granted(grant)

    def _granted(self, grant: Grant, refreshes: bool = True) -> web.Response:
        access, refresh = f"access-{uuid4().hex}", f"refresh-{uuid4().hex}"
        self._access[access] = grant
        told: dict[str, Any] = {"access_token": access, "token_type": "Bearer", "scope": grant.scope}
        if self.expires_in is not None:
            told["expires_in"] = self.expires_in
        if refreshes and self.refreshes:
            self._refresh[refresh] = grant
            told["refresh_token"] = refresh
        return web.json_response(told, headers={"Cache-Control": "no-store"})

    def _client(self, request: web.Request, asked: dict[str, Any]) -> str | None:
        header = request.headers.get("Authorization", "")
        if header.startswith("Basic "):
            name, _, secret = b64decode(header[6:]).decode().partition(":")
            known = self.clients.get(unquote_plus(name), {})
            return unquote_plus(name) if known.get("client_secret") == unquote_plus(secret) else None
        client_id: str = asked.get("client_id", "")
        if "client_assertion" in asked:
            try:
                told = jwt.decode(
                    asked["client_assertion"], self.public_key, algorithms=["ES256"], audience=self.url
                )
            except jwt.PyJWTError:
                return None
            return client_id if told["sub"] == told["iss"] == client_id else None
        known = self.clients.get(client_id, {})
        if client_id.startswith("https://") and self.takes_documents:
            return client_id
        if "client_secret" in known:
            return client_id if asked.get("client_secret") == known["client_secret"] else None
        return client_id if client_id in self.clients else None


def _no(error: str, status: int = 400) -> web.Response:
    told = {"error": error, "error_description": "words that nobody is shown"}
    return web.json_response(told, status=status)
