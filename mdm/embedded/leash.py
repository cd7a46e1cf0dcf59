"""Becomes another program on a leash: drops root, and asks the kernel for a signal when the parent dies.

Run as a script by `mdm.embedded.host.spawn`, under `python -I -S`; imports only the standard library.
Arguments: signal number, parent's pid, uid, gid, program, its arguments.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
"""prctl(2). Cleared by a change of uid, so it comes after it; kept over execve(2) of an ordinary program."""


def _fasten(signal_number: int, parent: int) -> None:
    if sys.platform != "linux":
        return  # elsewhere there is no such call: a killed parent leaves the server to the next start
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        sys.exit(1)  # the parent died before the leash was on


def main(arguments: list[str]) -> None:
    """Drop privileges when root, fasten the leash, and become the program."""
    signal_number, parent, uid, gid = (int(number) for number in arguments[:4])
    command = arguments[4:]
    if os.geteuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    _fasten(signal_number, parent)
    os.execv(command[0], command)  # noqa: S606 - a fixed program, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
