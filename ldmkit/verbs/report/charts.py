"""Line charts as SVG: one chart a figure, one line a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

POINTS = 400
"""Points that a line is thinned to: a bucket's mean stands for its points, the last point stays."""
WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 12, 30
LOG_RATIO = 15
"""A figure that spans more than this factor, and is positive, has a logarithmic axis."""
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A run's line: its legend, the "x,y x,y ..." of the drawing, and the value at its end."""

    name: str
    drawn: str
    last: float
    colour: int


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: its place in the drawing and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A figure over the steps, ready to be drawn; `logarithmic` tells how the upright axis counts."""

    title: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    logarithmic: bool


def chart(title: str, runs: Mapping[str, Points]) -> Chart | None:
    """The chart of one figure for several runs; None where no run has a finite value of it."""
    finite = {name: [p for p in points if math.isfinite(p[1])] for name, points in runs.items()}
    held = {name: points for name, points in finite.items() if points}
    if not held:
        return None
    xs, ys = ([p[i] for points in held.values() for p in points] for i in (0, 1))
    logarithmic = min(ys) > 0 and max(ys) / min(ys) > LOG_RATIO
    across, up = _Axis(0, max(xs), False), _Axis(min(ys), max(ys), logarithmic)

    def place(point: tuple[float, float]) -> str:
        return f"{_width(across.part(point[0])):.1f},{_height(up.part(point[1])):.1f}"

    lines = tuple(
        Line(name, " ".join(map(place, _thinned(held[name]))), held[name][-1][1], i)
        for i, name in enumerate(runs)
        if name in held
    )
    ticks = tuple(Tick(LEFT + across.part(x) * (WIDTH - LEFT - RIGHT), f"{x:g}") for x in across.ticks())
    return Chart(
        title, lines, ticks, tuple(Tick(_height(up.part(y)), f"{y:.3g}") for y in up.ticks()), logarithmic
    )


def _width(part: float) -> float:
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _height(part: float) -> float:
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


class _Axis:
    """A range of values mapped to [0, 1]."""

    def __init__(self, low: float, high: float, logarithmic: bool) -> None:
        self._logarithmic = logarithmic
        self._low, self._high = (self._scaled(v) for v in (low, high))
        if self._high - self._low < 1e-12:
            room = abs(self._low) / 2 or 0.5
            self._low, self._high = self._low - room, self._high + room

    def part(self, value: float) -> float:
        """Where a value stands, 0 at the low end."""
        return (self._scaled(value) - self._low) / (self._high - self._low)

    def ticks(self) -> list[float]:
        """Round values within the range, about five of them."""
        if self._logarithmic:
            exponents = range(math.ceil(self._low), math.floor(self._high) + 1)
            decades = [10.0**e for e in exponents]
            return decades if len(decades) > 1 else [10**self._low, 10**self._high]
        step = _round_step((self._high - self._low) / 5)
        first = math.ceil(self._low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self._high / step + 1e-9) + 1)]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self._logarithmic else value


def _round_step(step: float) -> float:
    """The nearest number of the form 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step))
    return min((m * power for m in (1, 2, 5, 10)), key=lambda round_step: abs(round_step - step))


def _thinned(points: Points) -> list[tuple[float, float]]:
    size = math.ceil(len(points) / POINTS)
    if size == 1:
        return list(points)
    buckets = [points[i : i + size] for i in range(0, len(points), size)]
    means = [(sum(x for x, _ in b) / len(b), sum(y for _, y in b) / len(b)) for b in buckets]
    return [*means[:-1], points[-1]]
