"""The documentation's table of who may call what is what a key of each scope finds."""

from core.store import open_store
from tests.conformance.rest import scopes
from tests.fakes import FakeClock
from tests.hub.api.hub import running


async def test_a_key_of_each_scope_may_call_what_the_documentation_says(
    database_url: str, clock: FakeClock
) -> None:
    async with running(open_store(database_url, clock=clock)) as hub:
        assert (await scopes.table(hub)).splitlines() == scopes.written().splitlines()
