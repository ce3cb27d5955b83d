"""`/metrics` for Prometheus and `/health/detail` for people: admin keys only, and no tenant's numbers apart.

Requests are timed up to the head of their answer, by the route's template and never by its path, so that the
number of series does not grow with use. What is in the database is counted when it is asked for.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from pydantic_core import to_json
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Send
from starlette.types import Scope as ASGIScope

from core.caller import Caller
from core.errors import Forbidden, HubError
from core.measures import Measures, measure
from core.platform import Platform
from core.transitions import FINAL
from hub.answers import JSON, send_answer
from hub.authentication import NOBODY
from hub.places import Places
from schemas.v1.fields import now
from schemas.vocabulary import Scope, TaskState

ROUTE: Final = "route"
"""Where the dispatcher leaves a route's template, in the state of a request."""
_FACES: Final = frozenset({"a2a", "acp", "agents", "mcp", "health", "metrics", "docs", ".well-known"})
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_TEXT: Final = (b"content-type", CONTENT_TYPE_LATEST.encode())

Series = tuple[str, str, int]


class Metrics:
    """What one process has seen, and what is in the database."""

    def __init__(
        self, platform: Platform, places: Mapping[str, Places], version: str, stopping: Callable[[], bool]
    ) -> None:
        self._platform = platform
        self._places = places
        self._version = version
        self._stopping = stopping
        self._began = time.monotonic()
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._requests = Histogram(
            "crossdock_http_request_seconds",
            "Time to the head of the answer",
            ["route", "method", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._series: dict[Series, Histogram] = {}

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"crossdock_{name}", about, labels, registry=registry)

        gauge("build_info", "The version", "version").labels(version).set(1)
        self._tasks = gauge("tasks", "Tasks that are not final", "state")
        self._leases = gauge("leases", "Leases that are held")
        self._approvals = gauge("approvals_pending", "Approvals that wait for a decision")
        self._position = gauge("event_log_position", "The newest event")
        self._lag = gauge("event_log_lag", "Events that a reader of the log is behind", "consumer")
        self._outbox = gauge("outbox_pending", "Notifications that are not settled", "channel")
        self._occasions = gauge("occasions_queued", "Runs and starts that wait for their turn")
        self._open = gauge("open_connections", "Streams and long polls", "kind")
        self._database = gauge("database_read_seconds", "How long the counts of this answer took")
        self._up = gauge("database_up", "Whether the database answers")

    def answered(self, scope: ASGIScope, status: int, seconds: float) -> None:
        """Note that an answer has begun."""
        path: str = scope["path"]
        route = scope["state"].get(ROUTE)
        if route is None:
            first = path.split("/", 2)[1]
            route = f"/{first}" if first in _FACES else "other"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        key = (route, method, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._requests.labels(route, method, str(status))
        series.observe(seconds)

    async def _look(self) -> tuple[Measures | None, float]:
        began = time.perf_counter()
        try:
            found = await self._platform.read(NOBODY, measure, None)
        except HubError:
            found = None
        return found, time.perf_counter() - began

    async def text(self) -> bytes:
        """Everything, in the exposition format of Prometheus."""
        found, took = await self._look()
        self._up.set(found is not None)
        self._database.set(took)
        for kind, places in self._places.items():
            self._open.labels(kind).set(places.total)
        if found is not None:
            for state in TaskState:
                if state not in FINAL:
                    self._tasks.labels(state.wire).set(found.tasks.get(state, 0))
            self._leases.set(found.leases)
            self._approvals.set(found.approvals)
            self._position.set(found.log_position)
            self._occasions.set(found.occasions)
            self._lag.clear()
            for consumer, lag in found.lags.items():
                self._lag.labels(consumer).set(lag)
            self._outbox.clear()
            for channel, count in found.deliveries.items():
                self._outbox.labels(channel).set(count)
        return generate_latest(self.registry)

    async def detail(self) -> dict[str, Any]:
        """How each part of the hub is doing; `status` is that of the worst."""
        found, took = await self._look()
        database: dict[str, Any] = {"status": "unavailable" if found is None else "ok"}
        parts: dict[str, Any] = {"database": {**database, "read_seconds": round(took, 6)}}
        if found is not None:
            waiting = found.tasks.get(TaskState.READY, 0)
            parts["queue"] = {"status": "ok", "ready": waiting, "leases": found.leases}
            parts["event_log"] = {"status": "ok", "position": found.log_position, "lags": dict(found.lags)}
            parts["deliveries"] = {"status": "ok", "pending": dict(found.deliveries)}
            parts["approvals"] = {"status": "ok", "pending": found.approvals}
            parts["schedules_and_triggers"] = {"status": "ok", "queued": found.occasions}
        parts["connections"] = {"status": "ok", **{k: p.total for k, p in self._places.items()}}
        parts["process"] = {"status": "stopping" if self._stopping() else "ok"}
        worst = "ok" if all(part["status"] == "ok" for part in parts.values()) else "degraded"
        return {
            "status": "unavailable" if found is None else worst,
            "version": self._version,
            "uptime_seconds": round(time.monotonic() - self._began, 3),
            "timestamp": now(),
            "components": parts,
        }


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Asked:
    """One of both routes, for admins."""

    def __init__(self, metrics: Metrics, detail: bool) -> None:
        self._metrics = metrics
        self._detail = detail

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Answer.

        Raises:
            Forbidden: the key is no admin's.
        """
        caller: Caller = scope["state"]["caller"]
        if not caller.scope.includes(Scope.ADMIN):
            raise Forbidden(f"this needs a key of scope admin, and yours is {caller.scope}")
        if not self._detail:
            await send_answer(send, 200, [_TEXT], await self._metrics.text())
            return
        found = await self._metrics.detail()
        await send_answer(send, 503 if found["status"] == "unavailable" else 200, [JSON], to_json(found))


def routes(metrics: Metrics) -> Sequence[BaseRoute]:
    """Both routes. Neither is public."""
    return [
        Route("/metrics", _Asked(metrics, False), methods=["GET"]),
        Route("/health/detail", _Asked(metrics, True), methods=["GET"]),
    ]
