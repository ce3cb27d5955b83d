"""The table of errors is total, and every refusal has its code."""

import pytest

from core import errors
from schemas.errors import MEANINGS, ErrorCode


def test_every_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_a_code_is_spelled_as_it_is_named(code: ErrorCode) -> None:
    assert code == code.name
    assert 400 <= MEANINGS[code].http <= 599
    assert MEANINGS[code].meaning.endswith(".")


def test_only_the_base_of_all_refusals_stands_for_a_fault() -> None:
    def family(kind: type[errors.HubError]) -> list[type[errors.HubError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in family(child))]

    named = [kind for kind in family(errors.HubError) if kind.__module__ == errors.__name__]
    assert [kind for kind in named if kind.code is ErrorCode.INTERNAL_ERROR] == [errors.HubError]
    assert len({kind.code for kind in named}) == len(named)
