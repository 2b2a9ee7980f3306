"""Which emoji are held out; it depends on their code points alone, so that no setting moves one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ldmkit.splits import fraction

Split = Literal["train", "concepts", "pairs"]
SPLITS = ("train", "concepts", "pairs")
HELD_OUT_CONCEPTS = 0.05
HELD_OUT_PAIRS = 0.07
"""Among the concepts that are not held out and are there in both styles."""


def split_of(concept: str, style: str, styles: Sequence[str]) -> Split:
    """The split of one picture.

    concept: hex code points. styles: all styles in which the whole set has the concept.
    """
    if fraction(f"concept {concept}") < HELD_OUT_CONCEPTS:
        return "concepts"
    if len(styles) < 2 or fraction(f"pair {concept}") >= HELD_OUT_PAIRS:
        return "train"
    held_out = sorted(styles)[int(fraction(f"style {concept}") * len(styles))]
    return "pairs" if style == held_out else "train"
