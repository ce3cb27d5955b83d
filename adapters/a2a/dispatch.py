"""The operations of A2A by name, over plain dicts. Bindings parse and render; what an operation means is said
once.

A binding makes a `Call`, and runs `answer` or `open` with the operation's name and its parameters. Nothing
here knows a transport.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from adapters.a2a import extensions, hitl
from adapters.a2a.agent import A2AConfig, ExposedAgent
from adapters.a2a.card import Cards
from adapters.a2a.errors import FORBIDDEN, METHOD_NOT_FOUND, TASK_NOT_FOUND, A2AError
from adapters.a2a.exposed import Exposed
from adapters.a2a.protojson import Params
from adapters.a2a.shown import Shown
from adapters.a2a.sse import stop
from adapters.a2a.version import CURRENT
from core.caller import Caller
from core.platform import Platform

T = TypeVar("T")

Frame: TypeAlias = tuple[int, dict[str, Any]]
"""One `StreamResponse`, and the version of the task that it brings its reader to."""
Frames: TypeAlias = AsyncGenerator[Sequence[Frame], None]


class ClientGone(Exception):
    """The client hung up while its call waited. What was accepted goes on."""


@dataclass(slots=True)
class Call:
    """One authenticated call, as its binding read it."""

    caller: Caller
    agent: ExposedAgent
    protocol_version: str = CURRENT
    idempotency_key: str | None = None
    last_event_id: str | None = None
    """Of the event after which its stream is to go on."""
    extensions: frozenset[str] = frozenset()
    gone: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Returns once the client has hung up."""
    held: ExitStack = field(default_factory=ExitStack)
    """What the call holds until its answer is out; its binding closes it."""
    notes: dict[str, str] = field(default_factory=dict)
    """What the answer says beside its result, as headers or metadata."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: it answers once, or streams."""

    name: str
    answer: Callable[["Dispatcher", Call, Params], Awaitable[dict[str, Any]]] | None = None
    stream: Callable[["Dispatcher", Call, Params], Frames] | None = None
    needs_extensions: bool = True
    """Whether it is refused to a client without the extensions that the agent requires."""


def through(caller: Caller, agent: ExposedAgent) -> Caller:
    """The caller as it looks through an agent: at what was sent to that one, and at nothing else."""
    return caller if agent.exposure_id is None else replace(caller, exposure_id=agent.exposure_id)


class Dispatcher:
    """Runs operations on the platform. It holds no client, and no task that it could not show anew."""

    def __init__(self, platform: Platform, config: A2AConfig, operations: Mapping[str, Operation]) -> None:
        self.platform = platform
        self.config = config
        self.operations = operations
        self.exposed = Exposed(platform)
        self.cards = Cards(platform, config, self.exposed)
        self.shown = Shown()

    def find(self, name: str) -> Operation:
        """The operation of that name.

        Raises:
            A2AError: MethodNotFound.
        """
        operation = self.operations.get(name)
        if operation is None:
            raise A2AError(METHOD_NOT_FOUND, f"No operation is called {name[:60]!r}.")
        return operation

    async def answer(self, operation: Operation, call: Call, params: Params) -> dict[str, Any]:
        """Run an operation that answers once.

        Raises:
            A2AError, HubError: the refusal.
            ClientGone: the client hung up first.
        """
        assert operation.answer is not None, operation.name
        await self._redirect(call, params)
        _activate(operation, call)
        result = await operation.answer(self, call, params)
        return hitl.shown(result) if extensions.HITL in call.extensions else result

    async def open(self, operation: Operation, call: Call, params: Params) -> Frames:
        """Run an operation that streams. What it refuses, it refuses here, before the first frame.

        Raises:
            A2AError, HubError: the refusal.
        """
        assert operation.stream is not None, operation.name
        await self._redirect(call, params)
        _activate(operation, call)
        call.held.enter_context(self.config.streams.taken_by(call.caller.principal_id))
        frames = operation.stream(self, call, params)
        opened = _resumed(await anext(frames), frames)
        return _extended(opened) if extensions.HITL in call.extensions else opened

    async def _redirect(self, call: Call, params: Params) -> None:
        """Let a call at the hub's own endpoints that names an agent as its tenant be one of that agent."""
        slug = params.get("tenant")
        if call.agent.slug is None and type(slug) is str and slug and slug != str(call.caller.tenant_id):
            try:
                call.agent = await self.exposed.named(slug, call.caller)
            except A2AError:
                raise _foreign() from None
            call.caller = through(call.caller, call.agent)


def _activate(operation: Operation, call: Call) -> None:
    """Take up the extensions that a call names, and say so in its answer.

    Raises:
        A2AError: ExtensionSupportRequired.
    """
    required = call.agent.required_extensions
    if required and operation.needs_extensions:
        extensions.check_required(call.extensions, required)
    if call.extensions:
        call.notes.update(extensions.activated(call.extensions, required, call.protocol_version))


async def _resumed(first: Sequence[Frame], rest: Frames) -> Frames:
    try:
        yield first
        async for frames in rest:
            yield frames
    finally:
        await rest.aclose()


async def _extended(frames: Frames) -> Frames:
    try:
        async for batch in frames:
            yield [(version, hitl.shown(frame)) for version, frame in batch]
    finally:
        await frames.aclose()


def check_tenant(call: Call, tenant: str | None) -> None:
    """A tenant that a caller names must be its credential's (specification §13.1), or the agent's slug.

    Raises:
        A2AError: it is another.
    """
    if tenant is not None and tenant not in (str(call.caller.tenant_id), call.agent.slug):
        raise _foreign()


def _foreign() -> A2AError:
    said = "tenant must be the one that the credential belongs to, or the slug of one of its agents."
    return A2AError(FORBIDDEN, said)


def task_id_of(text: str) -> UUID:
    """The id of a task. Anything else is no task's id, which is all that a caller learns.

    Raises:
        A2AError: TaskNotFound.
    """
    if len(text) == 36:
        try:
            return UUID(text)
        except ValueError:
            pass
    raise A2AError(TASK_NOT_FOUND, "No such task.")


async def unless_gone(call: Call, waiting: Coroutine[Any, Any, T]) -> T:
    """The result of a wait, given up when the client hangs up.

    Raises:
        ClientGone: it did.
    """
    if call.gone is None:
        return await waiting
    me = asyncio.current_task()
    assert me is not None, "a call runs in a task"
    over = left = False

    def leave(_: object) -> None:
        nonlocal left
        if not over:
            left = True
            me.cancel()

    gone = asyncio.ensure_future(call.gone())
    gone.add_done_callback(leave)
    try:
        return await waiting
    except asyncio.CancelledError:
        if left and not me.uncancel():
            raise ClientGone from None
        raise
    finally:
        over = True
        await stop(gone)
