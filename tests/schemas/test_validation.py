"""Users' schemas: ordinary ones work as specified, hostile ones neither fetch, stall nor explode."""

import http.server
import threading
import timeit
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.validation import MAX_ISSUES, InvalidSchema, Issue, check_schema, validate

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "uniqueItems": True},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"tag": {"type": "string", "pattern": "^[a-z]+$"}},
}


def test_a_matching_value_has_no_issues() -> None:
    assert validate(PERSON, {"name": "Ada", "tags": ["a", "b"]}) == []


@pytest.mark.parametrize(
    ("value", "path", "says"),
    [
        ([], "", "object"),
        ({}, "", "'name' is a required property"),
        ({"name": ""}, "/name", "non-empty"),
        ({"name": "x", "tags": ["a", "B"]}, "/tags/1", "does not match"),
        ({"name": "x", "tags": ["a", "a"]}, "/tags", "repetition"),
        ({"name": "x", "other/~": 1}, "", "additional properties"),
    ],
)
def test_an_issue_points_to_where_it_is(value: Any, path: str, says: str) -> None:
    [issue] = validate(PERSON, value)
    assert issue.path == path
    assert says in issue.message


def test_a_path_is_a_json_pointer() -> None:
    schema = {"properties": {"a/b~c": {"items": {"type": "integer"}}}}
    assert validate(schema, {"a/b~c": [1, "x"]}) == [Issue("/a~1b~0c/1", "'x' is not of type 'integer'")]


def test_the_number_of_issues_and_their_length_are_bounded() -> None:
    issues = validate({"items": {"type": "integer"}}, ["x" * 5000] * 500)
    assert len(issues) == MAX_ISSUES
    assert all(len(issue.message) < 400 for issue in issues)


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 1.0], False),
        ([True, 1], True),
        ([0, False, None, "", [], {}], True),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
        ([[1, 2], [2, 1]], True),
        ([[True], [1]], True),
    ],
)
def test_items_repeat_when_json_calls_them_equal(items: list[Any], unique: bool) -> None:
    assert (validate({"uniqueItems": True}, items) == []) is unique


def test_booleans_are_schemas() -> None:
    assert validate(True, {"anything": 1}) == []
    assert len(validate(False, 1)) == 1


@pytest.mark.parametrize(
    "dialect",
    [
        "https://json-schema.org/draft/2020-12/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "http://json-schema.org/draft-07/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-04/schema#",
    ],
)
def test_each_known_dialect_is_spoken(dialect: str) -> None:
    schema = {
        "$schema": dialect,
        "definitions": {"word": {"pattern": "^[a-z]+$"}},
        "properties": {"a": {"$ref": "#/definitions/word"}},
        "additionalProperties": False,
    }
    check_schema(schema)
    assert validate(schema, {"a": "x"}) == []
    assert [issue.path for issue in validate(schema, {"a": "X"})] == ["/a"]
    assert [issue.path for issue in validate(schema, {"b": "X"})] == [""]


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (1, "neither"),
        ("string", "neither"),
        ({"type": "strnig"}, "strnig"),
        ({"properties": []}, "properties"),
        ({"$schema": "https://example.com/mine"}, "dialect"),
        ({"$schema": 7}, "dialect"),
        ({"items": {"$schema": "http://json-schema.org/draft-07/schema#"}}, "dialect inside"),
        ({"items": {"$id": "https://example.com/x"}}, "embeds"),
        ({"$ref": "https://example.com/schema.json"}, "outside"),
        ({"items": {"$dynamicRef": "other.json"}}, "outside"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "outside"),
        ({"$ref": "#/$defs/missing"}, "does not exist"),
        ({"pattern": "(?=a)b"}, "RE2"),
        ({"pattern": "(a)\\1"}, "RE2"),
        ({"patternProperties": {"(?!x)": {}}}, "RE2"),
        ({"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False}, "unevaluated"),
        ({"description": "x" * 65_536}, "longer"),
        ({"const": float("nan")} | {"x": b"\xff"}, "not JSON"),
    ],
)
def test_a_schema_that_could_not_be_run_safely_is_refused(schema: Any, says: str) -> None:
    with pytest.raises(InvalidSchema, match=says):
        check_schema(schema)


def test_depth_is_accepted_up_to_32_and_not_beyond() -> None:
    def nested(depth: int) -> Any:
        schema: Any = {}
        for _ in range(depth - 1):
            schema = {"not": schema}
        return schema

    check_schema(nested(32))
    with pytest.raises(InvalidSchema, match="deeper"):
        check_schema(nested(33))


def test_words_inside_data_and_property_names_are_not_references() -> None:
    check_schema(
        {
            "const": {"$ref": "https://example.com"},
            "enum": [{"pattern": "(?=x)"}],
            "default": {"$schema": "x"},
            "properties": {"$ref": {"type": "string"}, "default": {"$ref": "#/$defs/a"}, "pattern": {}},
            "$defs": {"a": {}},
        }
    )
    with pytest.raises(InvalidSchema, match="outside"):
        check_schema({"properties": {"default": {"$ref": "https://example.com"}}})


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_no_reference_is_ever_fetched(listener: tuple[str, list[str]]) -> None:
    url, asked = listener
    hidden = {"$ref": "#/x-mine/a", "x-mine": {"a": {"$ref": f"{url}/evil"}}}
    for schema in ({"$ref": f"{url}/a"}, {"$id": f"{url}/base", "$ref": "b"}, hidden):
        with pytest.raises(InvalidSchema):
            check_schema(schema)
    assert asked == []


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 40 + "!"),
        ({"patternProperties": {"^(a+)+$": False}}, {"a" * 40 + "!": 1}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 40 + "!": 1}),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(a|a)*$"}, "a" * 40 + "!"),
        ({"uniqueItems": True}, [[n] if n % 2 else {"n": n} for n in range(30_000)]),
        ({"patternProperties": {f"^{n}x": {} for n in range(3000)}}, {f"k{n}": n for n in range(30_000)}),
        (
            {
                "$ref": "#/$defs/d0",
                "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
                | {"d40": {"type": "object"}},
            },
            {},
        ),
        (
            {
                "$ref": "#/$defs/d0",
                "unevaluatedProperties": False,
                "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
                | {"d40": {"type": "object"}},
            },
            {"a": 1},
        ),
        ({"$ref": "#"}, {}),
        ({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, {}),
    ],
    ids=[
        "pattern", "patternProperties", "additionalProperties", "draft 7", "uniqueItems", "many patterns",
        "multiplying references", "unevaluated", "self", "self twice",
    ],
)  # fmt: skip
def test_a_hostile_schema_costs_bounded_time(schema: Any, value: Any) -> None:
    check_schema(schema)
    assert timeit.timeit(lambda: validate(schema, value), number=1) < 5


def test_a_schema_that_never_ends_is_an_issue_and_no_crash() -> None:
    assert validate({"$ref": "#"}, {}) == [Issue("", "the schema refers to itself without end")]


def test_a_schema_is_compiled_once() -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(200)}}
    check_schema(schema)
    assert timeit.timeit(lambda: check_schema(dict(schema)), number=100) < 0.2


def test_the_dialect_cannot_be_changed_by_a_reference_into_data() -> None:
    """A `$schema` reached through an unknown keyword must not bring the backtracking engine back."""
    schema = {
        "$ref": "#/const",
        "const": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(a+)+$"},
    }
    assert timeit.timeit(lambda: validate(schema, "a" * 40 + "!"), number=1) < 2


@pytest.mark.parametrize(
    "data",
    [{"$ref": "https://example.com/x"}, {"pattern": "(?=x)"}, {"enum": 7}, {"type": "nonsense"}],
    ids=["remote", "pattern", "not a list", "no type"],
)
def test_data_used_as_a_schema_is_an_issue_and_no_crash(data: Any) -> None:
    schema = {"properties": {"a": {"$ref": "#/const"}}, "const": data}
    check_schema(schema)
    assert Issue("", "the schema cannot be applied to this value") in validate(schema, {"a": "x"})
