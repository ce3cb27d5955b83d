"""Ann and Ben, over each binding, with a real hub and its scripted worker."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc.aio  # type: ignore[import-untyped]
import httpx
import pytest

from tests.conformance.a2a.wires import BINDINGS, Grpc, Http, JsonRpc, Params, Refusal, Rest, Wire
from tests.conformance.hub_process import RunningHub


@dataclass(frozen=True)
class Speaker:
    """Somebody over one binding, with the short forms that tests read well in."""

    wire: Wire
    other: Wire
    """Somebody else over the same binding."""

    @property
    def binding(self) -> str:
        """Which one."""
        return self.wire.binding

    async def ask(self, operation: str, params: Params | None = None, **headers: str | None) -> Any:
        """The result, which there must be."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await self.wire.told(operation, params or {}, sent)).result

    async def refused(self, operation: str, params: Params | None = None, **headers: str | None) -> Refusal:
        """The refusal, which there must be, of a call or of a stream."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await refusal_of(self.wire, operation, params or {}, sent)

    async def send(self, params: Params) -> Any:
        """The task that a send is answered with."""
        return (await self.ask("SendMessage", params))["task"]

    async def get(self, id: str, **members: Any) -> Any:
        """The task."""
        return await self.ask("GetTask", {"id": id, **members})

    async def stream(self, operation: str, params: Params) -> list[Any]:
        """All frames of a stream."""
        async with self.wire.streamed(operation, params) as frames:
            return [frame async for frame in frames]

    async def until(self, id: str, state: str) -> Any:
        """The task, once it is in a state: the worker's turn to act is waited for by a stream."""
        async with self.wire.streamed("SubscribeToTask", {"id": id}) as frames:
            async for frame in frames:
                status = frame.get("task", frame.get("statusUpdate", {})).get("status", {})
                if status.get("state") == state:
                    return await self.get(id)
        raise AssertionError(f"the task never became {state}")


async def refusal_of(wire: Wire, operation: str, params: Params, headers: dict[str, str | None]) -> Refusal:
    """How a call is refused."""
    try:
        if operation in ("SendStreamingMessage", "SubscribeToTask"):
            async with wire.streamed(operation, params, headers) as frames:
                told: Any = await anext(frames)
        else:
            told = (await wire.told(operation, params, headers)).result
    except Refusal as refusal:
        return refusal
    raise AssertionError(f"{operation} was not refused: {told}")


Card = dict[str, Any]
MakeWire = Callable[[str, str], Awaitable[Wire]]


@pytest.fixture(scope="session")
def names(hub: RunningHub) -> dict[str, str]:
    """The keys of Ann and Ben; made once, as minting is rationed."""
    return {name: hub.key_for(f"requirements-{name}") for name in ("ann", "ben")}


@pytest.fixture(scope="session")
def card(hub: RunningHub) -> Card:
    """The hub's card."""
    told: Card = httpx.get(f"{hub.url}/.well-known/agent-card.json", timeout=30, verify=False).json()
    return told


@pytest.fixture
async def make_wire(hub: RunningHub, card: Card, names: dict[str, str]) -> AsyncIterator[MakeWire]:
    """Makes somebody's client of a binding, from the card."""
    channels: list[Any] = []
    # Nothing here is TLS, and reading the machine's certificates would be most of a test's time.
    async with httpx.AsyncClient(timeout=30, verify=False) as client:

        async def make(name: str, binding: str) -> Wire:
            key = names.get(name, name)
            if binding != "GRPC":
                http = Http(client, hub.url, key)
                return JsonRpc(http) if binding == "JSONRPC" else Rest(http)
            address = next(i["url"] for i in card["supportedInterfaces"] if i["protocolBinding"] == "GRPC")
            channels.append(grpc.aio.insecure_channel(address))
            return Grpc(channels[-1], key)

        yield make
        for channel in channels:
            await channel.close()


@pytest.fixture(params=BINDINGS)
async def ann(make_wire: MakeWire, request: pytest.FixtureRequest) -> Speaker:
    """Ann, over each binding, and Ben beside her."""
    return Speaker(await make_wire("ann", request.param), await make_wire("ben", request.param))


@pytest.fixture
def http(hub: RunningHub, names: dict[str, str]) -> Iterator[httpx.Client]:
    """A bare HTTP client with Ann's key."""
    headers = {"Authorization": f"Bearer {names['ann']}", "A2A-Version": "1.0"}
    with httpx.Client(base_url=hub.url, headers=headers, timeout=30, verify=False) as client:
        yield client
