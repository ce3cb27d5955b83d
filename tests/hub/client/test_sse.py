"""The parser of server-sent events, whatever the network makes of the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.client.sse import Frame, SseReader

STREAM = (
    b": connected\n\nid: 1\nevent: a\ndata: {}\n\n: ping\n\nid:2\r\ndata: one\r\ndata: two\r\n\r\n"
    b"data: \xc3\xa9\n\nretry: 5\nunknown: x\n\nid: 3\nid: bad\0id\rdata\r\rdata: cut off"
)
FRAMES = [
    Frame("1", "a", "{}"),
    Frame("2", "message", "one\ntwo"),
    Frame(None, "message", "é"),
    Frame("3", "message", ""),
]


@given(st.sets(st.integers(0, len(STREAM))))
def test_frames_do_not_depend_on_how_the_bytes_arrive(cuts: set[int]) -> None:
    frames: list[Frame] = []
    reader, start = SseReader(), 0
    for cut in [*sorted(cuts), len(STREAM)]:
        frames += reader.feed(STREAM[start:cut])
        start = cut
    assert frames == FRAMES


def test_data_that_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="object"):
        Frame(None, "message", "[]").json()
