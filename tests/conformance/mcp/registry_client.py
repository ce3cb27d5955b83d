"""What the official suite runs as a client: it has a hub register the suite's server, and plays the person.

    python registry_client.py SERVER_URL

`HUB_URL`, `HUB_KEY` and `HUB_CALLER_KEY` say which hub. Everything that reaches the server comes from the
hub: the way to a token, the look at what it offers, and the calls of its tools through `/mcp/{server}`.
"""

import json
import os
import sys
from typing import Any, Final
from uuid import uuid4

import httpx

from hub.launcher.mcp_headers import Annotations, annotations_of, headers_of

HUB: Final = os.environ["HUB_URL"]
VERSION: Final = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
SCENARIO: Final = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
CONTEXT: Final[dict[str, Any]] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
ROUNDS: Final = 3
"""How often the person lets the hub in, at most."""
MODERN: Final = "2026-07-28"
NONE: Final[Annotations] = {}


class Hub:
    """The hub over REST and as a gateway."""

    def __init__(self) -> None:
        self._client = httpx.Client(base_url=HUB, timeout=30)

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """POST to the REST API."""
        headers = {"Authorization": f"Bearer {os.environ['HUB_KEY']}"}
        answer = self._client.post(f"/api/v1{path}", json=body, headers=headers)
        print(path, answer.status_code, answer.text[:300], file=sys.stderr)
        return answer

    def get(self, path: str) -> Any:
        """GET from the REST API."""
        headers = {"Authorization": f"Bearer {os.environ['HUB_KEY']}"}
        return self._client.get(f"/api/v1{path}", headers=headers).raise_for_status().json()["data"]

    def consent(self, begun: dict[str, Any]) -> None:
        """Open the address that the hub gives, and bring what comes of it back, as a browser does."""
        if begun["kind"] != "browser":
            return
        shown = httpx.get(begun["authorize_url"], timeout=10)
        back = httpx.URL(shown.headers["location"])
        page = self._client.get(back.raw_path.decode())
        print("consent", page.status_code, file=sys.stderr)

    def rpc(
        self, slug: str, method: str, params: dict[str, Any], annotations: Annotations = NONE
    ) -> httpx.Response:
        """Ask the gateway, in the era of the scenario."""
        headers = {
            "Authorization": f"Bearer {os.environ['HUB_CALLER_KEY']}",
            "Accept": "application/json, text/event-stream",
        }
        if VERSION == MODERN:
            headers |= headers_of({"method": method, "params": params}, MODERN, annotations)
            meta = {
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "registry-client", "version": "1"},
            }
            params = {**params, "_meta": meta}
        else:
            headers |= self._session(slug)
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        answer = self._client.post(f"/mcp/{slug}", json=body, headers=headers)
        print(method, answer.status_code, answer.text[:300], file=sys.stderr)
        return answer

    def _session(self, slug: str) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {os.environ['HUB_CALLER_KEY']}",
            "Accept": "application/json, text/event-stream",
        }
        params = {
            "protocolVersion": VERSION,
            "capabilities": {},
            "clientInfo": {"name": "registry-client", "version": "1"},
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        answer = self._client.post(f"/mcp/{slug}", json=body, headers=headers)
        session = answer.headers.get("mcp-session-id")
        return {"MCP-Protocol-Version": VERSION, **({"Mcp-Session-Id": session} if session else {})}


def definition() -> dict[str, Any]:
    """How the hub comes to a token, as the scenario's context says."""
    if "idp_token_endpoint" in CONTEXT:
        return {
            "grant_type": "enterprise_managed_authorization",
            "client_id": CONTEXT["client_id"],
            "client_secret": CONTEXT["client_secret"],
            "enterprise_profile": {
                "idp_token_endpoint": CONTEXT["idp_token_endpoint"],
                "idp_client_id": CONTEXT["idp_client_id"],
                "subject_token": CONTEXT["idp_id_token"],
            },
        }
    if "private_key_pem" in CONTEXT:
        return {
            "grant_type": "client_credentials",
            "client_id": CONTEXT["client_id"],
            "private_key_pem": CONTEXT["private_key_pem"],
            "token_endpoint_auth_method": "private_key_jwt",
        }
    given: dict[str, Any] = {
        name: CONTEXT[name] for name in ("client_id", "client_secret") if name in CONTEXT
    }
    if "client-credentials" in SCENARIO:
        return {"grant_type": "client_credentials", **given}
    return given


def main(url: str) -> int:
    """Let the hub in, and have it call every tool once."""
    hub = Hub()
    name = f"suite {uuid4().hex[:12]}"
    if not SCENARIO.startswith("auth/"):
        return plain(hub, name, url)
    begun = hub.post(
        "/remote-mcp-servers/oauth/authorize",
        {"name": name, "endpoint_url": url, "oauth_definition": definition()},
    )
    if begun.status_code != 200:
        return 1
    server_id = begun.json()["data"]["server_id"]
    hub.consent(begun.json()["data"])
    server = hub.get(f"/remote-mcp-servers/{server_id}")
    for _ in range(ROUNDS - 1):
        if server["verification_status"] == "verified" and server["health"] == "ok":
            break
        if not again(hub, server_id):
            return 1
        server = hub.get(f"/remote-mcp-servers/{server_id}")
    granted = {"subject": {"kind": "principal", "name": "suite"}, "server": server_id}
    hub.post("/mcp-grants", granted)
    for tool in server["discovered_tools_snapshot"] or ():
        called = {"name": tool["original_name"], "arguments": {}}
        hub.rpc(server["slug"], "tools/call", called)
        rounds = 0
        while not hub.get(f"/remote-mcp-servers/{server_id}/oauth")["oauth_connected"] and rounds < ROUNDS:
            rounds += 1
            if not again(hub, server_id):
                return 1
            hub.rpc(server["slug"], "tools/call", called)
    return 0 if server["verification_status"] == "verified" else 1


def plain(hub: Hub, name: str, url: str) -> int:
    """Register a server that lets anybody in, and have the hub call every tool once."""
    made = hub.post("/remote-mcp-servers", {"name": name, "endpoint_url": url})
    if made.status_code != 201:
        return 1
    server = made.json()["data"]
    granted = {"subject": {"kind": "principal", "name": "suite"}, "server": server["id"]}
    hub.post("/mcp-grants", granted)
    given = {call["name"]: call.get("arguments", {}) for call in CONTEXT.get("toolCalls", ())}
    for tool in server["discovered_tools_snapshot"]:
        tool_name, schema = tool["original_name"], tool["input_schema"]
        annotations = annotations_of({"tools": [{"name": tool_name, "inputSchema": schema}]})
        called = {"name": tool_name, "arguments": given.get(tool_name) or example_of(schema)}
        hub.rpc(server["slug"], "tools/call", called, annotations)
    return 0


def example_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that a tool takes."""
    plain_values: dict[str, Any] = {"number": 1, "integer": 1, "boolean": True, "array": [], "object": {}}
    properties = schema.get("properties", {})
    return {name: plain_values.get(said.get("type"), "text") for name, said in properties.items()}


def again(hub: Hub, server_id: str) -> bool:
    """Let the hub in once more."""
    begun = hub.post(f"/remote-mcp-servers/{server_id}/oauth/reconnect", {})
    if begun.status_code == 200:
        hub.consent(begun.json()["data"])
    return begun.status_code == 200


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
