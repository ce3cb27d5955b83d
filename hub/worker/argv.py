"""A command as its operator wrote it, as the words to run. No shell reads it, here or later."""

import os
import shlex
import shutil
from pathlib import Path

SHELL_WORDS = frozenset({"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", "&>"})
"""Words that mean something to a shell, and to a command hardly ever anything."""


class BadCommand(ValueError):
    """The command cannot be run as it is written; the message says why."""


def words(command: str) -> list[str]:
    """The command's words. What names a file here stays that file, though the command runs elsewhere.

    Raises:
        BadCommand: it is empty, cannot be found, or is meant for a shell.
    """
    try:
        written = shlex.split(command)
    except ValueError as error:
        raise BadCommand(f"{command!r} cannot be read: {error}") from None
    if not written:
        raise BadCommand("there is no command in it")
    for word in written:
        if word in SHELL_WORDS:
            raise BadCommand(f'no shell reads it, so {word!r} has no meaning; say sh -c "…" if you want one')
    program = shutil.which(written[0])
    if program is None:
        raise BadCommand(f"there is no command {written[0]!r}")
    return [os.path.abspath(program), *(_found_here(word) for word in written[1:])]


def _found_here(word: str) -> str:
    """A word that names a file is meant as that file; without a dot or slash it may be anything."""
    return os.path.abspath(word) if ("/" in word or "." in word) and Path(word).is_file() else word
