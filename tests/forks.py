"""Programs in processes of their own, forked from one process that has imported torch and the trainings.

For tests of what other processes do, not of how they come to be: `python program.py` imports for seconds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "ldmkit.cli",
        "ldmkit.training.adapter",
        "ldmkit.training.run",
        "torch._dynamo",  # which optimizers import late
        "torch.distributed.fsdp",
        "transformers.models.bert.modeling_bert",  # what the shipped recipes read captions with
    ]
)
LONGEST = timedelta(minutes=10)


class Fork:
    """A process that runs a program, as `python program.py ...` and `python -c program ...` do.

    Args:
        program: the file, or the text itself.
        arguments: what follows `python program`.
        folder: where it runs; where this process does when it is None.
        environment: variables beside those of this process; PYTHONPATH leads to modules as for `python`.
    """

    def __init__(
        self, program: Path | str, *arguments: str, folder: Path | None = None, **environment: str
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._arguments = (str(program), *arguments)
        self._said = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        self._process: BaseProcess = FORKS.Process(
            target=_run, args=(program, arguments, folder or Path.cwd(), variables, self._said)
        )
        self._process.start()

    def done(self) -> subprocess.CompletedProcess[str]:
        """Waits for its end; what it said, and its exit code."""
        self._process.join(LONGEST.total_seconds())
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        said = [path.read_text() if path.exists() else "" for path in self._said]
        self._folder.cleanup()
        return subprocess.CompletedProcess(self._arguments, self._process.exitcode or 0, *said)


def _run(
    program: Path | str, arguments: tuple[str, ...], folder: Path, variables: dict[str, str], said: list[Path]
) -> None:
    import torch

    for path, stream in zip(said, (1, 2), strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), stream)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    sys.path[:0] = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path]
    torch.set_num_threads(1)
    sys.argv = ["program", *arguments]
    if isinstance(program, Path):
        runpy.run_path(str(program), run_name="__main__")
    else:
        exec(compile(program, "program", "exec"), {"__name__": "__main__"})  # a test's own text


def together(program: Path | str, processes: int, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Processes that know of each other by the variables that a launcher sets; what each said."""
    from torch.distributed import TCPStore

    meeting = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(meeting.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the meeting is here, not in the first of them
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
    }
    forks = [
        Fork(program, *arguments, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(processes)
    ]
    return [fork.done() for fork in forks]


PROGRAM = "from ldmkit.cli import main; main()"
ASKS = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    code, out, err = json.load(server.makefile())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


@contextmanager
def commands() -> Iterator[Path]:
    """A folder for PATH, whose program `ldmkit` runs each call in a fork; it reads no standard input."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as server:
        address, program = f"{name}/asked", Path(name, "ldmkit")
        program.write_text(ASKS.format(python=sys.executable, address=address))
        program.chmod(0o755)
        server.bind(address)
        server.listen()
        thread = Thread(target=_answer, args=[server])
        thread.start()
        try:
            yield Path(name)
        finally:
            server.shutdown(socket.SHUT_RDWR)  # ends the wait for a further call
            thread.join()


def _answer(server: socket.socket) -> None:
    while True:
        try:
            call, _ = server.accept()
        except OSError:
            return
        with call:
            arguments, folder, variables = json.load(call.makefile())
            done = Fork(PROGRAM, *arguments, folder=Path(folder), **variables).done()
            call.sendall(json.dumps([done.returncode, done.stdout, done.stderr]).encode())
