"""The files below a folder that a verb reads, and the reasons for those that it leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ldmkit.errors import UserError
from ldmkit.pictures import OTHER_SUFFIXES


def listed(folder: Path, suffixes: tuple[str, ...], what: str) -> list[Path]:
    """Files below a folder, hidden ones left alone; UserError where there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = _below(folder, suffixes)
    if not paths:
        unread = others(folder) if what == "picture" else []
        why = f"; {len(unread)} of other formats are not read ({unread[0].name})" if unread else ""
        raise UserError(f"{folder} holds no {what} ({', '.join(suffixes)}){why}")
    return paths


def others(folder: Path) -> list[Path]:
    """Pictures below a folder in formats that are not read."""
    return _below(folder, OTHER_SUFFIXES)


def _below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    below = (path for path in _shown(folder) if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in below if _inside(folder, path))


def links(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """What links below a folder keep from being read, a line each."""
    found = [path for path in _shown(folder) if path.is_symlink()]
    folders = [f"{path}: a link to a folder, which is not followed" for path in found if path.is_dir()]
    files = [path for path in found if path.is_file() and path.suffix.lower() in suffixes]
    return folders + [f"{p}: a link that leads out of {folder}" for p in files if not _inside(folder, p)]


def _shown(folder: Path) -> Iterator[Path]:
    """The paths below a folder without hidden files and folders."""
    below = folder.rglob("*")
    return (p for p in below if not any(x.startswith(".") for x in p.relative_to(folder).parts))


def _inside(folder: Path, path: Path) -> bool:
    """Whether the file, with links resolved, lies in the folder."""
    return not path.is_symlink() or path.resolve().is_relative_to(folder.resolve())


def check_names(pictures: list[Path], source: Path) -> None:
    """UserError where two pictures differ in their suffix alone: their latents would have one name."""
    count = Counter(path.with_suffix("") for path in pictures)
    twice = next((path for path in pictures if count[path.with_suffix("")] > 1), None)
    if twice is not None:
        name = twice.with_suffix("").relative_to(source)
        raise UserError(
            f"{source}: several pictures are called '{name}' and would be one latent; rename them"
        )


def place_for(path: Path, source: Path, out: Path, suffix: str) -> Path:
    """The path below `out` for the output of a file below `source`; its folder is made."""
    relative = path.relative_to(source)
    target = out / relative.with_name(relative.stem + suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target
