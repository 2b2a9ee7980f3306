"""A program that trains the toy whole, and again with signals at random moments; each try is a fork."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import torch
from torch import nn
from training_toy import Adversary, Autoencoder, Denoiser, train


def child(runs, *overrides, itself=None):
    """Trains in a fork of this process, which itself never runs torch's threads; the fork's id.

    itself: a (signal, n): the fork sends itself that signal in the n-th pass of its networks."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if itself is not None:
                _signal_at(*itself)
            train(runs, *overrides, say=lambda text: print(text, flush=True))
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            sys.stdout.flush()
            os._exit(code)
    return pid


def _signal_at(number, passes):
    left = [passes]

    def count(module, given, made):
        if isinstance(module, Autoencoder | Adversary | Denoiser):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), number)

    torch.nn.modules.module.register_module_forward_hook(count)


def code_of(pid):
    """The exit code of a fork, a signal's number as a negative one."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(runs, delay, *overrides):
    """Trains until a SIGKILL after so many seconds; the exit code."""
    pid = child(runs, *overrides)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    return code_of(pid)


def main(runs, signals, seed, *overrides):
    """An uninterrupted training in runs/whole, and one that gets signals at random moments in runs/broken."""
    import ldmkit.training  # noqa: F401 (imported once, before any fork; so is what optimizers import late)

    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    began = time.monotonic()
    codes = [code_of(child(f"{runs}/whole", *overrides))]
    seconds = time.monotonic() - began
    drawn, broken = random.Random(int(seed)), f"{runs}/broken"
    for number in (int(n) for n in signals.split(",")):
        if number == signal.SIGKILL:
            codes.append(killed(broken, drawn.uniform(0.02, 0.5) * seconds, *overrides))
        else:
            codes.append(code_of(child(broken, *overrides, itself=(number, drawn.randint(1, 3)))))
    print("codes", *codes, code_of(child(broken, *overrides)))


if __name__ == "__main__":
    main(*sys.argv[1:])
