"""Runs a function in a session of its own and ends every process of it afterwards, whatever happens: when the function
returns or fails, on Ctrl-C and SIGTERM, after a deadline, and when this process itself is killed."""
import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
TIME_TO_CLEAN_UP_S = 30


def _inner(work):
    os.setsid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def end(number, _):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        code = work() or 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:  # noqa: BLE001 - told, then the session ends
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _wait(child, until):
    """The child's exit code, or None when `until` passed."""
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    return None


def run(work, deadline_s):
    """Exit code of work(): 0 unless it returned another number or raised; 124 after the deadline."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _inner(work)
    asked = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: (asked.append(n), os.kill(child, signal.SIGTERM)))
    code = None
    try:
        until = time.monotonic() + deadline_s
        while code is None and time.monotonic() < until and not asked:
            code = _wait(child, min(until, time.monotonic() + 1))
        if code is None:
            if not asked:
                print(f"not done after {deadline_s:.0f} s: ended", file=sys.stderr)
                os.kill(child, signal.SIGTERM)
            code = _wait(child, time.monotonic() + TIME_TO_CLEAN_UP_S)
            code = 128 + asked[0] if asked else 124
    finally:
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return code
