"""The examples of a data set that cannot be used, counted against how many are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ldmkit.errors import UserError

NAMED = 5
"""How many broken examples an error names."""
LONGEST = 300
"""Characters of a reason that an error quotes."""


@dataclass(frozen=True)
class Broken:
    """The examples that cannot be used, by their places in the set.

    where: what messages call the set. total: how many examples it has, the broken ones among them. share: of
    these, the share that may be broken. problems: why examples are broken; they become more as examples are
    read. left_out: why others are left out, which lack a field that is read.
    """

    where: str
    total: int
    share: float
    problems: dict[int, str]
    left_out: Mapping[int, str] = field(default_factory=dict)

    @property
    def reasons(self) -> Mapping[int, str]:
        """Why examples are left out, by place."""
        return {**self.problems, **self.left_out}

    def fits(self, more: int = 0) -> bool:
        """Are as many as are known, and so many more, allowed?"""
        return len(self.reasons) + more <= self.share * self.total

    def add(self, place: int, reason: str) -> None:
        """One that turned out broken; UserError where it is one too many."""
        self.problems[place] = reason
        self.check()

    def check(self) -> None:
        """UserError where more are broken than allowed."""
        if self.fits():
            return
        reasons = list(self.reasons.values())
        first = "; ".join(reason[:LONGEST] for reason in reasons[:NAMED])
        raise UserError(
            f"{len(reasons)} of {self.total} pictures in {self.where} cannot be used, more than max_broken "
            f"{self.share:g} allows: {first}{'; ...' if len(reasons) > NAMED else ''}"
        )

    def check_enough(self, usable: int) -> None:
        """UserError for fewer than two: one to train on, one to validate."""
        if usable < 2:
            raise UserError(f"{self.where} holds {usable} usable pictures; two are needed")
