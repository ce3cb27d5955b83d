"""Each route of the contract is served with its scope, its success and the refusals it names.

That each of these answers is also given, at least once, is judged at the end of a whole run by
`tests/answered.py`.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hub.api import ROUTES

HERE = Path(__file__).parent
CONTRACT: dict[str, list[tuple[str, str, str, int, list[int]]]] = tomllib.loads(
    (HERE / "contract.toml").read_text()
)
NOT_SERVED = CONTRACT.pop("not_served")
ROWS = [row for rows in CONTRACT.values() for row in rows]
OURS = {(route.method, re.sub(r"{[^}]*}", "{}", route.path)): route for route in ROUTES}
PATHS: dict[str, Any] = json.loads((HERE.parents[2] / "schemas/v1/openapi.json").read_text())["paths"]


@pytest.mark.parametrize(
    ("method", "path", "scope", "success", "refusals"), ROWS, ids=[f"{row[0]} {row[1]}" for row in ROWS]
)
def test_a_route_of_the_contract_is_served_as_it_says(
    method: str, path: str, scope: str, success: int, refusals: list[int]
) -> None:
    route = OURS[method, path]
    assert scope == (route.scope or "none")
    documented = {int(status) for status in PATHS[route.url_path][method.lower()]["responses"]}
    assert {success, *refusals} <= documented


def test_no_route_is_named_twice() -> None:
    assert len({(method, path) for method, path, *_ in ROWS}) == len(ROWS)


def test_what_is_called_not_served_is_not_there() -> None:
    assert not {(method, path) for method, path, *_ in NOT_SERVED} & set(OURS)
