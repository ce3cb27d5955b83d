"""What a push notification says (specification §4.3.3): a `StreamResponse` that a stream would have told.

It is made from the log when it is sent, so nothing is kept twice and a late one still tells its own event, in
the words of the version that its receiver speaks. Whether and when it is sent, `core/jobs` knows.
"""

import copy
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from adapters.a2a import streams, translate
from adapters.a2a.progress import Progress, at_birth
from adapters.a2a.v03.webhook import bare_task
from adapters.a2a.version import CURRENT, LEGACY
from core.caller import SYSTEM, Caller
from core.errors import NotFound
from core.events import Event
from core.history import Story, event_at, story
from core.platform import Platform
from core.ports import Due, NoTarget, Outgoing
from core.push_targets import PushTarget, open_target
from core.sealing import Unsealable
from core.targets import OVERFLOW
from core.tasks.read import GetTask, view_task
from schemas.strict_json import dump_json

TOKEN_HEADER: Final = "X-A2A-Notification-Token"
DELIVERY_HEADER: Final = "X-Crossdock-Delivery"
"""The same for every attempt, so that a receiver can tell a repeat."""

Said = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Format:
    """How one protocol version says it: `bodies` gets what 1.0 would say about an event, in order."""

    content_type: str
    bodies: Callable[[Platform, Caller, Event, Said], Awaitable[Said]]


async def _as_it_is(platform: Platform, viewer: Caller, event: Event, said: Said) -> Said:
    return said


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        CURRENT: Format("application/a2a+json", _as_it_is),
        LEGACY: Format("application/json", bare_task),
    }
)
"""By protocol version, as the configuration names it."""


class PushComposer:
    """`core.ports.Composer` of A2A push notifications."""

    _MOST = 4096

    def __init__(self, platform: Platform, formats: Mapping[str, Format] = FORMATS) -> None:
        self._platform = platform
        self._formats = formats
        self._places: OrderedDict[UUID, list[tuple[int, Progress]]] = OrderedDict()
        """Where each target stands: after its last two events. A repeat goes on from the one before."""

    async def compose(self, due: Due) -> Sequence[Outgoing]:
        """The requests of a delivery.

        Raises:
            NoTarget: the configuration, its secrets, the task or the event is gone.
            Unavailable: the database is away.
        """
        platform, hub = self._platform, SYSTEM(due.tenant_id)
        try:
            target = await platform.read(hub, open_target, due.target_id)
        except Unsealable as error:
            raise NoTarget("secret") from error
        event = await platform.read(hub, event_at, due.pos)
        if target is None or event is None or event.version is None:
            raise NoTarget("no_target" if target is None else "no_event")
        if target.config.disabled not in (None, OVERFLOW):  # it ended while this one was made
            raise NoTarget(target.config.disabled or "")
        format = self._formats[target.config.protocol_version]
        try:
            said = await self._said(target, event, due.entity_id)
            bodies = await format.bodies(platform, target.viewer, event, said) if said else ()
        except NotFound as error:
            raise NoTarget("no_task") from error
        headers = {"Content-Type": format.content_type, **_credentials(target)}
        return [
            Outgoing(target.config.url, {**headers, DELIVERY_HEADER: f"{due.id}-{n}"}, dump_json(body))
            for n, body in enumerate(bodies)
        ]

    async def _said(self, target: PushTarget, event: Event, task_id: UUID) -> Said:
        """The `StreamResponse`s of one event."""
        version, viewer = event.version or 0, target.viewer
        if event.kind == "task.created":
            view = await self._platform.read(viewer, view_task, GetTask(task_id))
            birth = at_birth(view, event)
            self._remember(target.config.id, 0, version, Progress(birth, viewer))
            return [{"task": translate.task_of(birth, viewer)}]
        since, progress = await self._before(target, task_id, version)
        said = [frame for _, frame in await streams.frames_of(self._platform, viewer, progress, [event])]
        self._remember(target.config.id, since, version, progress)
        return said

    async def _before(self, target: PushTarget, task_id: UUID, version: int) -> tuple[int, Progress]:
        """Where the target stood just before an event, and up to which version that was known already."""
        known = [place for place in self._places.get(target.config.id, ()) if place[0] < version]
        since, progress = known[-1] if known else (0, None)
        earlier = await self._platform.read(
            SYSTEM(target.viewer.tenant_id), story, Story(task_id, since, version)
        )
        if progress is None:
            view = await self._platform.read(target.viewer, view_task, GetTask(task_id, messages=0))
            progress = Progress(at_birth(view, earlier[0] if earlier else None), target.viewer)
        progress = copy.deepcopy(progress)
        for event in earlier:
            progress.apply(event)
        return since, progress

    def _remember(self, target_id: UUID, since: int, version: int, progress: Progress) -> None:
        places = [place for place in self._places.get(target_id, ()) if place[0] <= since]
        self._places[target_id] = [*places[-1:], (version, progress)]
        self._places.move_to_end(target_id)
        if len(self._places) > self._MOST:
            self._places.popitem(last=False)


def _credentials(target: PushTarget) -> dict[str, str]:
    headers = {}
    if target.config.scheme is not None and target.credentials is not None:
        headers["Authorization"] = f"{target.config.scheme} {target.credentials.reveal()}"
    if target.token is not None:
        headers[TOKEN_HEADER] = target.token.reveal()
    return headers
