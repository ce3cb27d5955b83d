"""The hub, put together: one platform, the faces in front of it, and the stack around them.

Read it aloud: a store, a platform on it, who may come in, the doors, the edge. Nothing here decides anything
about a task.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters import a2a, acp, mcp
from adapters.a2a.delegate import Delegator
from adapters.a2a.notify import PushComposer
from adapters.a2a.remote.card import CardReader
from adapters.files import DiskFiles
from adapters.mcp import oauth
from adapters.mcp.oauth.issuers import Issuers
from adapters.mcp.upstream.discovery import ServerReader, client_info
from adapters.outbound import Outbound
from adapters.webhook import WebhookSender
from core import bootstrap
from core.bootstrap import DEFAULT_TENANT, Prepare, Prepared
from core.caller import SYSTEM
from core.egress import Allowed
from core.errors import Unavailable
from core.exchange import Exchange
from core.jobs.delivery import Courier, Pace
from core.jobs.fanout import Fanout
from core.jobs.runner import Clockwork
from core.keyring import Keyring
from core.mcp.upkeep import Upkeep
from core.platform import Platform
from core.ports import Composer, Files
from core.push_targets import PUSH
from core.store import Store, migrate, open_store
from core.webhook_targets import WEBHOOKS
from hub import docs, health, metrics, oauth_pages
from hub.admission import Admission, Site
from hub.api import ROUTES, legacy_a2a
from hub.api.call import Shared
from hub.api.dispatch import Api
from hub.api.routing import MIB, PREFIX
from hub.authentication import Authenticator
from hub.event_socket import EventSocket
from hub.foreign_callers import ForeignCallers
from hub.middleware import Edge, Render, authenticated
from hub.oauth_pages import CLIENT_DOCUMENT
from hub.places import Places
from hub.secret_file import HubSecret
from hub.sessions import SESSIONS, Sessions
from hub.settings import Settings, SettingsError
from hub.version import version
from hub.webhook_composer import WebhookComposer
from hub.worker_socket import WorkerSocket

if TYPE_CHECKING:
    from adapters.a2a.grpc_binding import GrpcServer

WAITS, ALL_WAITS = 256, 10_000
"""Long polls of one principal, and of all."""
STREAMS, ALL_STREAMS = 2_000, 10_000
"""Open streams of one principal, and of all."""


@dataclass(frozen=True)
class Door:
    """One way in: its routes, how it tells refusals made before it saw the request, and what is public."""

    routes: Sequence[BaseRoute]
    owns: Callable[[str], bool] = lambda path: False
    render: Render | None = None
    public: frozenset[str] = frozenset()
    is_public: Callable[[str], bool] = lambda path: False
    """Of paths that are not in `public`, whether they are so all the same."""


@dataclass(frozen=True)
class App:
    """A hub that can be served. Its lifespan opens and closes everything."""

    asgi: ASGIApp
    platform: Platform
    public_url: str
    stopping: asyncio.Event
    """Set it when a stop begins: streams and long polls end at once."""
    streams: Places
    """The places of open event streams."""
    is_upload: Callable[[str], bool]
    """Paths whose bodies may take their time."""
    files: Files
    """Who keeps what is too large for the database."""


def build(
    settings: Settings,
    secret: HubSecret,
    *,
    port: int | None = None,
    store: Store | None = None,
    on_prepared: Callable[[Prepared], None] = lambda prepared: None,
    further: Sequence[Callable[[Platform], Door]] = (),
) -> App:
    """Put a hub together. `port` is the one really taken; `further` are doors beside the hub's own.

    A `store` that is handed in has its tables already; else they are migrated at the start. `on_prepared`
    hears during the start what the database needed; that may hold the first admin key.
    """
    public_url, stopping = settings.address(port), asyncio.Event()
    keyring = Keyring(secret.key, secret.previous)
    platform = Platform(store or open_store(settings.database_url))
    files, closing_files = _files(settings)
    clockwork = Clockwork(platform, storage=files)

    outbound = Outbound(Allowed.parse(settings.outbound_allow), listening=lambda: settings.all_sockets(port))
    sender = WebhookSender(outbound)
    pace = Pace(retries=settings.delivery_retries)
    alone = settings.database_path is not None  # one process serves one SQLite file
    composers: dict[str, Composer] = {
        PUSH.name: PushComposer(platform),
        WEBHOOKS.name: WebhookComposer(platform),
    }
    courier = Courier(platform, sender, composers, pace, alone=alone)
    fanout = Fanout(platform)
    delegator = Delegator(platform, outbound, presence=clockwork.presence.heard, alone=alone)

    exchange = Exchange(platform, keyring, public_url)
    trusted = Issuers(outbound, settings.mcp_issuers, monotonic=platform.monotonic, now=platform.now)
    foreign = ForeignCallers(platform, trusted, public_url, settings.mcp_scope)
    presence = clockwork.presence.heard
    authenticator = Authenticator(
        platform,
        exchange,
        cookies=settings.cookies,
        presence=presence,
        takes_task_tokens=mcp.owns,
        foreign=foreign,
    )
    sessions = Sessions(exchange, authenticator, public_url=public_url, cookies=settings.cookies)

    waits = Places("long polls", WAITS, ALL_WAITS)
    streams = Places("streams", STREAMS, ALL_STREAMS)
    cards = CardReader(outbound)
    given = oauth.RegistryGives(platform)
    identity = oauth.Identity(public_url, settings.oauth_client_url or public_url + CLIENT_DOCUMENT)
    engine = oauth.OAuthEngine(platform, outbound, oauth.OAuthConfig(identity, given.extras, given.connected))
    credentials = oauth.ServerCredentials(oauth.Authorizations(platform, engine))
    servers = given.servers = ServerReader(outbound, client_info(version()), credentials, platform)
    consent = oauth.OAuthUpkeep(platform, engine)
    registry = Upkeep(platform, servers)
    shared = Shared(
        platform,
        waits,
        streams,
        authenticator.ended,
        stopping,
        cards=cards,
        public_url=public_url,
        servers=servers,
        files=files,
        oauth=engine,
        receivers=sender,
    )
    api = Api(shared, ROUTES, authenticated)
    speaking_a2a = a2a.A2AConfig(
        public_url,
        version(),
        settings.a2a_blocking_seconds,
        waits=waits,
        streams=streams,
        receivers=sender,
        grpc_address=settings.grpc_address,
    )
    speaking_mcp = mcp.McpConfig(
        public_url,
        version(),
        settings.mcp_issuers,
        settings.mcp_scope,
        waits=waits,
        streams=streams,
        stopping=stopping,
    )
    speaking_acp = acp.ACPConfig(version(), connections=streams, stopping=stopping)
    gateway = mcp.gateway_of(
        platform, speaking_mcp, outbound, credentials=credentials, presence=presence, alone=alone
    )
    over_grpc = _grpc(settings, platform, speaking_a2a, authenticator) if settings.grpc_port else None
    open_places = {"streams": streams, "long_polls": waits}
    seen = metrics.Metrics(platform, open_places, version(), stopping.is_set)
    doors = [
        Door(metrics.routes(seen)),
        Door(health.routes(platform, stopping.is_set), public=frozenset(health.PATHS)),
        Door(docs.routes(), public=docs.PATHS),
        Door(legacy_a2a.card_routes(public_url), public=frozenset({legacy_a2a.CARD})),
        Door(
            a2a.routes(platform, speaking_a2a, authenticator),
            a2a.owns,
            a2a.render_error,
            is_public=a2a.is_public,
        ),
        Door(
            mcp.routes(platform, speaking_mcp, authenticator, gateway),
            mcp.owns,
            mcp.render_error(speaking_mcp),
            is_public=mcp.is_public,
        ),
        Door(oauth_pages.routes(engine), public=oauth_pages.PATHS),
        Door(acp.routes(platform, speaking_acp, authenticator), acp.owns, acp.render_error),
        Door(
            [
                WebSocketRoute(f"{PREFIX}/events", WorkerSocket(shared)),
                WebSocketRoute(f"{PREFIX}/events/ws", EventSocket(shared)),
            ]
        ),
        *(door(platform) for door in further),
    ]

    @asynccontextmanager
    async def life(_: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if store is None:
                await migrate.ensure(settings.database_url)
            await platform.start()
            stack.push_async_callback(platform.stop)
            prepare = Prepare(keyring, settings.admin_api_key)
            on_prepared(await platform.write(SYSTEM(DEFAULT_TENANT), bootstrap.prepare, prepare))
            stack.push_async_callback(outbound.close)
            stack.push_async_callback(closing_files)
            for job in (clockwork, fanout, courier, delegator, registry, consent, gateway):
                await job.start()
                stack.push_async_callback(job.stop)
            stack.push_async_callback(authenticator.close)
            if over_grpc is not None:
                await over_grpc.start()
                stack.push_async_callback(over_grpc.stop)
            farewell = asyncio.create_task(_farewell(platform, stopping), name="farewell")
            stack.callback(farewell.cancel)
            yield

    routes = [route for door in doors for route in door.routes]
    front = _Front(api, sessions, Router(routes, redirect_slashes=False, lifespan=life))
    public = frozenset(path for door in doors for path in door.public)
    site = Site.of(
        public_url,
        loopback=settings.binds_loopback,
        hosts=settings.allowed_hosts,
        origins=settings.allowed_origins,
        proxies=settings.trusted_proxies,
    )
    edge = Edge(
        front,
        admission=Admission(site),
        authenticate=authenticator,
        is_public=lambda method, path: (
            path in public or api.is_public(method, path) or any(door.is_public(path) for door in doors)
        ),
        body_limit=partial(_body_limit, api),
        is_rationed=api.is_rationed,
        answered=seen.answered,
        renderers=[(door.owns, door.render) for door in doors if door.render is not None],
    )
    return App(edge, platform, public_url, stopping, streams, api.is_upload, files)


def _grpc(
    settings: Settings, platform: Platform, config: a2a.A2AConfig, authenticator: Authenticator
) -> "GrpcServer":
    """The server of A2A over gRPC.

    Raises:
        SettingsError: its extra is not installed.
    """
    try:
        from adapters.a2a.grpc_binding import GrpcServer
    except ImportError as error:
        missing = "needs the extra `grpc` (pip install 'crossdock[grpc]'), or must be empty"
        raise SettingsError("CROSSDOCK_GRPC_PORT", missing, "") from error
    host, port = settings.host.strip("[]"), settings.grpc_port or 0
    return GrpcServer(platform, config, authenticator, host=host, port=port)


def _files(settings: Settings) -> tuple[Files, Callable[[], Coroutine[Any, Any, None]]]:
    """Who keeps files, and how it is closed.

    Raises:
        SettingsError: its extra is not installed.
    """
    if settings.files_bucket is None:
        return DiskFiles(settings.files_path), _nothing
    try:
        from adapters.files.s3 import S3Files
    except ImportError as error:
        missing = "needs the extra `s3` (pip install 'crossdock[s3]'), or must be a directory"
        raise SettingsError("CROSSDOCK_FILES", missing, "/var/lib/crossdock/files") from error
    bucket = S3Files(settings.files_bucket)
    return bucket, bucket.close


async def _nothing() -> None:
    """A directory needs no closing."""


def _body_limit(api: Api, path: str) -> int | None:
    """Bytes that a body on this path may have; None where the face counts for itself."""
    if path.startswith(PREFIX):
        return api.body_limit(path)
    return None if acp.owns(path) else 10 * MIB


class _Front:
    """Sends `/api/v1` to its own dispatcher, and everything else to the doors."""

    def __init__(self, api: Api, sessions: Sessions, router: Router) -> None:
        self._api = api
        self._sessions = sessions
        self._router = router
        self._prefix = PREFIX + "/"
        # A path without parameters needs no search; the router tries its routes one by one.
        self._plain = {
            route.path: route.app
            for route in reversed(router.routes)
            if isinstance(route, Route) and not route.param_convertors and route.methods is None
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith(self._prefix) and path not in self._plain:
            scope[SESSIONS] = self._sessions
            await self._api(scope, receive, send)
        else:
            app = self._plain.get(scope["path"], self._router) if scope["type"] == "http" else self._router
            await app(scope, receive, send)


async def _farewell(platform: Platform, stopping: asyncio.Event) -> None:
    """End the streams as soon as a stop begins, so that it need not wait for them."""
    await stopping.wait()
    await platform.tail.stop(Unavailable("The hub is stopping."))
