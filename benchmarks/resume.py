"""Trainings on many small pictures: seconds to a resume's first step, and latents beyond the memory allowed.

    python benchmarks/resume.py [--count 100000] [--group FOLDER]

Both stages are stopped after each step by SIGTERM. Each start is a process of its own; its seconds, in
brackets those of a processor, run from the end of the imports to the end of its first step. With `--group`,
the folder of a memory cgroup that has a limit, stage two then goes on inside it, its page cache counted too:
it reads an epoch of batches and trains sixty steps, and the last line says what share of these was spent
waiting for the batch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from data_start import SIDE, write_pictures
from paired import held

from ldmkit.disk import write_json
from ldmkit.training.diffusion import DiffusionStage
from ldmkit.training.interrupt import Interrupted, Signal
from ldmkit.training.loop import Loop
from ldmkit.verbs.arguments import Terms
from ldmkit.verbs.train import train_recipe

BATCH, STARTS, TRAINED = 16, 4, 60


def recipe(root: Path) -> dict[str, Any]:
    """Latents of 16 x 16 x 16 with their deviations: 33 kB a picture."""
    stage = {"steps": 2, "batch": BATCH, "lr": 1e-4}
    return {
        "recipe": 1,
        "name": "many",
        "data": {"name": "image-folder", "path": str(root / "pictures"), "size": SIDE},
        "compression": {"name": "kl-autoencoder", "factor": 1, "channels": 16, "width": 32, "blocks": 1},
        "denoiser": {"name": "unet", "width": 64, "multipliers": [1, 2], "blocks": 1},
        "train": {"compression": {**stage, "loss": ["pixel"]}, "diffusion": stage},
    }


def train(root: Path, *overrides: str) -> None:
    """Trains what is left of the recipe, or until a signal comes."""
    terms = Terms(root / "runs", device="cpu")
    try:
        train_recipe(root / "many.yaml", overrides, terms, stage=None, restart=False, say=lambda _: None)
    except Interrupted:
        return


def one_more(root: Path) -> None:
    """Trains one step more, and prints when it was done."""
    began, busy, step = time.perf_counter(), time.process_time(), Loop.step

    def stopped(loop: Loop, number: int, noted: Signal) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        number_of_signal = step(loop, number, noted)
        seconds, used = time.perf_counter() - began, time.process_time() - busy
        memory = f"{held('VmHWM') // 1024} MB"
        print(
            f"| {loop._stage.name}, step {number + 1} | {seconds:.1f} ({used:.1f}) | {memory} |", flush=True
        )
        return number_of_signal

    Loop.step = stopped  # type: ignore[method-assign, assignment]
    train(root)


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """The function, the seconds of each call noted."""

    def called(*given: Any) -> Any:
        began = time.perf_counter()
        made = function(*given)
        spent.append(time.perf_counter() - began)
        return made

    return called


def limited(root: Path) -> None:
    """An epoch of batches and sixty steps; prints the share of the steps that was spent waiting."""
    steps: list[float] = []
    waits: list[float] = []
    DiffusionStage.batch = timed(DiffusionStage.batch, waits)  # type: ignore[method-assign]
    step = timed(Loop.step, steps)

    def first(loop: Loop, *given: Any) -> int:
        epoch = len(loop._stage._train) // BATCH  # type: ignore[attr-defined]
        for number in range(epoch):
            loop._stage.batch(number, slice(0, BATCH))
        print(f"an epoch of {epoch} batches read in {sum(waits):.0f} s")
        waits.clear()
        Loop.step = step  # type: ignore[method-assign]
        stop: int = step(loop, *given)
        return stop

    Loop.step = first  # type: ignore[method-assign, assignment]
    train(root, f"train.diffusion.steps={TRAINED + 2}")
    share = sum(waits) / sum(steps)
    print(
        f"{len(steps)} steps, {share:.1%} of them waiting; {held('RssAnon') // 1024} MB of memory of its own"
    )


def forgotten(folder: Path) -> int:
    """Bytes of the files in a folder; their pages leave the page cache, so that who reads them is charged."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return sum(path.stat().st_size for path in files)


def processes(folder: str, group: Path | None) -> None:
    """The starts, then the training inside the cgroup."""
    environment = {**os.environ, "LDMKIT_CACHE": f"{folder}/cache"}
    command = [sys.executable, __file__, "--work", folder, "--do"]
    print("| done | s from the imports (of a processor) | memory at most |\n|-|-|-|", flush=True)
    for _ in range(STARTS):
        subprocess.run([*command, "start"], check=True, env=environment)
    if group is not None:
        print(f"\n{forgotten(Path(folder, 'runs', 'cache')) // 10**6} MB of latents", flush=True)
        join = ["sh", "-c", f'echo $$ > {group / "cgroup.procs"} && exec "$@"', "sh"]
        subprocess.run([*join, *command, "limited"], check=True, env=environment)


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--count", default=100_000)
@click.option("--group", type=click.Path(exists=True, path_type=Path))
@click.option("--work", type=click.Path(path_type=Path), hidden=True)
@click.option("--do", type=click.Choice(["start", "limited"]), hidden=True)
def main(count: int, group: Path | None, work: Path | None, do: str | None) -> None:
    """Writes the pictures and starts the processes."""
    torch.set_num_threads(1)
    if work is not None:
        return one_more(work) if do == "start" else limited(work)
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder, "pictures"), count)
        write_json(Path(folder, "many.yaml"), recipe(Path(folder)))
        processes(folder, group)


if __name__ == "__main__":
    main()
