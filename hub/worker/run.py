"""A whole worker in one call: connect, register if need be, work until drained."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from hub.client import Agent, Crossdock, Forbidden, Unauthorized
from hub.worker.identity import Identity
from hub.worker.notes import Kind, Listener, Note, silence
from hub.worker.worker import DEFAULT_TIMEOUT_MINUTES, Handler, Worker

USER_AGENT = "crossdock-worker"
PATIENCE = float("inf")
"""A worker outlives its hub: what it has to report is repeated until somebody hears it."""


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """Who works, on what, for which hub.

    With `agent_id` the key is taken for that agent's. Without, a new agent is registered with the key, which
    must be a worker's or an operator's, and works under a key of its own.
    """

    url: str
    api_key: str = field(repr=False)
    handler: Handler
    name: str = "worker"
    tags: Sequence[str] = ()
    only: Sequence[str] = ()
    """Tags without which a task is somebody else's."""
    tools: Sequence[str] = ()
    concurrency: int = 1
    lease_seconds: int = 60
    timeout_minutes: float | None = DEFAULT_TIMEOUT_MINUTES
    agent_id: str | None = None
    identity: Path | None = None
    """Where a registered agent is kept, for the next run to be the same one."""
    listener: Listener = silence


async def run_worker(config: WorkerConfig, *, drain: asyncio.Event | None = None) -> None:
    """Work until `drain` is set and what was running then is done. Cancelling it stops at once.

    Hubs that are away, at the start or later, are waited for.

    Raises:
        Unauthorized, Forbidden, NotFound: the hub does not let this key or agent work.
    """
    with Identity(config.identity) as kept:
        identity = await _identity(config, kept, drain or asyncio.Event())
        if identity is not None:
            await _work(config, *identity, drain)


async def _work(config: WorkerConfig, agent_id: str, api_key: str, drain: asyncio.Event | None) -> None:
    async with _connect(config, api_key) as hub:
        worker = Worker(
            hub,
            config.handler,
            agent_id=agent_id,
            concurrency=config.concurrency,
            lease_seconds=config.lease_seconds,
            timeout_minutes=config.timeout_minutes,
            listener=config.listener,
        )
        _note(config, Kind.WAITING, f'worker "{config.name}" waiting at {config.url}', agent_id=agent_id)
        draining = asyncio.create_task(_drain(worker, drain))
        try:
            await worker.run()
        finally:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
    _note(config, Kind.STOPPED, "nothing left to do; bye", agent_id=agent_id)


async def _identity(config: WorkerConfig, kept: Identity, drain: asyncio.Event) -> tuple[str, str] | None:
    """The agent to be and its key; None when told to stop before the hub answered."""
    if config.agent_id is not None:
        return config.agent_id, config.api_key
    async with _connect(config, config.api_key) as hub:
        introducing = asyncio.create_task(_known_or_new(config, kept, hub))
        draining = asyncio.create_task(drain.wait())
        try:
            await asyncio.wait({introducing, draining}, return_when=asyncio.FIRST_COMPLETED)
            return introducing.result() if introducing.done() else None
        finally:
            introducing.cancel()
            draining.cancel()
            await asyncio.gather(introducing, draining, return_exceptions=True)


async def _known_or_new(config: WorkerConfig, kept: Identity, hub: Crossdock) -> tuple[str, str]:
    known = kept.read()
    if known is not None:
        async with _connect(config, known[1]) as as_before:
            try:
                me = await as_before.me()
            except (Unauthorized, Forbidden):
                pass  # another database, or a key that was revoked
            else:
                if me.get("owner_id") == known[0]:
                    return known
    fresh = await _introduce(config, hub)
    kept.write(*fresh)
    return fresh


async def _introduce(config: WorkerConfig, hub: Crossdock) -> tuple[str, str]:
    try:
        while True:
            agent = await _register(config, hub)
            if agent.api_key is not None:
                return agent.id, agent.api_key
            # Its key was in an answer that got lost, and keys are shown once: that agent stays without work.
    except Forbidden:
        me = await hub.me()
        if me.get("owner_type") == "agent" and me.get("owner_id"):
            return str(me["owner_id"]), config.api_key
        raise


async def _register(config: WorkerConfig, hub: Crossdock) -> Agent:
    return await hub.agents.register(
        config.name,
        routing_tags=config.tags,
        **({"only_tags": list(config.only)} if config.only else {}),
        tools=config.tools,
        max_concurrent=config.concurrency,
        idempotency_key=uuid4().hex,
    )


def _connect(config: WorkerConfig, api_key: str) -> Crossdock:
    def reach(reached: bool) -> None:
        if reached:
            _note(config, Kind.REACHABLE, "the hub is back")
        else:
            _note(config, Kind.UNREACHABLE, f"no hub at {config.url}; trying on, what runs goes on")

    return Crossdock(config.url, api_key, retry_seconds=PATIENCE, user_agent=USER_AGENT, on_reach=reach)


async def _drain(worker: Worker, drain: asyncio.Event | None) -> None:
    if drain is not None:
        await drain.wait()
        worker.drain()


def _note(config: WorkerConfig, kind: Kind, text: str, **facts: str) -> None:
    config.listener(Note(kind=kind, text=text, facts=facts))
