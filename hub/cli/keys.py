"""`crossdock keys`: make, list and revoke API keys, with a hub running or without."""

import asyncio
import os
import pwd
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from hub.cli.failure import Failure, Hint
from hub.cli.frame import ExampleGroup, ExampleHelp, confirm, database_option, load_settings, output_options
from hub.cli.output import Column, Output
from hub.settings import Settings

if TYPE_CHECKING:
    from core.auth import CreateKey, KeyRecord, NewKey

SCOPES = ("agent", "worker", "admin", "service")
OWNERS = ("user", "agent", "worker", "system", "service")
COLUMNS = (
    Column("id", "id"),
    Column("key", "key_prefix"),
    Column("scope", "scope"),
    Column("owner", "owner"),
    Column("label", "label"),
    Column("made", "created_at"),
    Column("used", "last_used_at"),
    Column("ends", "expires_at"),
    Column("state", "state"),
)


class Duration(click.ParamType[timedelta]):
    """`90d`, `12h` or `30m`."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Text to a time span."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([1-9]\d{0,5})([dhm])", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration such as 90d, 12h or 30m", param, ctx)
        return (
            int(match[1])
            * {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}[match[2]]
        )


@click.group(
    cls=ExampleGroup,
    examples="crossdock keys create --scope agent --owner alice --label laptop\ncrossdock keys list",
)
def keys() -> None:
    """Create, list and revoke API keys. Works beside the database; no hub needs to run."""


@keys.command(
    cls=ExampleHelp,
    examples=(
        "crossdock keys create --owner alice --label laptop\n"
        "crossdock keys create --scope worker --owner ci --expires 90d\n"
        "export CROSSDOCK_API_KEY=$(crossdock keys create --quiet)"
    ),
)
@click.option(
    "--scope", type=click.Choice(SCOPES), default="agent", show_default=True, help="What it may do."
)
@click.option("--owner", metavar="ID", help="Whose it is: what it makes belongs to them. Default: you.")
@click.option(
    "--owner-type", type=click.Choice(OWNERS), default="user", help="What the owner is. Default: user."
)
@click.option("--label", metavar="TEXT", help="A note that tells it from others.")
@click.option(
    "--expires", type=Duration(), metavar="DURATION", help="Ends after 90d, 12h, 30m. Default: never."
)
@database_option
@output_options
def create(
    out: Output,
    scope: str,
    owner: str | None,
    owner_type: str,
    label: str | None,
    expires: timedelta | None,
    db: str | None,
) -> None:
    """Make a key and print it. It is shown only this once."""
    from core.auth import CreateKey
    from core.principals import OwnerType
    from schemas.vocabulary import Scope

    if owner is None and owner_type == "user":
        owner = pwd.getpwuid(os.getuid()).pw_name
    command = CreateKey(
        Scope(scope),
        OwnerType(owner_type),
        owner,
        label=label,
        expires_at=None if expires is None else datetime.now(UTC) + expires,
    )
    new = asyncio.run(create_beside(out, load_settings(out, database_url=db), command))
    assert new.api_key is not None
    record = {"id": str(new.id), "api_key": new.api_key, "key_prefix": new.key_prefix, "scope": scope}
    owned = f"{owner_type} {owner}" if owner else owner_type
    out.say(f"A key of scope {scope} for {owned}; id {new.id}. It is shown only now:")
    out.record(record, new.api_key, answer=new.api_key)


@keys.command("list", cls=ExampleHelp, examples="crossdock keys list\ncrossdock keys list --json")
@database_option
@output_options
def list_(out: Output, db: str | None) -> None:
    """List the keys, newest first, without their text."""
    found = asyncio.run(_list(out, load_settings(out, database_url=db)))
    records = [_shown(key) for key in found]
    out.records(records, COLUMNS, empty="There are no keys. Make one: crossdock keys create")


@keys.command(
    cls=ExampleHelp, examples="crossdock keys revoke xd_agent_7Qp2aB\ncrossdock keys revoke 91c2 --yes"
)
@click.argument("key")
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_option
@output_options
def revoke(out: Output, key: str, yes: bool, db: str | None) -> None:
    """End a key, and every token that stands for it.

    KEY is the beginning of its text, as it is listed, or the end of its id.
    """
    settings = load_settings(out, database_url=db)
    chosen = _chosen(asyncio.run(_list(out, settings)), key)
    if not chosen.is_revoked:
        what = f"{chosen.key_prefix}… ({chosen.scope}, {_owner(chosen)})"
        confirm(out, f"Revoke {what}? Programs that use it stop working at once.", yes=yes)
    record = asyncio.run(_revoke(out, settings, chosen))
    out.record(_shown(record), f"{record.key_prefix} is revoked", answer=str(record.id))


async def create_beside(out: Output, settings: Settings, command: "CreateKey") -> "NewKey":
    """Make a key beside the database."""
    from core.auth import create_key
    from hub.cli.offline import beside_the_database

    async with beside_the_database(out, settings) as here:
        return await here.platform.write(here.caller, create_key, command)


async def _list(out: Output, settings: Settings) -> "list[KeyRecord]":
    from core.auth import ListKeys, list_keys
    from hub.cli.offline import beside_the_database

    found: list[KeyRecord] = []
    async with beside_the_database(out, settings) as here:
        while True:
            query = ListKeys(page=len(found) // 100 + 1, per_page=100)
            page = await here.platform.read(here.caller, list_keys, query)
            found.extend(page.items)
            if len(page.items) < 100:
                return found


async def _revoke(out: Output, settings: Settings, key: "KeyRecord") -> "KeyRecord":
    from core.auth import RevokeKey, revoke_key
    from hub.cli.offline import beside_the_database

    async with beside_the_database(out, settings) as here:
        return await here.platform.write(here.caller, revoke_key, RevokeKey(key.id))


def _chosen(found: "list[KeyRecord]", said: str) -> "KeyRecord":
    """The one key that `said` means: a key itself, the beginning that is listed, or the end of an id."""
    wanted = said.rstrip("…").lower()
    matches = [
        key
        for key in found
        if said.startswith(key.key_prefix) or str(key.id).endswith(wanted) or key.id.hex.endswith(wanted)
    ]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise Failure(f"there is no key {said!r}", [Hint("try", "crossdock keys list")], "NOT_FOUND")
    hints = [Hint("is", f"{key.id}  {key.key_prefix}  {_owner(key)}") for key in matches[:5]]
    raise Failure(f"{said!r} means {len(matches)} keys", hints, "AMBIGUOUS")


def _shown(key: "KeyRecord") -> dict[str, Any]:
    return {
        "id": str(key.id),
        "key_prefix": key.key_prefix,
        "scope": key.scope.value,
        "owner": _owner(key),
        "owner_type": key.owner_type.value,
        "owner_id": key.owner_id,
        "label": key.label,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "state": _state(key),
    }


def _owner(key: "KeyRecord") -> str:
    return f"{key.owner_type.value}:{key.owner_id}" if key.owner_id else key.owner_type.value


def _state(key: "KeyRecord") -> str:
    if key.is_revoked:
        return "revoked"
    ended = key.expires_at is not None and key.expires_at <= datetime.now(UTC)
    return "expired" if ended else "valid"
