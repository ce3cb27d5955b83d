"""How a command fails: the exit codes, and what is wrong, why, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What a script may branch on."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    TIMEOUT = 3
    """The time given by `--timeout` is over; the work goes on."""
    UNAUTHORIZED = 4
    DENIED = 5
    UNREACHABLE = 6
    WAITING = 8
    """It waits for a person."""
    INTERRUPTED = 130


@dataclass(frozen=True)
class Hint:
    """One line under an error: `try` a command, `since` a moment."""

    word: str
    text: str


@dataclass
class Failure(Exception):
    """A command could not do what it was asked."""

    message: str
    hints: Sequence[Hint] = ()
    code: str = "FAILED"
    exit_code: ExitCode = ExitCode.FAILED
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def lines(self) -> list[str]:
        """For people."""
        return [f"error: {self.message}", *(f"  {hint.word:<7} {hint.text}" for hint in self.hints)]

    def envelope(self) -> dict[str, Any]:
        """For programs: the same shape as the API's errors."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hints:
            error["recovery_hint"] = "; ".join(f"{hint.word} {hint.text}" for hint in self.hints)
        if self.details:
            error["details"] = self.details
        return {"error": error}


def explain(problem: BaseException) -> Failure | None:
    """The failure that a known exception means to a person; None for one that nobody foresaw."""
    from hub.secret_file import NotPrivate
    from hub.settings import SettingsError

    if isinstance(problem, Failure):
        return problem
    if isinstance(problem, SettingsError):
        return Failure(
            f"{problem.key} {problem.problem}",
            [Hint("try", f"{problem.key}={problem.example}")],
            "BAD_SETTING",
            ExitCode.USAGE,
            {"setting": problem.key},
        )
    if isinstance(problem, NotPrivate):
        return Failure(str(problem), code="NOT_PRIVATE")
    return _of_the_client(problem) or _of_the_database(problem) or _of_the_platform(problem)


def _of_the_client(problem: BaseException) -> Failure | None:
    if not type(problem).__module__.startswith("hub.client"):
        return None
    from hub.client import ApiError, Forbidden, Unauthorized, Unreachable, WaitTimeout

    exits = {
        Unauthorized: ExitCode.UNAUTHORIZED,
        Forbidden: ExitCode.DENIED,
        Unreachable: ExitCode.UNREACHABLE,
        WaitTimeout: ExitCode.TIMEOUT,
    }
    exit_code = next((code for kind, code in exits.items() if isinstance(problem, kind)), ExitCode.FAILED)
    if not isinstance(problem, ApiError):
        return Failure(str(problem), code=type(problem).__name__.upper(), exit_code=exit_code)
    hints = [Hint("try", problem.recovery_hint)] if problem.recovery_hint else []
    if isinstance(problem, Unauthorized):
        hints.append(Hint("try", "CROSSDOCK_API_KEY=$(crossdock keys create --quiet), beside the hub"))
    if problem.request_id:
        hints.append(Hint("request", problem.request_id))
    return Failure(problem.message, hints, problem.code, exit_code, dict(problem.details))


def _of_the_database(problem: BaseException) -> Failure | None:
    from core.store import migrate

    if isinstance(problem, migrate.DatabaseTooNew):
        details = {"current": problem.current, "newest": problem.newest}
        return Failure(str(problem), code="DATABASE_TOO_NEW", details=details)
    if isinstance(problem, migrate.DatabaseUnreachable):
        hint = Hint("check", "CROSSDOCK_DATABASE_URL, and that the server runs: crossdock doctor")
        return Failure(
            f"the database cannot be used: {problem}",
            [hint],
            "DATABASE_UNREACHABLE",
            ExitCode.UNREACHABLE,
        )
    if isinstance(problem, migrate.MigrationError):
        return Failure(str(problem), code="MIGRATION_FAILED")
    return None


def _of_the_platform(problem: BaseException) -> Failure | None:
    from core.errors import HubError
    from schemas.errors import ErrorCode

    if not isinstance(problem, HubError):
        return None
    exits = {
        ErrorCode.UNAUTHORIZED: ExitCode.UNAUTHORIZED,
        ErrorCode.FORBIDDEN: ExitCode.DENIED,
        ErrorCode.SERVICE_UNAVAILABLE: ExitCode.UNREACHABLE,
    }
    return Failure(
        problem.message,
        [Hint("try", problem.hint)] if problem.hint else [],
        problem.code,
        exits.get(problem.code, ExitCode.FAILED),
        problem.details,
    )
