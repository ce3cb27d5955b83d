"""The hub's secret and what is derived from it."""

import pytest

from core.keyring import Keyring, Purpose, WeakSecret

SECRET = "a secret of thirty-two bytes, at least"
OTHER = "another secret of thirty-two bytes, too"


def test_every_purpose_has_a_key_of_its_own() -> None:
    """Ours: a key that leaks from one use opens nothing else."""
    keys = {Keyring(SECRET).current(purpose).key for purpose in Purpose}
    assert len(keys) == len(Purpose)
    assert all(len(key) == 32 for key in keys)


def test_the_secret_itself_is_never_a_key() -> None:
    assert all(key.key not in SECRET.encode() for key in (Keyring(SECRET).current(p) for p in Purpose))


def test_the_same_secret_gives_the_same_keys_everywhere() -> None:
    assert Keyring(SECRET).current(Purpose.SEAL) == Keyring(SECRET).current(Purpose.SEAL)
    # A derivation that changes would make every stored key and sealed value unreadable.
    assert Keyring(SECRET).ids == ("df5bc6b5",)
    assert Keyring(SECRET).current(Purpose.PEPPER).key.hex()[:16] == "8d6a06b1ac9a34ec"


def test_the_previous_secret_reads_and_does_not_write() -> None:
    ring = Keyring(OTHER, SECRET)
    old = Keyring(SECRET).current(Purpose.PEPPER)
    assert ring.every(Purpose.PEPPER)[1] == old
    assert ring.current(Purpose.PEPPER) == Keyring(OTHER).current(Purpose.PEPPER)
    assert ring.find(Purpose.PEPPER, old.id) == old


def test_a_secret_that_is_gone_finds_nothing() -> None:
    assert Keyring(OTHER).find(Purpose.JWT, Keyring(SECRET).ids[0]) is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(WeakSecret):
        Keyring("short")
    with pytest.raises(WeakSecret):
        Keyring(SECRET, "short")


def test_no_repr_shows_a_key_or_a_secret() -> None:
    ring = Keyring(SECRET)
    key = ring.current(Purpose.JWT)
    for shown in (repr(ring), repr(key), str(ring), str(key)):
        assert SECRET not in shown
        assert repr(key.key) not in shown
        assert key.key.hex() not in shown
