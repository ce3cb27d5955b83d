"""An agent that lacks a capability, and one that requires an extension. Specification §3.3.4, §5.4.

In process, as no hub is started so; over the same wires.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import grpc.aio  # type: ignore[import-untyped]
import httpx
import pytest
from starlette.applications import Starlette

from adapters.a2a import A2AConfig, routes
from adapters.a2a.agent import HUB
from adapters.a2a.grpc_binding import GrpcServer
from core.platform import Platform
from core.store import open_store
from tests.adapters.a2a.support import PUBLIC, Keys
from tests.conformance.a2a.conftest import Speaker
from tests.conformance.a2a.test_parameters import OPERATIONS
from tests.conformance.a2a.wires import BINDINGS, Grpc, Http, JsonRpc, Rest, Wire, at_once

requirement = pytest.mark.requirement
NEEDED = "https://example.com/needed/v2"
PUSH = {name: params for name, params in OPERATIONS.items() if "PushNotificationConfig" in name}


@pytest.fixture
async def bare(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Speaker]:
    """Ann before an agent without push notifications; the parameter says what it requires."""
    binding, required = request.param
    platform = Platform(open_store(database_url))
    await platform.start()
    agent = replace(HUB, required_extensions=required)
    config = A2AConfig(PUBLIC, "1", hub=agent)
    keys = Keys()
    server = GrpcServer(platform, config, keys, host="127.0.0.1", port=0)
    port = await server.start()
    app = Starlette(routes=list(routes(platform, config, keys)))
    transport = httpx.ASGITransport(app)
    async with (
        httpx.AsyncClient(transport=transport, base_url=PUBLIC) as client,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):

        def wire(name: str) -> Wire:
            if binding == "GRPC":
                return Grpc(channel, name)
            http = Http(client, PUBLIC, name)
            return JsonRpc(http) if binding == "JSONRPC" else Rest(http)

        yield Speaker(wire("ann"), wire("ben"))
    await server.stop()
    await platform.stop()


def with_each_binding(*required: str) -> pytest.MarkDecorator:
    """Each binding of an agent that requires these extensions."""
    return pytest.mark.parametrize(
        "bare", [pytest.param((binding, required), id=binding) for binding in BINDINGS], indirect=True
    )


@requirement("3.3.4-no-push", "5.4-push-not-supported")
@with_each_binding()
async def test_without_push_notifications_their_operations_are_refused(bare: Speaker) -> None:
    code = {"JSONRPC": -32003, "HTTP+JSON": 400, "GRPC": "FAILED_PRECONDITION"}[bare.binding]
    for operation, params in PUSH.items():
        refusal = await bare.refused(operation, params)
        assert (refusal.reason, refusal.code) == ("PUSH_NOTIFICATION_NOT_SUPPORTED", code), operation


@requirement("3.3.4-no-push-inline")
@with_each_binding()
async def test_without_push_notifications_a_send_that_wants_one_makes_nothing(bare: Speaker) -> None:
    configuration = {"taskPushNotificationConfig": {"url": "https://93.184.216.34/hook"}}
    refusal = await bare.refused("SendMessage", at_once(configuration=configuration))
    assert refusal.reason == "PUSH_NOTIFICATION_NOT_SUPPORTED"
    assert (await bare.ask("ListTasks")).get("tasks", []) == []


@requirement("3.3.4-extension", "5.4-extension-required", "4.6.3-no-fallback")
@with_each_binding(NEEDED)
@pytest.mark.parametrize("named", [None, "https://example.com/needed/v1", "urn:unknown"])
async def test_without_a_required_extension_nothing_is_done(bare: Speaker, named: str | None) -> None:
    code = {"JSONRPC": -32008, "HTTP+JSON": 400, "GRPC": "FAILED_PRECONDITION"}[bare.binding]
    for operation, params in OPERATIONS.items():
        if operation != "GetExtendedAgentCard":
            refusal = await bare.refused(operation, params, A2A_Extensions=named)
            assert (refusal.reason, refusal.code) == ("EXTENSION_SUPPORT_REQUIRED", code), operation
    assert (await bare.ask("ListTasks", A2A_Extensions=NEEDED)).get("tasks", []) == []
