"""A log-log line chart as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 640, 400, 60
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")


def write(path: Path, lines: Mapping[str, Sequence[tuple[float, float]]], across: str, up: str) -> None:
    """One line a name, through its (x, y) points; axes are labelled `across` and `up`."""
    points = [p for line in lines.values() for p in line]
    xs, ys = sorted({x for x, _ in points}), [y for _, y in points]
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

    def place(x: float, y: float) -> tuple[float, float]:
        right = math.log(x / xs[0]) / math.log(xs[-1] / xs[0])
        above = (math.log10(y) - low) / (high - low)
        return MARGIN + right * (WIDTH - 3 * MARGIN), HEIGHT - MARGIN - above * (HEIGHT - 2 * MARGIN)

    marks = [_text(place(x, 10**low), f"{x:g}", dy=18) for x in xs]
    marks += [_text(place(xs[0], 10.0**k), f"{10.0**k:g}", dx=-28) for k in range(low, high + 1)]
    marks += [_text((WIDTH / 2 - MARGIN, HEIGHT - 15), across), _text((10, MARGIN / 2), up, anchor="start")]
    for line, colour in zip(lines.values(), COLOURS * len(lines), strict=False):
        through = " ".join("{:.1f},{:.1f}".format(*place(*p)) for p in line)
        marks.append(f'<polyline points="{through}" fill="none" stroke="{colour}" stroke-width="2"/>')
    marks += _legend(lines)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    path.write_text(
        "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *marks, "</svg>"]) + "\n"
    )


def _legend(names: Mapping[str, Sequence[tuple[float, float]]]) -> list[str]:
    marks = []
    for i, (name, colour) in enumerate(zip(names, COLOURS * len(names), strict=False)):
        y = MARGIN + 20 * i
        marks.append(f'<rect x="{WIDTH - 110}" y="{y - 9}" width="12" height="4" fill="{colour}"/>')
        marks.append(_text((WIDTH - 92, y), name, anchor="start"))
    return marks


def _text(at: tuple[float, float], words: str, dx: float = 0, dy: float = 0, anchor: str = "middle") -> str:
    x, y = at[0] + dx, at[1] + dy
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}">{words}</text>'
