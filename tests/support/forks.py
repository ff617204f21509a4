"""Python programs as children that need not import what every server imports: forks of a process that has done so.

    python -m tests.support.forks DESCRIPTOR

Importing FastAPI and the rest takes 0.7 s of CPU per process, and a run of the tests starts hundreds. `Popen` asks a
process of its own, which has imported them once, to fork a child: with the arguments, environment, directory and
standard streams of the request. The child then runs its module as `python -m` does, or its code as `python -c`. It is a
child of the process that asked for it, and can be waited for and signalled like any other.

What cannot be had so is started as ever: another program, a `preexec_fn` that cannot be pickled, a PYTHONPATH of its
own, and any system but Linux.

    python -m tests.support.forking MODULE ARGUMENTS

is a program whose own servers are forks as well.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import os
import pickle
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

_ROOT = Path(__file__).parents[2]
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2): who is orphaned below this process becomes its child
_REQUEST_BYTES = 1 << 17
_END_SECONDS = 10  # a fork of this process that a test has left behind may hold the socket open
_IMPORTED = (
    "anyio._backends._asyncio",
    "encodings.idna",
    "fanwise.app",
    "fanwise.backplane.redis.backplane",
    "fanwise.cli.launch",
    "fanwise.cli.main",
    "fanwise.protocol",
    "fanwise.serve",
    "fanwise.tools.doctor.checks",
    "httptools",
    "multiprocessing.spawn",
    "rich.console",
    "rich.live",
    "rich.table",
    "uvicorn.__main__",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.loops.uvloop",
    "uvloop",
    "websockets.asyncio.client",
    "websockets.sync.client",
)


class Request(NamedTuple):
    """A child to fork."""

    args: list[str]  # -m and a module, or -c and code; and what it is given
    cwd: str
    environ: dict[str, str]
    before: Callable[[], object] | None = None  # called in the child


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen`, quicker where the program is `python -m MODULE` or `python -c CODE`."""

    def _execute_child(self, args: Any, *rest: Any) -> None:
        _executable, preexec_fn, _close_fds, _pass_fds, cwd, env, *_ = rest
        environ = dict(os.environ if env is None else env)
        same_path = environ.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
        if _is_python(args) and _can_be_sent(preexec_fn) and same_path:
            self._fork(Request(list(args[1:]), os.fspath(cwd or Path.cwd()), environ, preexec_fn), *rest[9:15])
        else:
            super()._execute_child(args, *rest)  # type: ignore[misc]

    def _fork(self, request: Request, *pipes: int) -> None:
        """Has a child forked; `pipes` are both ends of its input, its output and its errors, as `Popen` has them."""
        stdin, _, _, stdout, _, stderr = pipes
        ends = [given if given != -1 else own for own, given in enumerate((stdin, stdout, stderr))]
        self.pid = _Nursery.of_this_process().fork(request, ends)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def close() -> None:
    """Ends the process that forks for this one, if there is one."""
    nursery, _Nursery._here = _Nursery._here, None
    if nursery is not None:
        nursery.close()


def fork_here() -> None:
    """Has this process fork what its `Popen` starts by a copy of it as it is now, and not by an interpreter more."""
    _Nursery._here = _Nursery(of_this=True)


def _can_be_sent(function: Any) -> bool:
    """Whether a function can be called in another process: a `partial` of a module's function, but no lambda."""
    try:
        pickle.dumps(function)
    except (AttributeError, pickle.PicklingError):
        return False
    return True


def _is_python(args: Any) -> bool:
    programs = ([sys.executable, "-m"], [sys.executable, "-c"])
    return sys.platform == "linux" and isinstance(args, list) and args[:2] in programs


class _Nursery:
    """The process that forks, started by the first who needs it. It ends with the process that has started it."""

    _here: _Nursery | None = None
    _one_at_a_time = threading.Lock()  # tests start processes in threads, too

    def __init__(self, *, of_this: bool = False) -> None:
        self.pid = os.getpid()
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        self._wait: Callable[[], object] = lambda: None
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            if not of_this:
                argv = [sys.executable, "-m", __name__, str(theirs.fileno())]
                self._wait = subprocess.Popen(argv, cwd=_ROOT, pass_fds=[theirs.fileno()]).wait
            elif (child := os.fork()) == 0:
                self._socket.close()
                _hold_no_pipes()
                _serve(theirs)
            else:
                self._wait = partial(os.waitpid, child, 0)

    @classmethod
    def of_this_process(cls) -> _Nursery:
        with cls._one_at_a_time:
            if cls._here is None or cls._here.pid != os.getpid():
                cls._here = cls()
            return cls._here

    def close(self) -> None:
        """Returns when no more can be forked."""
        self._socket.close()
        self._wait()

    def fork(self, request: Request, streams: list[int]) -> int:
        """Returns the process id of the child."""
        with self._one_at_a_time:
            socket.send_fds(self._socket, [pickle.dumps(request)], streams)
            return int(self._socket.recv(32))


def _hold_no_pipes() -> None:
    """Leaves the standard input and output to the process that this is a fork of: they end with it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nothing, number)
    os.close(nothing)


def main(descriptor: int) -> NoReturn:
    """Forks a child for each request; ends when nobody can ask any more."""
    for module in _IMPORTED:
        importlib.import_module(module)
    _make_an_application()
    gc.freeze()  # a collection in a child would copy all of its pages
    _serve(socket.socket(fileno=descriptor))


def _make_an_application() -> None:
    """Leaves to all children what a process builds once, for its first application: validators, and patterns."""
    for name in [name for name in os.environ if name.startswith("FANWISE_")]:
        del os.environ[name]
    settings = importlib.import_module("fanwise.settings").Settings(_env_file=None)
    importlib.import_module("fanwise.app").create_app(settings)
    importlib.import_module("fanwise.transport.server").warm_up()


def _serve(requests: socket.socket) -> NoReturn:
    """Forks a child for each request, and becomes what was asked for in the child; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with requests:
        while True:
            data, streams, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 3)
            if not data:
                os._exit(0)
            if _fork_orphan(requests):
                break
            for stream in streams:
                os.close(stream)
    _become(pickle.loads(data), streams)


def _fork_orphan(requests: socket.socket) -> bool:
    """Forks a grandchild whose parent ends at once, and answers with its process id; returns whether this is it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        grandchild = os.fork()
        if grandchild == 0:
            os.close(reader)
            os.close(writer)
            return True
        os.write(writer, b"%d" % grandchild)
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    requests.send(os.read(reader, 32))
    os.close(reader)
    return False


def _become(request: Request, streams: list[int]) -> NoReturn:
    """Makes this process what `python -m` would have started."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request.before is not None:
        request.before()
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.environ)
    random.seed()
    sys.path[0] = request.cwd
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = open(1, "w", buffering=1 if os.isatty(1) else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    try:
        _run(*request.args)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        _exit(end.code or 0)
    _exit(0)


def _run(flag: str, program: str, *args: str) -> None:
    sys.argv[:] = ["-c" if flag == "-c" else program, *args]
    if flag == "-m":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        main_module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(program, "<string>", "exec"), vars(main_module))


def _exit(status: int) -> NoReturn:
    """Ends this process in order, but for taking its objects apart one by one: that would copy their pages, too."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]))
