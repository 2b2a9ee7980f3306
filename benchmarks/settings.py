"""A guided pass of the UNet beside diffusers' at equal settings: eager or compiled, float32 or bfloat16.

    python benchmarks/settings.py [--rounds 6] [--only "eager float32"] [--batch 8]

Ours runs as `sample.precision` and `sample.compile` let it run; theirs with weights in that type, and
compiled with the same options. Both have the same weights and inputs, the size of text2img-64's
network and guidance in one batch. "Against eager float32" is the gain over diffusers at its defaults. The
error is the distance from ours in eager float32, relative to its norm.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
from paired import Job, measure, ratios
from torch import Tensor
from twins import condition, twin, unet_of

from ldmkit.engine.compiling import options
from ldmkit.engine.running import Running
from ldmkit.types import LatentSpec

UNET: dict[str, Any] = {"width": 96, "multipliers": (1, 1, 2), "blocks": 1, "attention": (1, 2)}
SETTINGS = ("eager float32", "compiled float32", "eager bfloat16", "compiled bfloat16")
STEPS = 25


def jobs(setting: str, batch: int) -> dict[str, Job]:
    """The same pass by both."""
    compiled, low = "compiled" in setting, "bfloat16" in setting
    ours = unet_of(LatentSpec(16, 8), UNET).eval()
    theirs = twin(ours, UNET).eval()
    torch.manual_seed(1)
    z, said, time = torch.randn(2 * batch, 16, 8, 8), condition(2 * batch), torch.full((2 * batch,), 500.0)
    kind = torch.bfloat16 if low else torch.float32
    theirs = theirs.to(kind)
    if compiled:
        theirs = torch.compile(theirs, options=options(theirs))
    with torch.inference_mode():
        bound = Running("bf16" if low else "no", compiled).bind(ours, said, STEPS)
    assert said.tokens is not None
    tokens = said.tokens.to(kind)

    def their_pass() -> Tensor:
        raw: Tensor = theirs(z.to(kind), time, tokens, return_dict=False)[0]
        return raw.float()

    return {"ours": lambda: bound(z, time), "theirs": their_pass}


def main() -> None:
    """Prints a line a setting."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--only", action="append", choices=SETTINGS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    plain = jobs("eager float32", given.batch)
    with torch.inference_mode():
        exact = torch.as_tensor(plain["ours"]())
    print("| both | ratio | against eager float32 | error, ours | theirs |\n|-|-|-|-|-|")
    for setting in given.only or SETTINGS:
        made = jobs(setting, given.batch)
        with torch.inference_mode():
            off = [float((torch.as_tensor(job()) - exact).norm() / exact.norm()) for job in made.values()]
            seconds = measure({**made, "plain": plain["theirs"]}, given.rounds, False)
        found = ratios({"ours": seconds["ours"], "theirs": seconds["theirs"]})
        gain = ratios({"ours": seconds["ours"], "plain": seconds["plain"]})
        cells = [f"{statistics.median(r):.2f}x ({min(r):.2f} to {max(r):.2f})" for r in (found, gain)]
        print(f"| {' | '.join([setting, *cells, *(f'{x:.0e}' for x in off)])} |", flush=True)


if __name__ == "__main__":
    main()
