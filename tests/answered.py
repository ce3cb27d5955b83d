"""Which documented answer of which route some test has seen, over all processes of a run.

A route's success, its further successes and the refusals that it names itself have each to be seen once by
a test that calls a hub in its own process (`tests/hub/api/hub.py`). What every route refuses alike is tried
on all of them in `test_error_shape.py`. Only a run of the whole suite can tell, so the check stands at its
end: a success that nobody saw fails it, unless `answers_owed.txt` names it. `--unseen-answers` lists the
refusals that were not seen, too.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api import ROUTES
from hub.api.routing import PREFIX, Route, RouteTree

Seen = tuple[str, str, int]
"""Method, path as OpenAPI writes it, status."""

SEEN: Final[set[Seen]] = set()
OWED: Final = Path(__file__).with_name("answers_owed.txt")
ALIKE: Final = {401, 429}
"""Refusals that no handler makes."""
_TREE: Final = RouteTree(ROUTES)


def note(method: str, path: str, status: int) -> None:
    """A test has seen this."""
    found = _TREE.find(path.removeprefix(PREFIX + "/"))
    if found is not None and method in found[0]:
        SEEN.add((method, found[0][method].url_path, status))


def witnessed(app: ASGIApp) -> ASGIApp:
    """The same app; what it answers on `/api/v1` is noted."""

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                note(scope["method"], scope["path"], message["status"])
            await send(message)

        await app(scope, receive, noted)

    return noting


def promised(routes: Iterable[Route] = ROUTES) -> Iterator[Seen]:
    """Each answer that a route names itself."""
    for route in routes:
        for status in {route.status, *route.also, *route.errors} - ALIKE:
            yield route.method, route.url_path, status


def owed() -> set[Seen]:
    """What no test sees yet, by name, so that nothing joins it unnoticed."""
    lines = (line.split() for line in OWED.read_text().splitlines() if line and line[0] != "#")
    return {(method, path, int(status)) for method, path, status in lines}


class Witness:
    """A pytest plugin: processes of pytest-xdist hand over what they saw; a run of everything is judged."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not (
            config.option.keyword or config.option.markexpr or config.option.collectonly
        )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what another process has seen."""
        SEEN.update((method, path, status) for method, path, status in node.workeroutput["answered"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Hand over, or judge."""
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["answered"] = sorted(SEEN)
        elif self._whole and exitstatus == pytest.ExitCode.OK and self._unseen_successes():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        """Name what nobody has seen."""
        wanted = self._unseen() if self._config.option.unseen_answers else []
        if self._whole and exitstatus != pytest.ExitCode.OK:
            wanted = wanted or self._unseen_successes()
        if wanted:
            terminalreporter.section("answers of /api/v1 that no test has seen")
            for method, path, status in wanted:
                terminalreporter.write_line(f"{method} {path} {status}")

    @staticmethod
    def _unseen() -> list[Seen]:
        return sorted(set(promised()) - SEEN)

    @classmethod
    def _unseen_successes(cls) -> list[Seen]:
        return [seen for seen in cls._unseen() if seen[2] < 400 and seen not in owed()]
