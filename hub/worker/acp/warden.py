"""Between the worker and a program that it runs: what the program starts ends with it, or with the worker.

Run as a file, with nothing but the standard library: `python -I -S warden.py LIFELINE FILES BYTES ARGV…`.
LIFELINE is the read end of a pipe whose other end only the worker has: its end of file is the worker's
death, however it died. On Linux the warden adopts every descendant whose own parent ends, so that leaving the
process group, as daemons and shells do, is no way out; elsewhere it ends the program's process group.
"""

import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 36, 38  # linux/prctl.h
CANNOT_RUN = 127  # a shell's status for a command that it cannot find
TERMINATE = b"T"
"""Written to the lifeline, it asks the program to end; closing the lifeline ends it at once."""
_TOLD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SWEEP_SECONDS = 5.0
"""So long the warden goes on killing: a process may fork as fast as it is looked for."""


def main(lifeline: int, files: int, largest_file: int, argv: list[str]) -> None:
    """Run `argv` until it ends or the worker does. Returns only by ending the process."""
    wake_end, signalled = os.pipe()
    os.set_blocking(signalled, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    for number in _TOLD:
        signal.signal(number, signal.SIG_IGN)  # the worker says what is to be done, by the lifeline alone
    if LINUX:
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
    program = os.fork()
    if program == 0:
        _become(files, largest_file, argv)
    with suppress(OSError):
        os.setpgid(program, program)  # both sides do it: whoever is first
    _let_go()
    status = _watch(program, lifeline, wake_end)
    _sweep(program)
    _end_as(status)


def _become(files: int, largest_file: int, argv: list[str]) -> None:
    """The program's own process, from here on."""
    warden = os.getppid()
    with suppress(OSError):
        os.setpgid(0, 0)
    # Python's own start ignores two of them, and what is ignored stays so through an exec.
    for number in (*_TOLD, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, files)
    _lower(resource.RLIMIT_FSIZE, largest_file)
    if LINUX:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != warden:
            os._exit(CANNOT_RUN)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  an argument list, no shell
    except OSError as error:
        os.write(2, f"cannot run {argv[0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(CANNOT_RUN)


def _let_go() -> None:
    """Hold none of the program's pipes, so that their ends are seen."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for pipe in (0, 1, 2):
        os.dup2(nothing, pipe)
    os.close(nothing)


def _watch(program: int, lifeline: int, wake_end: int) -> int:
    """The program's wait status, once it has ended by itself, or was ended."""
    watched = [lifeline, wake_end]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if lifeline in readable:
            said = os.read(lifeline, 64)
            if not said:
                _signal_group(program, signal.SIGKILL)
                watched.remove(lifeline)
                _sweep(program, but=program)
            elif TERMINATE in said:
                _signal_group(program, signal.SIGTERM)
        if wake_end in readable:
            os.read(wake_end, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 0
            if pid == program:
                return status
            if pid == 0:
                break


def _sweep(program: int, *, but: int | None = None) -> None:
    """Kill everything below this process, and all that it starts meanwhile."""
    deadline = time.monotonic() + SWEEP_SECONDS
    _signal_group(program, signal.SIGKILL)
    while LINUX and time.monotonic() < deadline:
        alive = _descendants(os.getpid())
        for pid in alive:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if but is not None:
            return  # once is enough: what is left is swept when the program's own end was seen
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not alive:
            return
        time.sleep(0.002)


def _descendants(root: int) -> list[int]:
    """Every process below `root` that has not ended."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", "rb") as stat:
                    state, parent = stat.read().rpartition(b")")[2].split()[:2]
                if state not in (b"Z", b"X"):
                    parents[int(name)] = int(parent)
    below = {root}
    grown = True
    while grown:
        found = {pid for pid, parent in parents.items() if parent in below} - below
        below |= found
        grown = bool(found)
    return sorted(below - {root})


def _signal_group(leader: int, number: int) -> None:
    with suppress(OSError):
        os.killpg(leader, number)


def _end_as(status: int) -> None:
    """End in the way in which the program did, so that whoever waits for the warden sees it."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


def _prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
