"""The fields of a data set of which some examples lack one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Lack(NamedTuple):
    """The fields that an example lacks though others have them, and why."""

    fields: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Fields:
    """The names of the fields that examples have, and what some lack of them, by their places."""

    names: tuple[str, ...]
    lacks: Mapping[int, Lack]

    def left_out(self, read: Collection[str]) -> dict[int, str]:
        """The examples that lack a field that is read, with the reasons."""
        return {p: lack.reason for p, lack in self.lacks.items() if not {*lack.fields}.isdisjoint(read)}

    def there(self, left_out: Collection[int]) -> tuple[str, ...]:
        """The fields that all other examples have."""
        gone = {name for p, lack in self.lacks.items() if p not in left_out for name in lack.fields}
        return tuple(name for name in self.names if name not in gone)

    def notes(self, there: Collection[str]) -> list[str]:
        """A line on the fields that are not there, since some examples lack them and nothing reads them."""
        gone = [name for name in self.names if name not in there]
        lacks = [lack for lack in self.lacks.values() if not {*lack.fields}.isdisjoint(gone)]
        if not gone:
            return []
        lacks.sort(key=lambda lack: lack.fields[0] not in gone)  # its reason is that of its first field
        return [f"no {', '.join(gone)}, which {len(lacks)} pictures lack: {lacks[0].reason}"]
