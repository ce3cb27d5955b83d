"""An exposed agent as the official client meets it: its signed card, and every binding that it names."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc.aio  # type: ignore[import-untyped]
import httpx
import pytest
from a2a.client import A2ACardResolver, Client, ClientCallContext, ClientConfig, ClientFactory
from a2a.types import a2a_pb2 as pb
from a2a.utils.signing import create_signature_verifier
from jwt import PyJWKSet

from tests.conformance.hub_process import RunningHub

SLUG = "scripted"
WAYS = [("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("GRPC", "1.0"), ("JSONRPC", "0.3"), ("HTTP+JSON", "0.3")]


@pytest.fixture(scope="module")
def key(hub: RunningHub) -> str:
    """The scripted worker is exposed; the key of somebody who asks it."""
    (agent,) = [agent for agent in hub.get("/agents?per_page=100") if agent["name"] == "scripted"]
    hub.post("/exposures", {"slug": SLUG, "target": {"kind": "agent", "id": agent["id"]}})
    return hub.key_for("exposed")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """What the client sends with."""
    async with httpx.AsyncClient(timeout=30) as http:
        yield http


@pytest.fixture
async def card(hub: RunningHub, key: str, http: httpx.AsyncClient) -> pb.AgentCard:
    """Its card, whose signature the client has checked with the hub's keys."""
    known = PyJWKSet.from_dict((await http.get(f"{hub.url}/.well-known/jwks.json")).json())
    check = create_signature_verifier(lambda kid, jku: known[kid or ""], ["ES256"])
    resolver = A2ACardResolver(http, f"{hub.url}/agents/{SLUG}")
    return await resolver.get_agent_card(signature_verifier=check)


def test_the_card_names_every_binding(card: pb.AgentCard) -> None:
    named = [(i.protocol_binding, i.protocol_version) for i in card.supported_interfaces]
    assert named == WAYS


@pytest.mark.parametrize(("binding", "version"), WAYS)
async def test_the_agent_does_what_is_sent_to_it(
    hub: RunningHub, key: str, http: httpx.AsyncClient, card: pb.AgentCard, binding: str, version: str
) -> None:
    context = ClientCallContext(service_parameters={"Authorization": f"Bearer {key}"})
    channels: list[Any] = []

    def channel(address: str) -> Any:
        channels.append(grpc.aio.insecure_channel(address))
        return channels[-1]

    def client_of(agent: pb.AgentCard) -> Client:
        config = ClientConfig(
            streaming=True,
            httpx_client=http,
            grpc_channel_factory=channel,
            supported_protocol_bindings=[binding],
        )
        return ClientFactory(config).create(agent)

    only = pb.AgentCard()
    only.CopyFrom(card)
    (interface,) = [
        i for i in card.supported_interfaces if (i.protocol_binding, i.protocol_version) == (binding, version)
    ]
    del only.supported_interfaces[:]
    only.supported_interfaces.append(interface)
    client = client_of(only)
    said = pb.Message(message_id=uuid4().hex, role=pb.ROLE_USER, parts=[pb.Part(text="echo hello")])
    frames = [f async for f in client.send_message(pb.SendMessageRequest(message=said), context=context)]
    assert frames[-1].status_update.status.state == pb.TaskState.TASK_STATE_COMPLETED
    task_id = frames[0].task.id
    task = await client.get_task(pb.GetTaskRequest(id=task_id), context=context)
    assert [part.text for artifact in task.artifacts for part in artifact.parts] == ["hello"]
    extended = await client.get_extended_agent_card(pb.GetExtendedAgentCardRequest(), context=context)
    assert (extended.name, [skill.id for skill in extended.skills]) == ("scripted", [SLUG])
    stored = hub.get(f"/tasks/{task_id}")
    assert stored["required_tags"] == [f"agent:{stored['assigned_agent_id']}"]
    for one in channels:
        await one.close()
