"""The last step before a command runs: it limits itself, then becomes the command.

Run as a file, with nothing but the standard library: `python -I -S shim.py PARENT FILES BYTES ARGV…`.
A separate program, because setting limits between fork and exec is not safe in a process with threads.
The limits bound accidents. They are no sandbox: the command can read and do what its user can.
"""

import os
import resource
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h
CANNOT_RUN = 127  # a shell's status for a command that it cannot find


def main(parent: int, files: int, largest_file: int, argv: list[str]) -> None:
    """Set the limits and execute `argv`. Returns only by ending the process."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, files)
    _lower(resource.RLIMIT_FSIZE, largest_file)
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(CANNOT_RUN)  # the worker died before the kernel knew whom to watch
    try:
        os.execvp(argv[0], argv)  # noqa: S606  the operator's own argument list, no shell
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(CANNOT_RUN)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
