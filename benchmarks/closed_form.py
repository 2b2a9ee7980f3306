"""Every registered sampler, objective and schedule on data whose estimate is known: error by cost.

    python benchmarks/closed_form.py [--samples 20000] [--write docs/samplers.md]

The data are the mixture of `ldmkit.testing.mixture`; the network is exact, so what is left is the sampler's
error. Distance: Wasserstein distance of the samples' ranks from uniform. Order: log2 of by how much less a
deterministic sampler moves ranks with 32 levels than with 16.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from chart import write

from ldmkit.engine.components import build
from ldmkit.host.plugins import host
from ldmkit.interfaces import EstimateFunction, NoiseSchedule, Objective, Sampler
from ldmkit.recipe import Component
from ldmkit.testing.mixture import Mixture, moved, unevenness
from ldmkit.types import Estimate, Latent, Level, Levels

DATA = Mixture()
EVALUATIONS = (5, 10, 20, 40, 80)
SPACINGS = ("leading", "trailing", "karras")
MARKS = ("<!-- closed_form: begin -->\n", "<!-- closed_form: end -->\n")


IN_KOREAN = (
    (r"Distance of (\d+) samples by number of evaluations \(schedule (\S+); true samples have ([\d.]+)\):",
     r"샘플 \1개의 거리, 신경망 계산 횟수별(스케줄 \2, 참 분포의 샘플은 \3):"),
    (r"Every objective on every schedule that it accepts \((\d+) samples; true ones have ([\d.]+)\):",
     r"모든 목적 함수를, 쓸 수 있는 모든 스케줄에서(샘플 \1개, 참 분포의 샘플은 \2):"),
    (r"(\d+) evaluations", r"계산 \1번"),
    (r"order over (\d+) combinations", r"조합 \1가지에서의 차수"),
    (r"distance at (\d+) steps", r"\1단계의 거리"),
    (r"([\d.]+) to ([\d.]+)", r"\1에서 \2"),
    (r"\| sampler \|", "| 샘플러 |"), (r"\| spacing \|", "| 간격 |"), (r"\| stochastic \|", "| 확률적 |"),
)  # fmt: skip
"""What the report says, and the same in the Korean document."""


def make(kind: str, name: str, **parameters: Any) -> Any:
    """A registered component; what build supplies goes by the same keywords."""
    supplied = {k: parameters.pop(k) for k in ("schedule",) if k in parameters}
    component = Component.model_validate({"name": name, **parameters})
    return build(host().registry, kind, component, **supplied)


def start(levels: Levels, samples: int) -> Latent:
    """z at the first level, from its marginal."""
    generator = torch.Generator().manual_seed(0)
    clean = DATA.sample((samples, 1, 1, 1), generator)
    return levels[0].add_noise(clean, torch.randn(clean.shape, generator=generator, dtype=torch.float64))


class Counted:
    """An estimate that counts its evaluations, and noise that says whether it was drawn."""

    def __init__(self, estimate: EstimateFunction, z: Latent) -> None:
        self.inner, self.z = estimate, z
        self.evaluations, self.drawn = 0, False
        self.generator = torch.Generator().manual_seed(1)

    def estimate(self, z: Latent, level: Level) -> Estimate:
        """The inner estimate."""
        self.evaluations += 1
        return self.inner(z, level)

    def noise(self, _: int) -> Latent:
        """Fresh noise."""
        self.drawn = True
        return torch.randn(self.z.shape, generator=self.generator, dtype=torch.float64)


def run(
    sampler: Sampler, estimate: EstimateFunction, levels: Levels, samples: int
) -> tuple[Any, Any, Counted]:
    """Ranks before and after, and what was asked."""
    z = start(levels, samples)
    counted = Counted(estimate, z)
    made = sampler(counted.estimate, z, levels, counted.noise)
    return DATA.rank(z, levels[0]), DATA.rank(made, levels[-1]), counted


def at_cost(sampler: Sampler, spacing: str, evaluations: int, samples: int) -> float:
    """The distance with the most steps that so many evaluations pay for."""
    schedule = make("schedule", "scaled-linear")
    choose = make("spacing", spacing)
    for steps in range(evaluations, 0, -1):
        cost = run(sampler, DATA.estimate, choose(schedule, steps), 1)[2].evaluations
        if cost <= evaluations:
            return unevenness(run(sampler, DATA.estimate, choose(schedule, steps), samples)[1])
    return math.nan


def combinations() -> Iterator[tuple[Objective, NoiseSchedule]]:
    """Every objective on every schedule that it accepts, zero terminal SNR too."""
    registry = host().registry
    schedules = [make("schedule", name) for name in registry.names("schedule")]
    for schedule in [*schedules, make("schedule", "scaled-linear", zero_snr=True)]:
        for name in registry.names("objective"):
            objective = make("objective", name, schedule=schedule)
            try:
                objective.check(schedule)
            except ValueError:
                continue
            yield objective, schedule


def order(sampler: Sampler, estimate: EstimateFunction, schedule: NoiseSchedule, even: bool) -> float:
    """log2 of the errors' ratio, inside the schedule."""
    errors = []
    for n in (16, 32):
        spacing = make("spacing", "karras", sigma_min=0.1, sigma_max=3 if even else 20, rho=1 if even else 7)
        before, after, _ = run(sampler, estimate, spacing(schedule, n)[:-1], 400)
        errors.append(moved(before, after))
    return math.log2(errors[0] / errors[1])


def costs(samples: int, chart: Path | None) -> Iterator[str]:
    """The first table: distance by cost and spacing; the chart shows karras."""
    lines = {}
    yield f"| sampler | spacing | {' | '.join(f'{n} evaluations' for n in EVALUATIONS)} |"
    yield "|-|-|" + "-|" * len(EVALUATIONS)
    for name in host().registry.names("sampler"):
        for spacing in SPACINGS:
            figures = [at_cost(make("sampler", name), spacing, n, samples) for n in EVALUATIONS]
            yield f"| {name} | {spacing} | {' | '.join(f'{f:.4f}' for f in figures)} |"
        lines[name] = list(zip(EVALUATIONS, figures, strict=True))
    if chart:
        write(chart, lines, "network evaluations", "distance from the data, karras spacing")


def every_combination() -> Iterator[str]:
    """The second table: order and distance over all objectives and schedules."""
    pairs = list(combinations())
    yield f"| sampler | order over {len(pairs)} combinations | distance at 40 steps |"
    yield "|-|-|-|"
    for name in host().registry.names("sampler"):
        sampler, orders, distances, drawn = make("sampler", name), [], [], False
        for objective, schedule in pairs:
            estimate = DATA.network(objective)
            levels = make("spacing", "karras")(schedule, 40)
            _, after, counted = run(sampler, estimate, levels, 2000)
            distances.append(unevenness(after))
            drawn = drawn or counted.drawn
            if not drawn:
                orders.append(order(sampler, estimate, schedule, even=name == "plms"))
        said = "stochastic" if drawn else f"{min(orders):.2f} to {max(orders):.2f}"
        yield f"| {name} | {said} | {min(distances):.4f} to {max(distances):.4f} |"


def true_samples(samples: int) -> float:
    """The distance of the data themselves, the least that can be had."""
    clean = DATA.sample((samples, 1, 1, 1), torch.Generator().manual_seed(5))
    level = make("spacing", "trailing")(make("schedule", "scaled-linear"), 1)[-1]
    return unevenness(DATA.rank(clean, level))


def report(samples: int, chart: Path | None) -> str:
    """Both tables as Markdown."""
    lines = [
        f"Distance of {samples} samples by number of evaluations (schedule scaled-linear; true samples have "
        f"{true_samples(samples):.4f}):",
        "",
        *costs(samples, chart),
        "",
        f"Every objective on every schedule that it accepts (2000 samples; true ones have "
        f"{true_samples(2000):.4f}):",
        "",
        *every_combination(),
    ]
    return "\n".join(lines) + "\n"


def korean(text: str) -> str:
    """The report in Korean."""
    for said, translated in IN_KOREAN:
        text = re.sub(said, translated, text)
    return text


def put(path: Path, text: str) -> None:
    """Replaces what is between the marks of a document."""
    whole = path.read_text()
    before, rest = whole.split(MARKS[0])
    path.write_text(before + MARKS[0] + text + MARKS[1] + rest.split(MARKS[1])[1])


def main() -> None:
    """Prints the report or writes it into a document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=20000)
    parser.add_argument(
        "--write", type=Path, help="a document with the marks of this benchmark; NAME.ko.md beside it too"
    )
    options = parser.parse_args()
    text = report(options.samples, options.write and options.write.with_suffix(".svg"))
    if options.write:
        put(options.write, text)
        put(options.write.with_suffix(".ko.md"), korean(text))
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
