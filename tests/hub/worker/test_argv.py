"""The command as its operator writes it."""

from pathlib import Path

import pytest

from hub.worker import BadCommand, words


def test_files_are_found_from_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "answer.py").touch()
    (tmp_path / "hi").touch()
    program, *arguments = words("sh ./answer.py answer.py hi .input.text 'two words'")
    answer = str(tmp_path / "answer.py")
    assert Path(program).is_absolute()
    assert arguments == [answer, answer, "hi", ".input.text", "two words"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-command-here", "no command 'no-such-command-here'"),
        ("", "no command in it"),
        ("'", "quotation"),
        ("cat | tr a-z A-Z", "no shell reads it"),
        ("cat > file", "no shell reads it"),
        ("true && rm file", "no shell reads it"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_reason(command: str, message: str) -> None:
    with pytest.raises(BadCommand, match=message):
        words(command)


def test_what_a_shell_would_expand_stays_as_it_is() -> None:
    assert words("echo '$HOME' *.txt `id` $(id)")[1:] == ["$HOME", "*.txt", "`id`", "$(id)"]
