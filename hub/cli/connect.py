"""`crossdock connect`: a key of the least scope, the lines that a client needs, and where they go."""

import asyncio
import difflib
import json
import os
import pwd
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from hub.cli.failure import ExitCode, Failure, Hint
from hub.cli.frame import ExampleHelp, database_option, load_settings, output_options
from hub.cli.output import Output
from hub.launcher import credentials
from hub.settings import Settings

NAME: Final = "crossdock"


@dataclass(frozen=True)
class Host:
    """An MCP host: its file, the member of it that names servers, and what stands there for the hub."""

    file: Callable[[], Path]
    member: str
    entry: Callable[[str, str], dict[str, Any]]
    """From the address of the endpoint and the key."""


def _remote(url: str, key: str) -> dict[str, Any]:
    return {"type": "http", "url": url, "headers": {"Authorization": f"Bearer {key}"}}


def _plain_remote(url: str, key: str) -> dict[str, Any]:
    return {"url": url, "headers": {"Authorization": f"Bearer {key}"}}


def _command(url: str, key: str) -> dict[str, Any]:
    hub, _, path = url.rpartition("/mcp")
    arguments = ["mcp", "--url", hub, *(["--server", path.strip("/")] if path else [])]
    return {"command": _program(), "args": arguments, "env": {"CROSSDOCK_API_KEY": key}}


def _program() -> str:
    """The absolute path of this program: desktop programs rarely have a shell's PATH."""
    beside = Path(sys.executable).with_name(NAME)
    return str(beside) if beside.exists() else shutil.which(NAME) or NAME


def _application(*names: str) -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / Path(*names)
    return Path.home() / ".config" / Path(*names)


HOSTS: Final[Mapping[str, Host]] = {
    "claude-code": Host(lambda: Path.home() / ".claude.json", "mcpServers", _remote),
    "claude-desktop": Host(
        lambda: _application("Claude", "claude_desktop_config.json"), "mcpServers", _command
    ),
    "cursor": Host(lambda: Path.home() / ".cursor" / "mcp.json", "mcpServers", _plain_remote),
    "vscode": Host(lambda: _application("Code", "User", "mcp.json"), "servers", _remote),
}
COMMANDS: Final[Mapping[str, str]] = {
    "a2a": (
        "curl -s {url}/a2a -H 'Authorization: Bearer {key}' \\\n"
        "  -H 'A2A-Version: 1.0' -H 'Content-Type: application/json' \\\n"
        '  -d \'{{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{{"message":'
        '{{"messageId":"m1","role":"ROLE_USER","parts":[{{"text":"say hello"}}]}}}}}}\''
    ),
    "rest": (
        "curl -s {url}/api/v1/tasks -H 'Authorization: Bearer {key}' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        '  -d \'{{"title":"say hello","input":{{"text":"say hello"}}}}\''
    ),
}
CLIENTS: Final = (*HOSTS, *COMMANDS)


@click.command(
    cls=ExampleHelp,
    examples="crossdock connect claude-code\ncrossdock connect cursor --write\ncrossdock connect a2a",
)
@click.argument("client", type=click.Choice(CLIENTS))
@click.option("--url", metavar="URL", help="The hub, instead of CROSSDOCK_URL.")
@click.option("--server", metavar="SLUG", help="One MCP server behind the hub, under its own tool names.")
@click.option("--key", "given", metavar="KEY", help="Use this key instead of making one.")
@click.option(
    "--write", is_flag=True, help="Put it into the client's file; what was there is kept beside it."
)
@database_option
@output_options
def connect(
    out: Output,
    client: str,
    url: str | None,
    server: str | None,
    given: str | None,
    write: bool,
    db: str | None,
) -> int:
    """Print what CLIENT needs to reach the hub, with a key of the least scope that is made for it.

    Beside the hub's database a key is made. Elsewhere --key, CROSSDOCK_API_KEY or the last login is used.
    """
    settings = load_settings(out, url=url, database_url=db)
    path = credentials.path_of()
    where = (settings.url or credentials.last_url(path) or settings.address()).rstrip("/")
    if write and client in COMMANDS:
        raise click.UsageError(f"{client} has no file to write")
    _check_there(where)
    key = given or _key(out, settings, where, client)
    if client in COMMANDS:
        text = COMMANDS[client].format(url=where, key=key)
        out.record({"client": client, "url": where, "api_key": key, "command": text}, text, answer=text)
        return ExitCode.DONE
    host = HOSTS[client]
    endpoint = f"{where}/mcp/{server}" if server else f"{where}/mcp"
    name = f"{NAME}-{server}" if server else NAME
    entry = {host.member: {name: host.entry(endpoint, key)}}
    file = host.file()
    if write:
        _write(out, file, host.member, name, entry[host.member][name])
    else:
        out.say(f"Put this into {file}, or call again with --write:")
    text = json.dumps(entry, indent=2)
    said = {"client": client, "url": endpoint, "api_key": key, "file": str(file), "written": write}
    out.record({**said, "config": entry}, text, answer=text)
    return ExitCode.DONE


def _check_there(url: str) -> None:
    from hub.cli.probe import ask

    answer = ask(url)
    if not answer.ready:
        why = answer.problem or f"HTTP {answer.status}"
        hints = [Hint("try", "crossdock serve"), Hint("try", "--url https://hub.example.com")]
        raise Failure(f"no hub at {url} ({why})", hints, "UNREACHABLE", ExitCode.UNREACHABLE)


def _key(out: Output, settings: Settings, url: str, client: str) -> str:
    database = settings.database_path
    if settings.api_key or (database is not None and not database.exists()):
        known = settings.api_key or credentials.key_for(credentials.path_of(), url)
        if known:
            return known
        hint = Hint("try", "crossdock keys create --quiet, beside the hub, and --key")
        raise Failure("there is no key for this hub here", [hint], "UNAUTHORIZED", ExitCode.UNAUTHORIZED)
    from core.auth import CreateKey
    from core.principals import OwnerType
    from hub.cli.keys import create_beside
    from schemas.vocabulary import Scope

    owner = pwd.getpwuid(os.getuid()).pw_name
    new = asyncio.run(
        create_beside(out, settings, CreateKey(Scope.AGENT, OwnerType.USER, owner, label=f"connect {client}"))
    )
    assert new.api_key is not None, "it was just made"
    out.say(f"Made a key of scope agent for {owner}; id {new.id}.")
    return new.api_key


def _write(out: Output, file: Path, member: str, name: str, entry: dict[str, Any]) -> None:
    """Put an entry into a file, and leave everything else in it as it is."""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    try:
        known = json.loads(before) if before.strip() else {}
    except ValueError:
        known = None
    if not isinstance(known, dict) or not isinstance(known.get(member, {}), dict):
        hint = Hint("try", "the same without --write, and paste it")
        raise Failure(f"{file} is not plain JSON, and is left alone", [hint])
    after = json.dumps({**known, member: {**known.get(member, {}), name: entry}}, indent=2) + "\n"
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(file), str(file), n=1, lineterm=""
    )
    for line in lines:
        out.say(_covered(line))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if before:
            _private(file.with_name(file.name + ".before-crossdock"), before)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        _private(draft, after)
        draft.replace(file)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}") from None
    out.say(f"Written to {file}. Restart the client if it runs.")


def _private(file: Path, text: str) -> None:
    """Write a file that nobody else may read: it holds a key."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)


def _covered(line: str) -> str:
    """A line of the difference; no key of anybody's is shown."""
    if "Bearer" in line or "_KEY" in line or "TOKEN" in line.upper():
        return line.partition(":")[0] + ": …"
    return line
