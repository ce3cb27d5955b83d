"""No path leads out of the workspace, whoever else moves things about in it meanwhile."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.worker.acp.jail import FILE_BYTES, Jail, Missing, Outside, Unfit


@pytest.fixture(name="work")
def _work(tmp_path: Path) -> Path:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("xd_admin")
    work = tmp_path / "work"
    (work / "d").mkdir(parents=True)
    (work / "a.txt").write_text("one\ntwo\n")
    return work


@pytest.fixture(name="jail")
def _jail(work: Path) -> Iterator[Jail]:
    jail = Jail([str(work)])
    yield jail
    jail.close()


def test_files_of_the_workspace_are_read_and_written(jail: Jail, work: Path) -> None:
    assert jail.read(f"{work}/a.txt") == "one\ntwo\n"
    jail.write(f"{work}/d/new/deep.txt", "hé")
    assert (work / "d/new/deep.txt").read_text() == "hé"
    jail.write(f"{work}//./a.txt", "three")
    assert jail.read(f"{work}/a.txt") == "three"
    assert sorted(path.name for path in work.iterdir()) == ["a.txt", "d"]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{work}/../secret/key",
        "{work}/d/../../secret/key",
        "{work}/d/../a.txt",
        "{work}x/key",
        "a.txt",
        "./a.txt",
        "",
        "file://{work}/a.txt",
        "{work}/a\0.txt",
        "{work}/" + "x/" * 4096,
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_before_anything_is_opened(
    jail: Jail, work: Path, path: str
) -> None:
    with pytest.raises(Outside):
        jail.read(path.format(work=work))
    with pytest.raises(Outside):
        jail.write(path.format(work=work), "x")
    with pytest.raises(Outside):
        jail.directory(path.format(work=work))


def test_no_link_is_followed_at_the_end_or_on_the_way(jail: Jail, work: Path) -> None:
    secret = work.parent / "secret"
    (work / "file").symlink_to(secret / "key")
    (work / "folder").symlink_to(secret)
    (work / "inside").symlink_to(work / "a.txt")
    (work / "up").symlink_to("..")
    (work / "new").symlink_to(secret / "new")
    for path in ("file", "folder/key", "inside", "up/secret/key", "new"):
        with pytest.raises(Outside):
            jail.read(f"{work}/{path}")
    for path in ("folder/key", "folder/new/deep", "up/secret/key", "up/x"):
        with pytest.raises(Outside):
            jail.write(f"{work}/{path}", "x")
    for path in ("file", "inside", "new"):
        with pytest.raises(Unfit):
            jail.write(f"{work}/{path}", "x")
    with pytest.raises(Outside):
        jail.directory(f"{work}/folder")
    assert (secret / "key").read_text() == "xd_admin"
    assert not (secret / "new").exists()
    assert not (work.parent / "x").exists()


def test_a_file_with_another_name_elsewhere_is_not_written(jail: Jail, work: Path) -> None:
    os.link(work.parent / "secret" / "key", work / "shared")
    with pytest.raises(Unfit, match="other names"):
        jail.write(f"{work}/shared", "x")
    assert (work.parent / "secret" / "key").read_text() == "xd_admin"


@pytest.mark.timeout(20)
def test_what_is_no_file_is_neither_read_nor_written(jail: Jail, work: Path) -> None:
    os.mkfifo(work / "pipe")  # opening one without care waits for ever
    for path in ("pipe", "d"):
        with pytest.raises(Unfit):
            jail.read(f"{work}/{path}")
        with pytest.raises(Unfit):
            jail.write(f"{work}/{path}", "x")
    with pytest.raises(Unfit):
        jail.read(str(work))
    with pytest.raises(Outside):
        jail.write(f"{work}/a.txt/below", "x")


def test_what_is_missing_is_said_to_be(jail: Jail, work: Path) -> None:
    for path in ("none", "none/deep"):
        with pytest.raises(Missing):
            jail.read(f"{work}/{path}")


def test_a_file_has_a_bound_and_must_be_text(jail: Jail, work: Path) -> None:
    (work / "big").write_bytes(b"x" * (FILE_BYTES + 1))
    (work / "bytes").write_bytes(b"\xff\xfe")
    for path in ("big", "bytes"):
        with pytest.raises(Unfit):
            jail.read(f"{work}/{path}")
    with pytest.raises(Unfit):
        jail.write(f"{work}/a.txt", "x" * (FILE_BYTES + 1))
    assert jail.read(f"{work}/a.txt") == "one\ntwo\n"


def test_a_written_file_keeps_its_mode(jail: Jail, work: Path) -> None:
    (work / "run").write_text("#!/bin/sh\n")
    (work / "run").chmod(0o750)
    jail.write(f"{work}/run", "#!/bin/sh\nexit\n")
    assert (work / "run").stat().st_mode & 0o777 == 0o750


def test_a_workspace_reached_over_a_link_is_known_by_both_names(work: Path) -> None:
    (work.parent / "alias").symlink_to(work)
    jail = Jail([str(work.parent / "alias")])
    try:
        assert jail.read(f"{work.parent}/alias/a.txt") == jail.read(f"{work}/a.txt")
    finally:
        jail.close()


def test_a_directory_that_turns_into_a_link_again_and_again_leads_nowhere(jail: Jail, work: Path) -> None:
    """The race that a check before the opening loses."""
    secret = work.parent / "secret"
    (work / "swap").mkdir()
    (work / "swap" / "key").write_text("mine")
    over = threading.Event()

    def where_a_writer_may_have_made_it_anew(place: Callable[[], None]) -> None:
        while True:
            try:
                return place()
            except OSError:
                shutil.rmtree(work / "swap", ignore_errors=True)

    def swap() -> None:
        while not over.is_set():
            os.rename(work / "swap", work / "aside")
            where_a_writer_may_have_made_it_anew(lambda: os.symlink(secret, work / "swap"))
            os.unlink(work / "swap")
            where_a_writer_may_have_made_it_anew(lambda: os.rename(work / "aside", work / "swap"))

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for n in range(3000):
            try:
                assert jail.read(f"{work}/swap/key").startswith("mine")
                jail.write(f"{work}/swap/key", f"mine {n}")
            except (Outside, Missing, Unfit):
                pass
    finally:
        over.set()
        swapping.join()
    assert jail.read(f"{work}/swap/key").startswith("mine")
    assert (secret / "key").read_text() == "xd_admin"
    assert sorted(path.name for path in secret.iterdir()) == ["key"]
