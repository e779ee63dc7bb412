"""A Python that starts at once: programs are forked from a server that has imported torch and fairseq.

``start(folder)`` starts the server and writes ``folder/python``, a command that takes ``-m MODULE``,
``-c CODE`` or ``SCRIPT`` with arguments, as Python does, and hands them with its open files, environment and
working directory to the server. The program runs in a process of its own, with the exit status, output and
signals of one. Other options of Python start the ordinary interpreter. Children that the program starts with
``sys.executable`` or ``multiprocessing`` are forked from the server too.

    python tests/warm_python.py SOCKET    # the server, until its standard input ends
"""

import array
import atexit
import functools
import gc
import importlib
import json
import logging
import os
import runpy
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

import hydra_cache

PRELOAD = (
    "torch", "torch._dynamo", "fairseq.trainer", "fairseq.options", "fairseq.binarizer",
    "fairseq.checkpoint_utils", "fairseq.distributed.utils", "scipy.stats", "sklearn.linear_model",
    "sklearn.ensemble", "sklearn.metrics", "sklearn.model_selection", "pandas", "tqdm",
    "safetensors.torch", "multiprocessing.forkserver", "multiprocessing.resource_tracker",
    "musicbert.fairseq_plugin", "musicbert.viz.canvas", "musicbert.evaluation.baselines.models",
    "musicbert.evaluation.baselines.regressors", "musicbert.evaluation.baselines.sentences",
)  # fmt: skip

#: in the environment of a program: its forests are small (`few_trees`)
FEW_TREES = "FEW_TREES"

#: the command; it starts in a hundredth of a second
CLIENT = """#!{python} -IS
import array, json, os, signal, socket, struct, sys
arguments = sys.argv[1:]
try:
    while arguments[:1] in (["-B"], ["-u"]):
        del arguments[0]
    if not arguments or (arguments[0][0] == "-" and arguments[0] not in ("-m", "-c")):
        raise OSError
    server = socket.socket(socket.AF_UNIX)
    server.connect({socket!r})
except OSError:
    os.execv({python!r}, [{python!r}, *arguments])
files = []
for name in os.listdir("/proc/self/fd"):
    try:
        if int(name) < 3 or (os.get_inheritable(int(name)) and int(name) != server.fileno()):
            os.fstat(int(name))
            files.append(int(name))
    except OSError:
        pass
asked = dict(argv=arguments, files=files, cwd=os.getcwd(), environment=dict(os.environ), python={command!r})
asked = json.dumps(asked).encode()
rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))
server.sendmsg([struct.pack("!I", len(asked))], [rights])
server.sendall(asked)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, _: server.sendall(bytes([number])))
for number in files:
    os.close(number)
answer = server.recv(4, socket.MSG_WAITALL)
status = struct.unpack("!i", answer)[0] if len(answer) == 4 else -9
if status < 0:
    signal.signal(-status, signal.SIG_DFL) if -status not in (9, 19) else None
    os.kill(os.getpid(), -status)
os._exit(status)
"""


def start(folder: Path) -> tuple[Path, subprocess.Popen]:
    """Start a server; returns the command and the process, which ends when its ``stdin`` is closed."""
    address, command = folder / "socket", folder / "python"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    command.write_text(CLIENT.format(python=sys.executable, command=str(command), socket=str(address)))
    (folder / "torchrun").write_text(f'#!/bin/sh\nexec {command} -m torch.distributed.run "$@"\n')
    for program in (command, folder / "torchrun"):
        program.chmod(0o755)
    assert b"ready\n" in process.stdout, "the server did not start"
    return command, process


@functools.cache
def python() -> str:
    """The command; starts one server for the tests of this process."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    command, process = start(folder)

    def end() -> None:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # a forked process holds its standard input open
            process.terminate()
            process.wait()
        shutil.rmtree(folder)

    atexit.register(end)
    return str(command)


def serve(address: str) -> None:
    """Fork a process for each connection until standard input ends."""
    for name in PRELOAD:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    # the programs of fairseq set up logging when they are imported, so each imports them itself
    logging.basicConfig(force=True, handlers=[])
    logging.getLogger().setLevel(logging.WARNING)
    assert not any(name.startswith("fairseq_cli") for name in sys.modules)
    hydra_cache.keep()
    hydra_cache.fill()
    gc.collect()
    gc.freeze()  # the memory stays shared with the children
    os.write(1, b"ready\n")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if 0 in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            watch(connection)
        connection.close()


def watch(connection: socket.socket) -> None:
    """Start the program that is asked for, pass signals on to it, and return its exit status."""
    passed = array.array("i")
    room = socket.CMSG_SPACE(250 * passed.itemsize)
    head, ancillary, _, _ = connection.recvmsg(4, room, socket.MSG_WAITALL)
    for _, _, data in ancillary:
        passed.frombytes(data)
    asked = json.loads(connection.recv(struct.unpack("!I", head)[0], socket.MSG_WAITALL))
    child = os.fork()
    if child == 0:
        connection.close()
        os._exit(run(asked, list(passed)))
    for number in (0, 1, 2, *passed):
        os.close(number)
    ended = os.pidfd_open(child)
    while True:
        ready, _, _ = select.select([connection, ended], [], [])
        if ended in ready:
            with suppress(OSError):
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                connection.sendall(struct.pack("!i", status))
            os._exit(0)
        number = connection.recv(1)
        os.kill(child, number[0] if number else signal.SIGKILL)  # without a client there is no program
        if not number:
            os._exit(0)


def fewer_trees(put=setattr) -> None:
    """Give forests a tenth of their trees; ``put``: sets an attribute."""
    from musicbert.evaluation.baselines import models, regressors, sentences

    put(regressors, "TREES", 30)
    put(models, "MORE_TREES", 50)
    put(sentences, "TREES", 50)


def run(asked: dict, passed: list[int]) -> int:
    """Do what Python does with these arguments; returns the exit status."""
    import numpy as np

    signal.signal(signal.SIGINT, signal.default_int_handler)
    # the files under the numbers that they had
    above = max([*asked["files"], *passed]) + 1
    for number, wanted in zip(passed, range(above, above + len(passed)), strict=True):
        os.dup2(number, wanted)
        os.close(number)
    for kept, number in enumerate(asked["files"], start=above):
        os.dup2(kept, number)
        os.close(kept)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.executable = asked["python"]
    import multiprocessing.spawn

    multiprocessing.spawn.set_executable(sys.executable)
    if FEW_TREES in os.environ:
        fewer_trees()
    np.random.seed()  # noqa: NPY002 (a new process has a state of its own)
    kind, *arguments = asked["argv"]
    rest = arguments[1:] if kind in ("-m", "-c") else arguments
    sys.argv = [kind if kind in ("-m", "-c") else str(kind), *rest]
    first = str(Path.cwd()) if kind in ("-m", "-c") else str(Path(kind).resolve().parent)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = list(dict.fromkeys([first, *paths, *sys.path[1:]]))
    warnings.filterwarnings("ignore", "(?s).*found in sys.modules after import", RuntimeWarning)
    status = 0
    try:
        if kind == "-m":
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_path(kind, run_name="__main__")
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            sys.stderr.write(f"{end.code}\n")
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    return status & 0xFF


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    serve(sys.argv[1])
