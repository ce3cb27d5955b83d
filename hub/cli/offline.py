"""Commands that work on the database without a hub: whoever can read its secret is admin already."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from core import bootstrap
from core.caller import SYSTEM, Caller
from core.keyring import Keyring
from core.platform import Platform
from core.store import migrate, open_store
from hub.cli.failure import Failure, Hint
from hub.cli.output import Output
from hub.secret_file import hub_secret, require_private
from hub.settings import Settings


@dataclass(frozen=True)
class Beside:
    """The platform on the database of the settings, and who acts on it."""

    platform: Platform
    caller: Caller


@asynccontextmanager
async def beside_the_database(out: Output, settings: Settings) -> AsyncIterator[Beside]:
    """The platform, opened for one command; a hub may serve the database at the same time.

    An empty database is made ready first, as `serve` would. One with an older schema is left alone.

    Raises:
        Failure: the schema is an older one, or the secret another one.
        MigrationError: the database cannot be reached, or is newer than this program.
        NotPrivate: others may use the secret or the database.
    """
    found = await migrate.status(settings.database_url)
    if found.current == migrate.EMPTY:
        found = await migrate.ensure(settings.database_url)
    if not found.is_newest:
        raise Failure(
            f"the database has schema {found.current}, this program needs {found.newest}",
            [Hint("try", "crossdock migrate up   (stop an older hub first)")],
            "SCHEMA_TOO_OLD",
        )
    if settings.database_path is not None:
        require_private(settings.database_path)
    secret = hub_secret(settings)
    keyring = Keyring(secret.key, secret.previous)
    store = open_store(settings.database_url, beside=True)
    await store.start()
    try:
        platform = Platform(store)
        caller = SYSTEM(bootstrap.DEFAULT_TENANT)
        for line in await _join(platform, caller, keyring, settings):
            out.say(line)
        yield Beside(platform, caller)
    finally:
        await store.stop()


async def _join(platform: Platform, caller: Caller, keyring: Keyring, settings: Settings) -> Sequence[str]:
    try:
        if await platform.write(caller, bootstrap.join, keyring):
            return []
        prepare = bootstrap.Prepare(keyring, settings.admin_api_key)
        prepared = await platform.write(caller, bootstrap.prepare, prepare)
    except bootstrap.ForeignSecret as foreign:
        raise foreign_secret(foreign, settings) from foreign
    if prepared.new_admin_key is None:
        return []
    return [f"The first admin key of this database, shown only now: {prepared.new_admin_key}"]


def foreign_secret(foreign: bootstrap.ForeignSecret, settings: Settings) -> Failure:
    """What to do about a secret that is not the database's."""
    where = "CROSSDOCK_SECRET_KEY" if settings.secret_key is not None else str(settings.secret_path)
    return Failure(f"{where} does not fit: {foreign}", code="FOREIGN_SECRET")
