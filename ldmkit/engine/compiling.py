"""Compiled code of a bound network, with frozen weights, cached between runs; reports the time that it takes
and saves."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ldmkit.disk import cache_folder
from ldmkit.errors import UserError
from ldmkit.interfaces import BoundNetwork, Denoiser
from ldmkit.types import Latent, PerPicture, Say

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
COMPILERS = ("c++", "g++", "clang++")


class Compiler:
    """Compiles bound networks for the shape of the first batch; others run as they are.

    The compiler takes weights for constants, which it lays out as its kernels like them ("freezing"): after
    any change of a weight the code is made again. It is kept in the cache folder for later runs.
    """

    def __init__(self, say: Say) -> None:
        self._say, self._told = say, False
        self._shape: torch.Size | None = None
        self._weights: tuple[tuple[int, int], ...] = ()
        self._folder = keep_code()

    def compiled(self, network: Denoiser, bound: BoundNetwork, steps: int) -> BoundNetwork:
        """`bound`, compiled at its first call; UserError where there is no compiler.

        steps: its calls in a batch, for the message about the time that it saves.
        """
        self._renew(network)
        fast: Any = torch.compile(bound, options=options(network))

        def run(z: Latent, when: PerPicture) -> Latent:
            self._shape = self._shape or z.shape
            if z.shape != self._shape or torch.is_grad_enabled():
                return bound(z, when)
            return self._first(bound, fast, z, when, steps) if not self._told else fast(z, when)

        return run

    def _renew(self, network: Denoiser) -> None:
        weights = tuple((id(p), p._version) for p in _module(network).parameters())
        if self._weights not in ((), weights):
            torch._dynamo.reset()
        self._weights = weights

    def _first(
        self, bound: BoundNetwork, fast: BoundNetwork, z: Latent, when: PerPicture, steps: int
    ) -> Latent:
        """The first call of all, which compiles; reports what that takes and saves."""
        self._told = True
        check_compiler(z.device, "sample.compile")
        plain = min(_seconds(bound, z, when) for _ in range(2))
        making = self._made(fast, z, when)
        now = min(_seconds(fast, z, when) for _ in range(2))
        saved = steps * (plain - now)
        gain = f"saves {saved:.2g} s a batch" if saved > 0 else "saves nothing here: leave sample.compile out"
        self._say(
            f"compile: took {making:.0f} s; a pass takes {1000 * now:.0f} ms in place of "
            f"{1000 * plain:.0f} ms, which {gain} of {len(z)} at {steps} steps; kept in {self._folder}"
        )
        return fast(z, when)

    def _made(self, fast: BoundNetwork, z: Latent, when: PerPicture) -> float:
        """Seconds of the call that compiles. A run that was killed may have left half a file in the cache
        folder: after a failure the code is compiled once more from an empty folder."""
        try:
            return _seconds(fast, z, when)
        except Exception:  # the compiler's errors share no class
            torch._dynamo.reset()
            shutil.rmtree(self._folder, ignore_errors=True)
        try:
            return _seconds(fast, z, when)
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"sample.compile: the denoiser cannot be compiled: {lines[0][:200]}") from error


def options(network: object) -> dict[str, Any]:
    """What the compiler is told: weights are constants, and on processors the kernels are called from C++,
    which saves a few hundredths of a pass."""
    here = {p.device.type for p in _module(network).parameters()}
    return {"freezing": True, "cpp_wrapper": here == {"cpu"}}


def _module(network: object) -> nn.Module:
    assert isinstance(network, nn.Module)
    return network


def keep_code() -> Path:
    """Has compiled code kept in the folder that TORCHINDUCTOR_CACHE_DIR names, else in the cache; returns it.

    torch itself sets the variable, to a temporary folder, as soon as its compiler is imported.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # the compiler: only where used

    named = os.environ.get(VARIABLE)
    folder = Path(named) if named and named != default_cache_dir() else cache_folder() / "compiled"
    os.environ[VARIABLE] = str(folder)
    return folder


def check_compiler(device: torch.device, setting: str) -> None:
    """UserError where code for the CPU is to be compiled and no C++ compiler is there.

    setting: what asks for compiled code, as "train.diffusion.compile".
    """
    named = os.environ.get("CXX")
    if device.type == "cpu" and not any(shutil.which(c) for c in ([named] if named else COMPILERS)):
        raise UserError(
            f"{setting} needs a C++ compiler, as g++ (CXX names another): install one, or leave it out"
        )


def _seconds(network: BoundNetwork, z: Latent, when: PerPicture) -> float:
    start = time.perf_counter()
    network(z, when)
    return time.perf_counter() - start
