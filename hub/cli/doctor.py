"""`crossdock doctor`: what is configured, what can be reached, and what is wrong. It changes nothing."""

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import click

from hub.cli.failure import ExitCode
from hub.cli.frame import ExampleHelp, database_option, load_settings, output_options
from hub.cli.output import Output, symbol
from hub.cli.probe import ask
from hub.settings import Settings, SettingsError, unknown
from hub.version import described

LOW_DISK = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `fix` is wrong now; `note` is worth knowing."""

    state: Literal["ok", "note", "fix"]
    check: str
    message: str


Check = Callable[[Settings], Iterator[Finding]]


@click.command(cls=ExampleHelp, examples="crossdock doctor\ncrossdock doctor --json")
@database_option
@output_options
def doctor(out: Output, db: str | None) -> int:
    """Say what is configured, reachable and wrong. Exit code 1 when something is to be fixed."""
    findings = list(_versions())
    try:
        settings = load_settings(Output(quiet=True, as_json=True), database_url=db)
    except SettingsError as problem:
        findings.append(Finding("fix", "settings", str(problem)))
    else:
        for check in (_names, _database, _database_file, _secret, _address, _disk, _files, _hub):
            findings.extend(check(settings))
    _print(out, findings)
    return ExitCode.FAILED if any(f.state == "fix" for f in findings) else ExitCode.DONE


def _print(out: Output, findings: list[Finding]) -> None:
    if out.as_json:
        out.json([{"state": f.state, "check": f.check, "message": f.message} for f in findings])
        return
    for finding in findings:
        if out.quiet and finding.state == "ok":
            continue
        if out.on_terminal:
            mark = symbol({"ok": "ok", "note": "asks", "fix": "wrong"}[finding.state])
            out.line(f"{mark} {finding.state:<5}{finding.check:<12}{finding.message}")
        else:
            out.line(f"{finding.state}\t{finding.check}\t{finding.message}")


def _versions() -> Iterator[Finding]:
    parts = described()
    yield Finding("ok", "versions", ", ".join(f"{name} {version}" for name, version in parts.items()))


def _names(settings: Settings) -> Iterator[Finding]:
    for warning in unknown():
        yield Finding("fix", "settings", warning)


def _database(settings: Settings) -> Iterator[Finding]:
    from core.store import migrate

    kind = "SQLite" if settings.database_path else "PostgreSQL"
    try:
        status = asyncio.run(migrate.status(settings.database_url))
    except migrate.MigrationError as problem:
        yield Finding("fix", "database", str(problem))
        return
    if status.current == migrate.EMPTY:
        yield Finding("ok", "database", f"{kind}, empty; the first start fills it")
    elif status.is_newest:
        yield Finding("ok", "database", f"{kind}, schema {status.current}")
    else:
        steps = ", ".join(step.version for step in status.pending)
        yield Finding(
            "note", "database", f"{kind}, schema {status.current}; the next start walks up to {steps}"
        )


def _database_file(settings: Settings) -> Iterator[Finding]:
    path = settings.database_path
    if path is not None and path.exists():
        yield from _private("database", path)
    elif path is not None and not path.parent.is_dir():
        yield Finding("fix", "database", f"there is no directory for it: mkdir -p {path.parent}")
    elif path is not None and not os.access(path.parent, os.W_OK):
        yield Finding("fix", "database", f"{path.parent} cannot be written by this user")


def _secret(settings: Settings) -> Iterator[Finding]:
    if settings.secret_key is not None:
        yield Finding("ok", "secret", "CROSSDOCK_SECRET_KEY is set")
        return
    path = settings.secret_path
    if path.exists():
        yield from _private("secret", path)
    else:
        yield Finding("ok", "secret", f"the first start makes {path}")
    if settings.database_path is None:
        yield Finding(
            "note", "secret", "several hubs on one database need the same CROSSDOCK_SECRET_KEY; none is set"
        )


def _private(check: str, path: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding("fix", check, f"{path} can be used by others (mode {mode:04o}). Run: chmod 600 {path}")
    else:
        yield Finding("ok", check, f"{path}, for its owner alone")


def _address(settings: Settings) -> Iterator[Finding]:
    try:
        settings.check_binding()
    except SettingsError as problem:
        yield Finding("fix", "address", str(problem))
        return
    address = settings.address()
    host = urlsplit(address).hostname or ""
    if settings.binds_loopback and settings.public_url is None:
        yield Finding("ok", "address", f"{address}, for programs on this machine")
        return
    yield Finding("ok", "address", f"listens on {settings.host}:{settings.port}, is known as {address}")
    if host in {"localhost", "127.0.0.1", "::1"} and not settings.binds_loopback:
        yield Finding(
            "fix", "address", f"links and cards say {host}; callers elsewhere fail. Set CROSSDOCK_PUBLIC_URL"
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    path = settings.database_path
    if path is None or not path.parent.is_dir():
        return
    free = shutil.disk_usage(path.parent).free
    if free < LOW_DISK:
        yield Finding("fix", "disk", f"{free >> 20} MiB are free beside the database; it stops when full")


def _files(settings: Settings) -> Iterator[Finding]:
    bucket = settings.files_bucket
    if bucket is None:
        return
    try:
        from adapters.files.s3 import S3Files
    except ImportError:
        yield Finding("fix", "files", "a bucket needs the extra s3: pip install 'crossdock[s3]'")
        return
    from core.ports import FilesAway

    async def look() -> None:
        files = S3Files(bucket)
        try:
            await files.check()
        finally:
            await files.close()

    try:
        asyncio.run(look())
    except FilesAway as problem:
        yield Finding("fix", "files", f"{bucket} cannot be used: {problem}")
    else:
        yield Finding("ok", "files", f"{bucket} can be reached")


def _hub(settings: Settings) -> Iterator[Finding]:
    url = settings.url or settings.address()
    answer = ask(url)
    if answer.status is None:
        yield Finding("note", "hub", f"none answers at {url} ({answer.problem}). Start it: crossdock serve")
    elif answer.ready:
        yield Finding("ok", "hub", f"{url} is ready")
    else:
        yield Finding("fix", "hub", f"{url} answers HTTP {answer.status}: {answer.body}")
