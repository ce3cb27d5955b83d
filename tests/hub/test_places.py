"""Bounded places for what stays open."""

from uuid import uuid4

import pytest

from core.errors import TooMany
from hub.places import Places

ME, YOU = uuid4(), uuid4()


def test_each_principal_has_its_own_places() -> None:
    places = Places("streams", 2, 100)
    with places.taken_by(ME), places.taken_by(ME):
        with pytest.raises(TooMany) as refused:
            places.take(ME)
        assert refused.value.retry_after
        with places.taken_by(YOU):
            assert places.total == 3
    assert places.total == 0
    places.take(ME)


def test_all_together_have_a_bound_too() -> None:
    places = Places("streams", 10, 2)
    places.take(ME)
    places.take(YOU)
    with pytest.raises(TooMany):
        places.take(uuid4())
    places.free(ME)
    places.take(uuid4())


def test_a_refused_place_is_not_counted() -> None:
    places = Places("streams", 1, 100)
    places.take(ME)
    for _ in range(3):
        with pytest.raises(TooMany):
            places.take(ME)
    places.free(ME)
    assert places.total == 0
