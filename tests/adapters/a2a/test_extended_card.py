"""The extended card: what an authenticated caller may use, in every binding. Specification §3.1.11."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio  # type: ignore[import-untyped]
import httpx
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2 as old_pb
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc, conversions, proto_utils
from a2a.compat.v0_3 import types as old
from a2a.types import a2a_pb2 as pb
from a2a.types import a2a_pb2_grpc
from a2a.utils.signing import create_signature_verifier
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]
from jwt import PyJWKSet

from adapters.a2a import A2AConfig
from adapters.a2a.extensions import AGENTS
from adapters.a2a.grpc_binding import GrpcServer
from core.caller import SYSTEM
from core.exposures import Expose, Target, expose
from core.platform import Platform
from schemas.vocabulary import ExposureKind
from tests.adapters.a2a.support import PUBLIC, STRANGER, TENANT, Client, Keys, official_card

SKILL = {"id": "t", "name": "T", "description": "Translates.", "tags": ["text"], "examples": []}
LISTED = {
    "slug": "tr",
    "name": "Tra",
    "description": "Words.",
    "cardUrl": f"{PUBLIC}/agents/tr/.well-known/agent-card.json",
}


@pytest.fixture(autouse=True)
async def exposed(platform: Platform) -> None:
    """One agent of ann's tenant, one that is switched off, and one elsewhere."""
    target = Target(ExposureKind.ROLE, "translator")
    tra = Expose("tr", target, name="Tra", description="Words.", skills=[SKILL])
    await platform.write(SYSTEM(TENANT), expose, tra)
    await platform.write(SYSTEM(TENANT), expose, Expose("off", target, is_active=False))
    await platform.write(SYSTEM(STRANGER.tenant_id), expose, Expose("far", target))


@pytest.fixture
async def channel(platform: Platform, config: A2AConfig, keys: Keys) -> AsyncIterator[Any]:
    """A connection over gRPC."""
    server = GrpcServer(platform, config, keys, host="127.0.0.1", port=0)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop()


def agents_of(card: Any) -> list[Any]:
    """What the directory on a card lists."""
    told = MessageToDict(official_card(card))["capabilities"]["extensions"]
    return [agent for one in told if one["uri"] == AGENTS for agent in one["params"]["agents"]]


async def test_the_hubs_tells_which_agents_may_be_addressed(ann: Client, http: httpx.AsyncClient) -> None:
    public = (await http.get("/.well-known/agent-card.json")).json()
    assert public["capabilities"]["extendedAgentCard"] is True
    assert agents_of(public) == []
    card = await ann.result("GetExtendedAgentCard")
    assert agents_of(card) == [LISTED]
    assert [(skill["id"], skill["tags"]) for skill in card["skills"]] == [
        ("task", ["task", "delegation"]),
        ("tr/t", ["text", "tenant:tr"]),
    ]
    theirs = await Client(http, name="eve").result("GetExtendedAgentCard")
    assert [agent["slug"] for agent in agents_of(theirs)] == ["far"]


async def test_it_is_the_same_in_every_binding_and_signed(
    ann: Client, http: httpx.AsyncClient, channel: Any
) -> None:
    over_rpc = await ann.result("GetExtendedAgentCard")
    over_rest = (await ann.rest("GET", "/extendedAgentCard")).json()
    assert over_rest == over_rpc
    stub = a2a_pb2_grpc.A2AServiceStub(channel)  # type: ignore[no-untyped-call]
    metadata = (("authorization", "Bearer ann"),)
    over_grpc = await stub.GetExtendedAgentCard(pb.GetExtendedAgentCardRequest(), metadata=metadata)
    known = PyJWKSet.from_dict((await http.get("/.well-known/jwks.json")).json())
    check = create_signature_verifier(lambda kid, jku: known[kid or ""], ["ES256"])
    check(over_grpc)
    read = official_card(over_rpc)
    check(read)
    for card in (read, over_grpc):  # a signature is another each time it is made
        del card.signatures[:]
    assert over_grpc == read


async def test_clients_of_0_3_read_it_too(http: httpx.AsyncClient, channel: Any) -> None:
    bob = Client(http, version=None)
    card = old.AgentCard.model_validate(await bob.result("agent/getAuthenticatedExtendedCard"))
    assert card.supports_authenticated_extended_card
    stub = a2a_v0_3_pb2_grpc.A2AServiceStub(channel)  # type: ignore[no-untyped-call]
    metadata = (("authorization", "Bearer ann"),)
    over_grpc = await stub.GetAgentCard(old_pb.GetAgentCardRequest(), metadata=metadata)
    told = (await bob.rest("GET", "/card")).json()
    over_rest = ParseDict(told, old_pb.AgentCard(), ignore_unknown_fields=True)
    for read in (over_rest, over_grpc):
        assert len(read.signatures) == 1
        del read.signatures[:]
    assert over_rest == over_grpc
    for one in (card, proto_utils.FromProto.agent_card(over_grpc)):
        assert one.url == f"{PUBLIC}/a2a"
        assert [skill.id for skill in one.skills] == ["task", "tr/t"]
        assert one.security == [{"bearer": ["agent"]}]
        assert conversions.to_core_agent_card(one).name == "Crossdock"


async def test_an_exposed_agent_shows_its_own(ann: Client, http: httpx.AsyncClient) -> None:
    public = (await http.get("/agents/tr/.well-known/agent-card.json")).json()
    own = (await ann.rest("GET", "/tr/extendedAgentCard")).json()
    assert official_card(own).skills == official_card(public).skills
    assert agents_of(own) == []
    headers = ann.headers()
    there = await http.get("/agents/tr/a2a/v1/extendedAgentCard", headers=headers)
    assert there.json() == own


async def test_nobody_is_shown_it_without_a_credential(http: httpx.AsyncClient) -> None:
    for path in ("/a2a/v1", "/agents/tr/a2a/v1"):
        answer = await http.get(f"{path}/extendedAgentCard", headers={"A2A-Version": "1.0"})
        assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer")
