"""The listing of a folder of pictures: its files and the fields of each."""

from __future__ import annotations

from pathlib import Path

from ldmkit.pictures import SUFFIXES, shown
from ldmkit_data.captions import read_caption
from ldmkit_data.metadata import described
from ldmkit_data.rows import Listing, Row, note, note_of_classes, note_of_empty
from ldmkit_data.tree import METADATA, UNREAD, Files, files_below, stem


def list_folder(root: Path) -> Listing:
    """The pictures below `root` with what metadata.jsonl files, else text files beside the pictures, else the
    names of sub-folders say. ValueError where there is no such folder, no picture, or unusable metadata."""
    _check_folder(root)
    files = files_below(root)
    metadata = [METADATA] if (root / METADATA).exists() else files.metadata
    if metadata:
        return described(root, metadata, files)
    _check_pictures(root, files)
    if any(files.captions.beside(name) for name in files.pictures):
        return _captioned(root, files)
    below = sum("/" in name for name in files.pictures)
    if below > len(files.pictures) - below:
        return _classified(root, files)
    rows = [Row(name, {}, files.pictures[name]) for name in sorted(files.pictures)]
    return Listing(rows, notes=_notes_of_unread(files))


def _check_folder(root: Path) -> None:
    try:
        there = root.is_dir()
    except OSError as error:
        raise ValueError(f"no folder {root} ({error.strerror})") from None
    if not there:
        raise ValueError(f"no folder {root.absolute()} (a relative path starts at the recipe's folder)")


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
    captions = files.captions
    notes = (
        *_notes_of_strays(files),
        *note(captions.others, "caption files not read, for the picture has another of the same name"),
        *note(captions.shared(files.pictures), "caption files that several pictures of one name share"),
        *note_of_empty(rows),
    )
    return Listing(rows, ("caption",), notes=notes)


def _notes_of_strays(files: Files) -> list[str]:
    return note(files.captions.without(files.pictures), "caption files without a picture beside them")


def _notes_of_unread(files: Files) -> tuple[str, ...]:
    """Where pictures have no captions: lines on the files that may hold them."""
    pictures = {stem(name) for name in files.pictures}
    beside = [name for name in files.unread if stem(name) in pictures]
    tables = [n for n in files.unread if n.rpartition("/")[2].lower() in (METADATA, *UNREAD)]
    why = f"not read, for fields come from {METADATA}"
    return (
        *_notes_of_strays(files),
        *note(tables, f"files {why}"),
        *note(beside, f"files beside pictures {why}"),
    )


def _with_caption(root: Path, name: str, files: Files) -> Row:
    """The picture with the text beside it as "caption"."""
    text, problem = files.captions.beside(name), files.pictures[name]
    whose = f"{shown(root / name)}: its caption"
    if text is None:
        text = shown(Path(name).with_suffix(".txt").name)
        return Row(name, {}, problem, lacks=f"{whose} {text} is missing")
    if text in files.unusable:
        return Row(name, {}, problem, lacks=f"{whose}: {files.unusable[text]}")
    try:
        return Row(name, {"caption": read_caption(root / text)}, problem)
    except ValueError as error:
        return Row(name, {}, problem, lacks=f"{whose} {shown(Path(text).name)} {error}")


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
    notes = (*_notes_of_unread(files), *note_of_classes(_folders(root) - {*classes}))
    return Listing(rows, ("label", "class_name"), tuple(classes), notes)


def _folders(root: Path) -> set[str]:
    return {
        x.name for x in root.iterdir() if not x.name.startswith(".") and x.is_dir() and not x.is_symlink()
    }
