"""What a command prints, as lines and as an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.worker.output import Output, TooMuch


def _read(text: str | bytes, cuts: tuple[int, ...] = ()) -> tuple[list[str], object]:
    raw = text.encode() if isinstance(text, str) else text
    output, lines, start = Output(longest_line=1000, longest_whole=10_000), list[str](), 0
    for cut in [*cuts, len(raw)]:
        lines += output.feed(raw[start:cut])
        start = max(start, cut)
    lines += output.close()
    return lines, output.value()


@pytest.mark.parametrize(
    ("printed", "lines", "value"),
    [
        ("", [], ""),
        ("hi\n", ["hi"], "hi"),
        ("one\ntwo", ["one", "two"], "one\ntwo"),
        ("one\r\n\r\ntwo\r\n\n", ["one", "", "two", ""], "one\r\n\r\ntwo"),
        ('{"output": {"n": 1}}\n', [], {"n": 1}),
        ('\n {"output": null}', [], None),
        ('{\n "output": [1,\n 2]\n}\n', [], [1, 2]),
        ('{"step": 1}\n{"step": 2}\n', ['{"step": 1}', '{"step": 2}'], '{"step": 1}\n{"step": 2}'),
        ('{"output": 1}\nand more\n', ['{"output": 1}', "and more"], '{"output": 1}\nand more'),
        ("{not json\nat all\n", ["{not json", "at all"], "{not json\nat all"),
        ('{"output": NaN}', ['{"output": NaN}'], '{"output": NaN}'),
        ('["output"]', ['["output"]'], '["output"]'),
        ("[" * 900, ["[" * 900], "[" * 900),
    ],
)
def test_lines_and_value(printed: str, lines: list[str], value: object) -> None:
    assert _read(printed) == (lines, value)


def test_lines_are_shown_while_the_command_still_prints() -> None:
    output = Output(longest_line=100, longest_whole=100)
    assert output.feed(b"one\ntw") == ["one"]
    assert output.feed(b"o\n") == ["two"]


def test_what_may_be_an_answer_is_held_back_until_it_is_clear_that_it_is_none() -> None:
    output = Output(longest_line=100, longest_whole=100)
    assert output.feed(b'{"output": 1}\n\n') == []
    assert output.feed(b"more\n") == ['{"output": 1}', "", "more"]
    assert output.feed(b"and more\n") == ["and more"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert _read(b"a\xff\0b\n") == (["a\ufffd\ufffdb"], "a\ufffd\ufffdb")


@given(st.text('ab{}\n":output1é', max_size=60), st.lists(st.integers(0, 80), max_size=5).map(sorted))
def test_lines_and_value_do_not_depend_on_how_the_bytes_arrive(text: str, cuts: list[int]) -> None:
    size = len(text.encode())
    assert _read(text, tuple(cut for cut in cuts if cut <= size)) == _read(text)


@pytest.mark.parametrize("printed", [b"x" * 101, b"x" * 101 + b"\n"])
def test_a_line_may_not_be_longer_than_allowed(printed: bytes) -> None:
    with pytest.raises(TooMuch, match="a line of more than 100 bytes"):
        Output(longest_line=100, longest_whole=1000).feed(printed)


def test_the_whole_may_not_be_longer_than_allowed() -> None:
    output = Output(longest_line=100, longest_whole=100)
    output.feed(b"x\n" * 50)
    with pytest.raises(TooMuch, match="more than 100 bytes"):
        output.feed(b"x")
