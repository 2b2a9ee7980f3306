"""The listing of a folder of pictures: its files and the fields of each."""

from __future__ import annotations

from pathlib import Path

from ldmkit.pictures import SUFFIXES, shown
from ldmkit_data.metadata import described
from ldmkit_data.rows import Listing, Row, note
from ldmkit_data.tree import METADATA, Files, files_below, stem

UNREAD = ("metadata.csv", "metadata.parquet", "metadata.json")


def list_folder(root: Path) -> Listing:
    """The pictures below `root` with what metadata.jsonl files, else text files beside the pictures, else the
    names of sub-folders say. ValueError where there is no such folder, no picture, or unusable metadata."""
    _check_folder(root)
    files = files_below(root)
    metadata = [METADATA] if (root / METADATA).exists() else files.metadata
    if metadata:
        return described(root, metadata, files)
    _check_pictures(root, files)
    if any(stem(name) in files.texts for name in files.pictures):
        return _captioned(root, files)
    below = sum("/" in name for name in files.pictures)
    if below > len(files.pictures) - below:
        return _classified(root, files)
    return Listing([Row(name, {}, files.pictures[name]) for name in sorted(files.pictures)])


def _check_folder(root: Path) -> None:
    try:
        there = root.is_dir()
    except OSError as error:
        raise ValueError(f"no folder {root} ({error.strerror})") from None
    if not there:
        raise ValueError(f"no folder {root} (relative paths start at {Path.cwd()})")


def _check_pictures(root: Path, files: Files) -> None:
    """ValueError where no file is a picture, or where fields stand in a file that is not read."""
    unread = [name for name in UNREAD if (root / name).is_file()]
    if unread:
        raise ValueError(f"{root / unread[0]} is not read; fields come from {METADATA}")
    if all(problem is not None for problem in files.pictures.values()):
        first = next((f"; {p}" for p in files.pictures.values()), "")
        raise ValueError(f"no {', '.join(SUFFIXES)} file in {root}{first}")


def _captioned(root: Path, files: Files) -> Listing:
    """The text beside each picture as "caption"."""
    rows = [_with_caption(root, name, files) for name in sorted(files.pictures)]
    stems = {stem(name) for name in files.pictures}
    orphans = [text for start, text in files.texts.items() if start not in stems]
    empty = [row.name for row in rows if row.values.get("caption") == ""]
    notes = (
        *note(orphans, "caption files without a picture beside them"),
        *note(empty, "pictures with an empty caption"),
    )
    return Listing(rows, ("caption",), notes=notes)


def _with_caption(root: Path, name: str, files: Files) -> Row:
    """The picture with the text beside it as "caption"."""
    text, problem = files.texts.get(stem(name)), files.pictures[name]
    whose = f"{shown(root / name)}: its caption"
    if text is None:
        text = shown(Path(name).with_suffix(".txt").name)
        return Row(name, {}, problem, lacks=f"{whose} {text} is missing")
    if text in files.unusable:
        return Row(name, {}, problem, lacks=f"{whose}: {files.unusable[text]}")
    try:
        caption = (root / text).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return Row(name, {}, problem, lacks=f"{whose} {shown(Path(text).name)} is unreadable")
    return Row(name, {"caption": " ".join(caption.split())}, problem)


def _classified(root: Path, files: Files) -> Listing:
    """The first folder of each path as "class_name", its rank in sorted order as "label"."""
    whole = [name for name, problem in files.pictures.items() if problem is None]
    classes = sorted({name.split("/")[0] for name in whole if "/" in name})
    values = {name: {"label": i, "class_name": name} for i, name in enumerate(classes)}

    def row(name: str) -> Row:
        folder, below, _ = name.partition("/")
        if files.pictures[name] is not None:
            return Row(name, {}, files.pictures[name])
        if not below:
            return Row(name, {}, lacks=f"{shown(root / name)}: lies in none of the class folders")
        return Row(name, values[folder])

    rows = [row(name) for name in sorted(files.pictures)]
    return Listing(rows, ("label", "class_name"), tuple(classes))
