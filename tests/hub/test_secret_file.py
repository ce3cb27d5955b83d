"""The hub's own secret: made once, for its owner alone."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.secret_file import NotPrivate, hub_secret
from hub.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A hub whose database would be in an empty directory."""
    return Settings(database_url=f"sqlite:///{tmp_path}/hub.db")


def test_the_first_start_makes_a_secret_that_only_its_owner_may_read(settings: Settings) -> None:
    secret = hub_secret(settings)
    assert secret.created
    assert secret.path == settings.secret_path
    assert len(secret.key) >= 32
    assert stat.S_IMODE(settings.secret_path.stat().st_mode) == 0o600
    assert [entry.name for entry in settings.secret_path.parent.iterdir()] == ["crossdock.secret"]


def test_the_next_start_finds_the_same_one(settings: Settings) -> None:
    first, second = hub_secret(settings), hub_secret(settings)
    assert second.key == first.key
    assert not second.created


def test_processes_that_start_together_agree(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: hub_secret(settings), range(32)))
    assert len({secret.key for secret in found}) == 1
    assert sum(secret.created for secret in found) == 1


def test_a_secret_that_others_may_read_is_refused(settings: Settings) -> None:
    """Security rule: mode 0600, else no start."""
    hub_secret(settings)
    settings.secret_path.chmod(0o640)
    with pytest.raises(NotPrivate, match="chmod 600"):
        hub_secret(settings)


def test_a_setting_makes_no_file(settings: Settings) -> None:
    given = Settings(database_url=settings.database_url, secret_key="s" * 32, secret_key_previous="p" * 32)
    secret = hub_secret(given)
    assert (secret.key, secret.previous, secret.path) == ("s" * 32, "p" * 32, None)
    assert not given.secret_path.exists()


def test_a_command_that_only_looks_makes_no_file(settings: Settings) -> None:
    with pytest.raises(FileNotFoundError):
        hub_secret(settings, create=False)
    assert not settings.secret_path.exists()


def test_the_secret_is_not_in_the_repr(settings: Settings) -> None:
    secret = hub_secret(settings)
    assert secret.key not in repr(secret)
