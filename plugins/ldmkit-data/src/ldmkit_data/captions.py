"""The caption files of a folder of pictures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from ldmkit.disk import text_of

CAPTIONS = (".txt", ".caption")


class Captions:
    """Caption files by the picture that each stands beside; of several, a .txt file comes before others.

    Names are compared as text: a Mac writes "é" as two characters where others write one.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """names: paths of caption files from the folder."""
        self._of: dict[str, str] = {}
        self.others: list[str] = []
        """Files beside whose picture there is another that is read."""
        for name in sorted(names, key=_rank):
            if self._of.setdefault(_key(name), name) != name:
                self.others.append(name)

    def beside(self, picture: str) -> str | None:
        """The caption file of a picture, by its path from the folder."""
        return self._of.get(_key(picture))

    def without(self, pictures: Iterable[str]) -> list[str]:
        """The caption files that stand beside none of these pictures."""
        keys = {_key(name) for name in pictures}
        return [name for key, name in self._of.items() if key not in keys]

    def shared(self, pictures: Iterable[str]) -> list[str]:
        """The caption files that stand beside several of these pictures, which differ in their suffix."""
        count = Counter(map(_key, pictures))
        return [name for key, name in self._of.items() if count[key] > 1]


def read_caption(path: Path) -> str:
    """The text of a caption file on one line; ValueError says why it cannot be read."""
    try:
        return " ".join(text_of(path.read_bytes()).split())
    except OSError as error:
        raise ValueError(f"is unreadable ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"is unreadable ({error})") from None


def _key(name: str) -> str:
    return normalize("NFC", os.path.splitext(name)[0])


def _rank(name: str) -> tuple[int, str]:
    return CAPTIONS.index(os.path.splitext(name)[1].lower()), name
