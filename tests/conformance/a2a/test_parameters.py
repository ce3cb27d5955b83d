"""Versions, extensions, credentials and tenants, over each binding. Specification §3.6, §4.6, §7.4."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.conformance.a2a.conftest import Card, MakeWire, Speaker, refusal_of
from tests.conformance.a2a.wires import BINDINGS, at_once, message
from tests.conformance.hub_process import RunningHub

requirement = pytest.mark.requirement
HITL = "https://kagent.dev/extensions/hitl/v1"
ONE_TASK = {"id": str(uuid4())}
ONE_CONFIG = {"taskId": str(uuid4()), "id": "c", "url": "https://93.184.216.34/hook"}
OPERATIONS: dict[str, dict[str, Any]] = {
    "SendMessage": message(),
    "SendStreamingMessage": message(),
    "GetTask": ONE_TASK,
    "ListTasks": {},
    "CancelTask": ONE_TASK,
    "SubscribeToTask": ONE_TASK,
    "CreateTaskPushNotificationConfig": ONE_CONFIG,
    "GetTaskPushNotificationConfig": {k: v for k, v in ONE_CONFIG.items() if k != "url"},
    "ListTaskPushNotificationConfigs": {"taskId": ONE_CONFIG["taskId"]},
    "DeleteTaskPushNotificationConfig": {k: v for k, v in ONE_CONFIG.items() if k != "url"},
    "GetExtendedAgentCard": {},
}


@requirement("3.6-patch", "3.2.6-names", "10.2-metadata", "9.2-headers", "11.2-headers")
@pytest.mark.parametrize("name", ["A2A-Version", "a2a-version", "A2A-VERSION"])
async def test_a_version_counts_without_its_patch_under_a_name_in_any_case(ann: Speaker, name: str) -> None:
    told = await ann.wire.told("ListTasks", {"pageSize": 1}, {"A2A-Version": None, name: "1.0.7"})
    assert "totalSize" in told.result or ann.binding == "GRPC"


@requirement("3.6.2-unsupported", "5.4-version", "14.2.1-form", "10.2-version")
@pytest.mark.parametrize("version", ["0.2", "1.1", "2.0", "1", "one", "1.0.0.0", "v1.0"])
async def test_another_version_is_refused_and_nothing_happens(ann: Speaker, version: str) -> None:
    context = uuid4().hex
    code = {"JSONRPC": -32009, "HTTP+JSON": 400, "GRPC": "FAILED_PRECONDITION"}[ann.binding]
    for operation, params in {**OPERATIONS, "SendMessage": message(contextId=context)}.items():
        refusal = await ann.refused(operation, params, A2A_Version=version)
        assert (refusal.code, refusal.reason) == (code, "VERSION_NOT_SUPPORTED"), operation
        assert "1.0" in refusal.info["metadata"]["supportedVersions"]
    assert (await ann.ask("ListTasks", {"contextId": context})).get("tasks", []) == []


@requirement("4.6.3-ignored", "4.6.3-no-fallback", "4.6.1-activated")
async def test_extensions_that_nobody_knows_are_ignored_and_the_known_named_back(ann: Speaker) -> None:
    asked = f"urn:unknown, https://kagent.dev/extensions/hitl/v2,{HITL}"
    told = await ann.wire.told("ListTasks", {"pageSize": 1}, {"A2A-Extensions": asked})
    assert told.headers["a2a-extensions"] == HITL
    told = await ann.wire.told("ListTasks", {"pageSize": 1}, {"A2A-Extensions": "urn:unknown"})
    assert "a2a-extensions" not in told.headers
    task = await ann.send(message("hold Which?"))
    newer = {"A2A-Extensions": "https://kagent.dev/extensions/hitl/v2"}
    told = await ann.wire.told("GetTask", {"id": task["id"]}, newer)
    assert "extensions" not in told.result["status"]["message"]
    await ann.ask("CancelTask", {"id": task["id"]})


@requirement(
    "7.4-every", "7.4-codes", "3.3.2-credential", "3.3.2-challenge", "13.3-authentication", "5.3-mapping"
)
async def test_every_operation_wants_a_credential(ann: Speaker) -> None:
    code = {"JSONRPC": -31401, "HTTP+JSON": 401, "GRPC": "UNAUTHENTICATED"}[ann.binding]
    for operation, params in OPERATIONS.items():
        refusal = await ann.refused(operation, params, Authorization=None)
        assert (refusal.code, refusal.reason) == (code, "UNAUTHENTICATED"), operation
        assert refusal.headers["www-authenticate"].startswith("Bearer ")


@pytest.fixture(scope="module")
def revoked(hub: RunningHub) -> str:
    """A key that was good, and is no more."""
    minted = hub.post("/api-keys", {"scope": "agent", "owner_type": "user", "owner_id": "gone"})
    key: str = minted["api_key"]
    with httpx.Client(base_url=hub.url, timeout=30) as client:
        hers = {"Authorization": f"Bearer {key}", "A2A-Version": "1.0"}
        assert client.get("/a2a/v1/tasks", headers=hers).status_code == 200
        ours = {"Authorization": f"Bearer {hub.admin_key}"}
        assert client.delete(f"/api/v1/api-keys/{minted['id']}", headers=ours).is_success
    return key


@requirement("3.3.2-credential", "13.4-revocation")
@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_revoked_key_opens_nothing(revoked: str, make_wire: MakeWire, binding: str) -> None:
    wire = await make_wire(revoked, binding)
    assert (await refusal_of(wire, "ListTasks", {}, {})).reason == "UNAUTHENTICATED"


@requirement("3.3.2-permission", "13.1-tenants", "13.1-every")
@pytest.mark.parametrize("tenant", ["0190f000-0000-7000-8000-0000000000aa", "nonsense"])
async def test_a_tenant_that_is_not_the_credentials_is_refused(ann: Speaker, tenant: str) -> None:
    for operation, params in OPERATIONS.items():
        refusal = await ann.refused(operation, {**params, "tenant": tenant})
        # Over gRPC a tenant may also be the name of an agent, of which there is none.
        reasons = ("FORBIDDEN", "METHOD_NOT_FOUND") if ann.binding == "GRPC" else ("FORBIDDEN",)
        assert refusal.reason in reasons, operation


@requirement("3.1.11-card")
async def test_the_extended_card_is_given_where_it_is_declared(ann: Speaker, card: Card) -> None:
    if card["capabilities"].get("extendedAgentCard"):
        assert (await ann.ask("GetExtendedAgentCard"))["name"] == card["name"]
    else:
        refusal = await ann.refused("GetExtendedAgentCard")
        assert refusal.reason == "UNSUPPORTED_OPERATION"


@pytest.fixture(scope="module")
def token(hub: RunningHub, names: dict[str, str]) -> str:
    """An access token of Ann's."""
    granted = hub.post("/auth/token", {"api_key": names["ann"]}, key=names["ann"])
    access: str = granted.get("access_token") or granted["token"]
    return access


@requirement("5.1-authentication")
async def test_a_token_of_the_hub_is_as_good_as_its_key(
    ann: Speaker, make_wire: MakeWire, token: str
) -> None:
    task = await ann.send(at_once("echo x"))
    wire = await make_wire(token, ann.binding)
    assert (await wire.told("GetTask", {"id": task["id"]})).result["id"] == task["id"]
