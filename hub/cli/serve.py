"""`crossdock serve`: the hub as a process, and what its first screen says."""

import asyncio
import errno
import shlex
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from hub.cli.failure import ExitCode, Failure, Hint
from hub.cli.frame import ExampleHelp, database_option, load_settings, output_options
from hub.cli.output import Output
from hub.settings import Settings
from hub.version import version

if TYPE_CHECKING:
    from core.bootstrap import Prepared
    from hub.app import App
    from hub.server import Serving


@click.command(
    cls=ExampleHelp,
    examples=(
        "crossdock serve\n"
        "crossdock serve --demo --port 0\n"
        "crossdock serve --db postgresql://crossdock@db.internal/crossdock"
    ),
)
@click.option("--host", metavar="ADDRESS", help="Listen here, instead of CROSSDOCK_HOST.")
@click.option("--port", metavar="N", help="And on this port; 0 takes a free one.")
@click.option("--demo", is_flag=True, help="With a worker, and commands to paste.")
@click.option("--drain", metavar="DURATION", help="Wait so long for requests in flight when stopping.")
@database_option
@output_options
def serve(
    out: Output, host: str | None, port: str | None, demo: bool, drain: str | None, db: str | None
) -> int:
    """Run the hub until Ctrl-C or SIGTERM.

    The first start makes what is missing: the database, a secret beside it, and an admin key, which is shown
    once. A second Ctrl-C stops at once, and loses nothing that was acknowledged.
    """
    settings = load_settings(out, host=host, port=port, drain_seconds=drain, database_url=db)
    settings.check_binding(demo=demo)
    screen = _Screen(out, settings, demo)
    try:
        _run(screen, settings)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    screen.bye()
    return ExitCode.DONE


def _run(screen: "_Screen", settings: Settings) -> None:
    from hub import logs
    from hub.app import build
    from hub.secret_file import hub_secret, require_private
    from hub.server import StartFailed, run

    logs.configure(settings.logging_level, settings.log_format)
    if settings.database_path is not None and settings.database_path.exists():
        require_private(settings.database_path)
    port = settings.port or _free_port(settings.host)
    secret = hub_secret(settings)
    app = build(settings, secret, port=port, on_prepared=screen.prepared)
    try:
        run(
            app.asgi,
            settings.host,
            port,
            on_ready=lambda serving: screen.ready(app, serving),
            stopping=app.stopping,
            drain_seconds=settings.drain_seconds,
            is_upload=app.is_upload,
        )
    except StartFailed as failed:
        if failed.__cause__ is None:
            raise
        raise _explained(failed.__cause__, settings) from failed
    except OSError as failed:
        if failed.errno not in {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES}:
            raise
        raise _taken(failed, settings, port) from failed


def _explained(cause: BaseException, settings: Settings) -> BaseException:
    """The failure that a start which the app refused means to a person."""
    from adapters.a2a.agent import CannotListen
    from core.bootstrap import ForeignSecret
    from core.store.sqlite import StoreInUse
    from hub.cli.offline import foreign_secret

    if isinstance(cause, CannotListen):
        hint = Hint("note", "CROSSDOCK_GRPC_PORT must be a port that no other program has taken")
        return Failure(str(cause), [hint], "CANNOT_LISTEN")
    if isinstance(cause, StoreInUse):
        hint = Hint("note", "one process serves one SQLite file; several hubs share a PostgreSQL database")
        return Failure(str(cause), [hint], "STORE_IN_USE")
    if isinstance(cause, ForeignSecret):
        return foreign_secret(cause, settings)
    return cause


def _taken(failed: OSError, settings: Settings, port: int) -> Failure:
    why = {
        errno.EADDRINUSE: "it is taken by another program",
        errno.EADDRNOTAVAIL: "this machine has no such address",
        errno.EACCES: "this user may not",
    }[failed.errno or 0]
    hints = [Hint("try", "crossdock serve --port 0   (any free port)")]
    return Failure(f"cannot listen on {settings.host} port {port}: {why}", hints, "CANNOT_LISTEN")


def _free_port(host: str) -> int:
    """A port that is free now. The app's address must be known before it listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host.strip("[]"), 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class _Screen:
    """What the operator sees."""

    out: Output
    settings: Settings
    demo: bool
    admin_key: str | None = None
    _tasks: set["asyncio.Task[Any]"] = field(default_factory=set)
    _stopped_at: float | None = None

    def prepared(self, prepared: "Prepared") -> None:
        """The database is ready; perhaps it got its first admin key."""
        self.admin_key = prepared.new_admin_key
        if prepared.chosen_key_revoked:
            self.out.warn("the key in CROSSDOCK_ADMIN_API_KEY was revoked and does not work; choose another")

    def ready(self, app: "App", serving: "Serving") -> None:
        """The hub answers."""
        self._keep(self._say_stopping(app))
        if self.demo:
            self._keep(self._attend(app, serving.url))
        else:
            self._welcome(app.public_url, [])

    def bye(self) -> None:
        """The hub has stopped."""
        took = 0.0 if self._stopped_at is None else time.monotonic() - self._stopped_at
        self.out.say(f"Stopped after {took:.1f} s. Bye.")

    async def _say_stopping(self, app: "App") -> None:
        await app.stopping.wait()
        self._stopped_at = time.monotonic()
        self.out.say("Stopping: streams are told to reconnect, leases stay with their workers.")

    async def _attend(self, app: "App", url: str) -> None:
        from hub.demo.attendant import Attendant

        async with Attendant(app.platform, url) as attendant:
            self._welcome(app.public_url, _to_paste(app.public_url, attendant.key))
            await app.stopping.wait()

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.out.warn(f"the demo's worker has stopped: {failure}")

    def _welcome(self, url: str, to_paste: Sequence[str]) -> None:
        if self.out.as_json:
            self.out.json({"url": url, "version": version(), "admin_key": self.admin_key})
        else:
            for line in _banner(self, url, to_paste):
                self.out.line(line)
        self.out.flush()


def _banner(screen: _Screen, url: str, to_paste: Sequence[str]) -> list[str]:
    path = screen.settings.database_path
    where = f"SQLite {path.name}, full sync" if path is not None else "PostgreSQL"
    lines = [
        f"Crossdock {version()}   {where}" + ("   demo agent scout is waiting" if screen.demo else ""),
        "",
        f"  REST       {url}/api/v1",
        f"  API page   {url}/docs",
        f"  A2A        {url}/a2a   card: {url}/.well-known/agent-card.json",
    ]
    if screen.settings.grpc_address is not None:
        lines.append(f"  A2A gRPC   {screen.settings.grpc_address}")
    if screen.admin_key is not None:
        lines.append(f"  Admin key  {screen.admin_key}   shown only now; more: crossdock keys create")
    if to_paste:
        return [*lines, "", "Paste into another terminal:", "", *to_paste, ""]
    return [
        *lines,
        "",
        f"Next: {_command()} worker --exec 'CMD'   |   {_command()} keys create   |   {_command()} doctor",
    ]


def _to_paste(url: str, key: str) -> list[str]:
    headers = '-H "Authorization: Bearer $CROSSDOCK_API_KEY"'
    return [
        f"  export CROSSDOCK_API_KEY={shlex.quote(key)} CROSSDOCK_URL={shlex.quote(url)}",
        "",
        "  # ask over A2A, and wait for the answer",
        *_a2a(url, headers, "SendMessage", "say hello"),
        "",
        "  # ask, and watch it happen",
        *_a2a(url, headers, "SendStreamingMessage", "count to seven"),
        "",
        "  # over REST: every event so far, and those to come",
        f"  curl -sN '{url}/api/v1/events/stream?after=0' {headers}",
        "",
        "  # your own command as another agent",
        f"  {_command()} worker --exec 'jq -r .input.text|ascii_upcase'",
    ]


def _a2a(url: str, headers: str, method: str, text: str) -> list[str]:
    message = f"""{{"messageId":"m'$RANDOM'","role":"ROLE_USER","parts":[{{"text":"{text}"}}]}}"""
    return [
        f"  curl -sN {url}/a2a {headers} \\",
        '    -H \'A2A-Version: 1.0\' -H \'Content-Type: application/json\' -d \'{"jsonrpc":"2.0","id":1,',
        f"""    "method":"{method}","params":{{"message":{message}}}}}'; echo""",
    ]


def _command() -> str:
    """How this program was called, so that what is printed runs as it stands."""
    called = sys.argv[0]
    return shlex.quote(called) if called.endswith("crossdock") else "crossdock"
