"""The files that a command leaves: all of its own, and nothing that a link leads to."""

import os
from pathlib import Path

import pytest

from hub.worker.files import Found, found
from hub.worker.output import TooMuch


def _found(directory: Path, *, most_files: int = 100, most_bytes: int = 1000) -> list[Found]:
    return list(found(str(directory), most_files=most_files, most_bytes=most_bytes))


def test_files_are_found_in_all_folders_in_order(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for path, text in {"z.txt": "1", "b/a.json": "{}", "b/c/deep": "3"}.items():
        (tmp_path / path).write_text(text)
    files = _found(tmp_path)
    assert [(file.path, file.content, file.content_type) for file in files] == [
        ("z.txt", b"1", "text/plain"),
        ("b/a.json", b"{}", "application/json"),
        ("b/c/deep", b"3", "application/octet-stream"),
    ]


def test_links_pipes_and_what_they_lead_to_are_passed_over(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("xd_admin")
    work = tmp_path / "work"
    work.mkdir()
    (work / "link").symlink_to(secret / "key")
    (work / "folder").symlink_to(secret)
    os.mkfifo(work / "pipe")
    (work / "mine").write_text("ok")
    assert [file.path for file in _found(work)] == ["mine"]


def test_a_name_that_is_no_text_gets_a_label_that_is(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\n\\b")).write_text("x")
    assert [file.path for file in _found(tmp_path)] == ["a\ufffd\ufffd\ufffdb"]


def test_too_many_files_or_bytes_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * 10)
    assert len(_found(tmp_path, most_files=2, most_bytes=20)) == 2
    with pytest.raises(TooMuch, match="more than 1 files"):
        _found(tmp_path, most_files=1)
    with pytest.raises(TooMuch, match="more than 19 bytes"):
        _found(tmp_path, most_bytes=19)
