"""What the commands share that ask a running hub: where it is, which key, and how they end.

They speak `/api/v1` through `hub/client`, like any program. Names of things may be cut to their last
characters, as the tables show them.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from hub.cli.failure import ExitCode, Failure, Hint
from hub.cli.output import Column, Output

R = TypeVar("R")
SHOWN = 12
"""Characters of an id that a table shows: its last, since ids of one time begin alike."""


def hub_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--url`; the key is in the environment."""

    @click.option("--url", metavar="URL", help="The hub, instead of CROSSDOCK_URL.")
    @functools.wraps(command)
    def with_hub(*args: Any, **kwargs: Any) -> R:
        return command(*args, **kwargs)

    return with_hub


def ask(url: str | None, asking: Callable[[Any], Awaitable[R]]) -> R:
    """Run `asking` with a client of the hub.

    Raises:
        Failure: the hub refuses, or is not there.
    """
    from hub.client import ApiError, Crossdock, Forbidden, Unauthorized, Unreachable

    async def run() -> R:
        async with Crossdock(url, retry_seconds=0) as hub:
            try:
                return await asking(hub)
            except Unreachable as error:
                hint = Hint("try", "crossdock serve")
                raise Failure(
                    f"no hub answers at {hub.url}", [hint], "UNREACHABLE", ExitCode.UNREACHABLE
                ) from error
            except ApiError as error:
                raise _refused(error, Unauthorized, Forbidden) from error

    return asyncio.run(run())


def _refused(error: Any, unauthorized: type[Exception], forbidden: type[Exception]) -> Failure:
    exit_code, hints = ExitCode.FAILED, []
    if isinstance(error, unauthorized):
        exit_code = ExitCode.UNAUTHORIZED
        hints.append(Hint("try", "export CROSSDOCK_API_KEY=$(crossdock keys create --scope admin --quiet)"))
    elif isinstance(error, forbidden):
        exit_code = ExitCode.DENIED
    if error.recovery_hint:
        hints.append(Hint("try", error.recovery_hint))
    if error.request_id:
        hints.append(Hint("request", error.request_id))
    return Failure(error.message, hints, error.code, exit_code, dict(error.details))


async def found(given: str, known: Callable[[], Awaitable[Iterable[Mapping[str, Any]]]], what: str) -> str:
    """The whole id of what was named by its id, or by the last characters of it.

    Raises:
        Failure: nothing, or more than one, is called so.
    """
    if len(given) == 36:
        return given
    ids = [str(record["id"]) for record in await known()]
    matching = [found for found in ids if found.endswith(given)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise Failure(f"several {what}s end in {given}: {', '.join(matching[:5])}")
    raise Failure(f"no {what} among the newest hundred ends in {given}", [Hint("try", "its whole id")])


def columns(*headings: str) -> tuple[Column, ...]:
    """Columns that are called as the keys they show."""
    return tuple(Column(heading.replace("_", " "), heading) for heading in headings)


def short(out: Output, record: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The record with its ids cut, where a person reads it."""
    if out.as_json or out.quiet or not out.on_terminal:
        return record
    cut = {name: f"…{record[name][-SHOWN:]}" for name in ("id", *names) if record.get(name)}
    return {**record, **cut}


def fields(out: Output, record: Mapping[str, Any], *names: str) -> None:
    """One record, a line for each of these fields that is not empty."""
    if out.as_json or out.quiet:
        out.record(record, "", answer=str(record["id"]))
        return
    width = max(len(name) for name in names)
    for name in names:
        value = record.get(name)
        if value not in (None, [], {}, ""):
            out.line(f"{name.replace('_', ' '):<{width}}  {value}")
