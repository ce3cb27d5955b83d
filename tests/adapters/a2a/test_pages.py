"""Page tokens."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.a2a.errors import INVALID_PARAMS, A2AError
from adapters.a2a.pages import page_token, position_of

_FIRST, _LAST = datetime(1970, 1, 1), datetime(9999, 1, 1)  # noqa: DTZ001  # Hypothesis wants naive bounds
MOMENTS = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC))


@given(MOMENTS, st.uuids())
def test_a_token_names_the_place_it_was_made_for(moment: datetime, task_id: UUID) -> None:
    assert position_of(page_token((moment, task_id))) == (moment, task_id)


def test_no_token_is_the_first_page() -> None:
    assert position_of(None) is None


@pytest.mark.parametrize("token", ["x", "!!!!", "AAAA", "/" * 32, "_" * 32, "a" * 32 + "é", "A" * 1000])
def test_a_token_that_was_not_given_out_is_refused(token: str) -> None:
    with pytest.raises(A2AError) as refused:
        position_of(token)
    assert refused.value.kind is INVALID_PARAMS
