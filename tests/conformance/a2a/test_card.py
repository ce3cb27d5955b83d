"""The agent card as anybody fetches it. Specification §4.6.1, §5.2, §8, §14.3."""

import base64
import json
from typing import Any

import httpx
import jwt
import pytest
import rfc8785
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]

from tests.conformance.a2a.conftest import Card
from tests.conformance.hub_process import RunningHub

requirement = pytest.mark.requirement
WELL_KNOWN = "/.well-known/agent-card.json"
REQUIRED = (
    "name",
    "description",
    "supportedInterfaces",
    "version",
    "capabilities",
    "defaultInputModes",
    "defaultOutputModes",
    "skills",
)


@pytest.fixture
def anybody(hub: RunningHub) -> Any:
    """A client without a key."""
    with httpx.Client(base_url=hub.url, timeout=30) as client:
        yield client


@requirement("8.1-available", "8.2-complete", on="card")
def test_anybody_may_have_the_card_and_the_official_type_takes_it(anybody: httpx.Client) -> None:
    answer = anybody.get(WELL_KNOWN)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    told = answer.json()
    card = ParseDict(told, pb.AgentCard(), ignore_unknown_fields=True)
    assert all(told[name] for name in REQUIRED)
    assert all(skill.id and skill.name and skill.description and skill.tags for skill in card.skills)
    assert all(i.url and i.protocol_binding and i.protocol_version for i in card.supported_interfaces)
    assert card.security_schemes["bearer"].http_auth_security_scheme.scheme == "Bearer"


@requirement("5.2-declared", "8.3.1-order", on="card")
def test_it_declares_each_binding_in_each_version_the_newest_first(card: Card) -> None:
    declared = [(i["protocolBinding"], i["protocolVersion"]) for i in card["supportedInterfaces"]]
    assert sorted(declared) == sorted(
        (b, v) for b in ("JSONRPC", "HTTP+JSON", "GRPC") for v in ("0.3", "1.0")
    )
    assert [version for _, version in declared] == ["1.0"] * 3 + ["0.3"] * 3
    assert all(version.count(".") == 1 for _, version in declared), "no patch numbers"


@requirement("8.3.1-accurate", on="card")
def test_what_is_declared_is_served_there(card: Card, http: httpx.Client) -> None:
    """Over gRPC the wires of the other tests take their address from the card."""
    for interface in card["supportedInterfaces"]:
        url, version = interface["url"], interface["protocolVersion"]
        match interface["protocolBinding"]:
            case "JSONRPC":
                method = "GetTask" if version == "1.0" else "tasks/get"
                body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"id": "x"}}
                told = http.post(url, json=body, headers={"A2A-Version": version}).json()
                assert told["error"]["code"] == -32001
            case "HTTP+JSON":
                path = "/tasks/x" if version == "1.0" else "/v1/tasks/x"
                refused = http.get(url + path, headers={"A2A-Version": version})
                assert refused.json()["error"]["details"][0]["reason"] == "TASK_NOT_FOUND"
            case _:
                assert url.rpartition(":")[2].isdigit()


@requirement("4.6.1-declared", on="card")
def test_it_lists_its_extensions(card: Card) -> None:
    extensions = card["capabilities"]["extensions"]
    assert "https://kagent.dev/extensions/hitl/v1" in [extension["uri"] for extension in extensions]
    assert all(extension["uri"] and not extension.get("required") for extension in extensions)


@requirement("8.6.1-cache-control", "8.6.1-etag", on="card")
def test_it_may_be_kept_and_is_not_sent_twice(anybody: httpx.Client) -> None:
    first = anybody.get(WELL_KNOWN)
    assert "max-age=" in first.headers["cache-control"]
    known = anybody.get(WELL_KNOWN, headers={"If-None-Match": first.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert anybody.get(WELL_KNOWN, headers={"If-None-Match": '"another"'}).status_code == 200


@requirement("8.4.1-canonical", "8.4.2-header", on="card")
def test_its_signatures_hold_by_the_keys_that_they_name(card: Card, anybody: httpx.Client) -> None:
    message = ParseDict(card, pb.AgentCard(), ignore_unknown_fields=True)
    del message.signatures[:]
    signed = MessageToDict(message)  # without the defaults that nobody set; what is REQUIRED is never empty
    assert card["signatures"]
    for signature in card["signatures"]:
        header = json.loads(_unpadded(signature["protected"]))
        assert header["alg"] == "ES256"
        assert (header["typ"], bool(header["kid"])) == ("JOSE", True)
        keys = anybody.get(header["jku"]).json()["keys"]
        (key,) = [key for key in keys if key["kid"] == header["kid"]]
        payload = base64.urlsafe_b64encode(rfc8785.dumps(signed)).decode().rstrip("=")
        token = f"{signature['protected']}.{payload}.{signature['signature']}"
        jwt.api_jws.PyJWS().decode(token, jwt.PyJWK(key).key, algorithms=["ES256"])


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@requirement("14.3-secrets", on="card")
def test_it_holds_no_credential(card: Card, hub: RunningHub, names: dict[str, str]) -> None:
    told = json.dumps(card)
    assert not any(key in told for key in (hub.admin_key, *names.values()))
    assert "xd_" not in told
