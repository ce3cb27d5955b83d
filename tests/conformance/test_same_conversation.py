"""The same scripted conversation, over every binding and in both versions, by the official client.

What it saw is compared as the types of 1.0 have it: the same tasks, history, artifacts and errors, whichever
way they came. What 0.3 has no words for is listed here, and nothing else may differ.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc.aio  # type: ignore[import-untyped]
import httpx
import pytest
from a2a.client import A2ACardResolver, Client, ClientCallContext, ClientConfig, ClientFactory
from a2a.types import a2a_pb2 as pb

from tests.conformance.conversation import Way, converse
from tests.conformance.hub_process import RunningHub

BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")
MakeWay = Callable[[str, str, str], Way]


@pytest.fixture(scope="module")
def keys(hub: RunningHub) -> Mapping[str, str]:
    """The keys of two people who submit."""
    return {name: hub.key_for(f"conversation-{name}") for name in ("ann", "ben")}


@pytest.fixture
async def make_way(hub: RunningHub, keys: Mapping[str, str]) -> AsyncIterator[MakeWay]:
    """Makes the client of somebody over a binding in a version, from the card, without a choice."""
    channels: dict[str, Any] = {}

    def channel(address: str) -> Any:
        if address not in channels:
            channels[address] = grpc.aio.insecure_channel(address)
        return channels[address]

    async with httpx.AsyncClient(timeout=30) as http:
        card = await A2ACardResolver(http, hub.url).get_agent_card()

        def make(name: str, binding: str, version: str) -> Way:
            only = pb.AgentCard()
            only.CopyFrom(card)
            (interface,) = [
                i
                for i in card.supported_interfaces
                if (i.protocol_binding, i.protocol_version) == (binding, version)
            ]
            del only.supported_interfaces[:]
            only.supported_interfaces.append(interface)

            def client(streaming: bool) -> Client:
                config = ClientConfig(
                    streaming=streaming,
                    httpx_client=http,
                    grpc_channel_factory=channel,
                    supported_protocol_bindings=[binding],
                )
                return ClientFactory(config).create(only)

            credential = {"Authorization": f"Bearer {keys[name]}"}
            return Way(client(True), client(False), ClientCallContext(service_parameters=credential))

        yield make
        for one in channels.values():
            await one.close()


async def told_over(make_way: MakeWay, binding: str, version: str) -> Any:
    """What the conversation looks like over a binding."""
    return await converse(make_way("ann", binding, version), make_way("ben", binding, version))


async def test_the_same_conversation_is_the_same_over_every_binding(make_way: MakeWay) -> None:
    ways = [(binding, version) for version in ("1.0", "0.3") for binding in BINDINGS]
    told = await asyncio.gather(*(told_over(make_way, *way) for way in ways))
    first, *others = told[:3]
    assert first["echo"]["status"]["state"] == "TASK_STATE_COMPLETED"
    for way, other in zip(ways[1:], others, strict=False):
        assert differences(first, other) == {}, way
    first, *others = [in_words_of_0_3(one) for one in (first, *told[3:])]
    for way, other in zip(ways[3:], others, strict=True):
        assert differences(first, other) == {}, way


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Where two transcripts part."""
    assert list(one) == list(other)
    return {name: (one[name], other[name]) for name in one if one[name] != other[name]}


def in_words_of_0_3(value: Any) -> Any:
    """What is left of a transcript where 0.3 has a word for it: text and data have no media type there."""
    if isinstance(value, dict):
        nameless = "text" in value or "data" in value
        return {
            name: in_words_of_0_3(inner)
            for name, inner in value.items()
            if not (nameless and name in ("mediaType", "filename"))
        }
    return [in_words_of_0_3(inner) for inner in value] if isinstance(value, list) else value
