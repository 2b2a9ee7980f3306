"""Atomic writes (temporary file, fsync, rename) and OSErrors in plain words. Imports no torch."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from ldmkit.errors import UserError

ASIDE = ".tmp-"
"""How the names of files begin that are being written."""
REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota on the disk is used up",
    errno.EFBIG: "the file is larger than the system allows",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "the system does not permit it",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.EISDIR: "a folder stands where a file should be",
    errno.ENOENT: "no such file or folder",
    errno.EEXIST: "it exists already",
    errno.ENOTEMPTY: "the folder is not empty",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.EIO: "the disk reports an error",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open on this machine",
    errno.EBUSY: "it is in use",
    errno.ETXTBSY: "it is in use",
    errno.ESTALE: "the network disk has lost it",
    errno.ENOLCK: "this disk has no locks",
    errno.ENXIO: "no such device",
}
"""Errors of places and disks, which the user can mend."""


class DiskError(UserError):
    """A file or folder that cannot be read or written, for a reason that is the user's to mend."""


def reason(error: OSError) -> str | None:
    """The system's reason for an error in plain words, as "disk full".

    It is None for an error that says nothing about a place or a disk, which no user can mend.
    """
    return REASONS.get(error.errno or 0)


@contextmanager
def explained(path: Path, doing: str) -> Iterator[None]:
    """A context in which an OSError that has a `reason` is raised as a DiskError instead.

    Its message reads, for example, "PATH: cannot be written: disk full". Other errors pass unchanged.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        message = reason(error)
        if message is None and error.errno is not None:
            raise
        raise DiskError(f"{path}: cannot be {doing}: {message or error}") from error


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A name to write to: afterwards it is synced and takes the place of `path`, or, after an error, is gone.

    The folder of `path` is made. Raises DiskError, with whatever was at `path` as it was.
    """
    aside = path.with_name(f"{ASIDE}{os.getpid()}-{path.name[-100:]}")
    with explained(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            sync(aside)
            os.replace(aside, path)
        except BaseException:
            remove(aside)
            raise
        sync(path.parent)


TRAINING_CACHE = "cache"
"""The folder below that of all runs, formerly below each run, with latents and text states of trainings."""


def check_file(path: Path) -> None:
    """OSError for a pipe, a socket or a device, which would be read for ever, and for what is not there."""
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError("it is no file: a pipe, a socket or a device")


def opened(path: Path) -> BufferedReader:
    """A file that a user names, for reading. OSError as in `check_file`, and as `open` raises it."""
    check_file(path)
    return path.open("rb")


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a UTF-8 file; errors: what becomes of bytes that are none, as in `bytes.decode`. Raises as
    `opened`, and ValueError."""
    with opened(path) as file:
        return file.read().decode("utf-8", errors)


def cache_folder() -> Path:
    """Where ldmkit keeps what it can make again: LDMKIT_CACHE, XDG_CACHE_HOME/ldmkit, or ~/.cache/ldmkit."""
    own = os.environ.get("LDMKIT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own).expanduser() if own else Path(base) / "ldmkit"


def changed_at(status: os.stat_result) -> int:
    """When a file last changed, in ns. A copy that keeps the time of its source (`cp -p`, `rsync -t`) sets
    that of the content, but not that of the file itself."""
    return max(status.st_mtime_ns, status.st_ctime_ns)


def sync(path: Path) -> None:
    """Forces a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def text_of(content: bytes) -> str:
    """The text in a file that people give; ValueError says why it is none, and the way out."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason} at byte {error.start}): save it as that") from None
    if "\0" in text:
        raise ValueError("it holds null characters, as UTF-16 does: save it as UTF-8")
    return text


def json_of(text: str) -> Any:
    """The value in JSON that people give; ValueError where it is none, or says two things of one key, and for
    texts that are none."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a character (a lone surrogate)") from None
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if "\\u0000" in text:
        raise ValueError("holds a null character, as text that was read as UTF-16 does")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"'{twice}' is there twice")
    return values


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that a reader sees the old text or the new, never a part."""
    with atomic(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes a value as a JSON file so that a reader sees the old value or the new one, never a part."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def check_writable(folder: Path, option: str) -> None:
    """Raises DiskError, which names the option, where no file can be written in `folder`; leaves no trace."""
    try:
        longest = os.pathconf("/", "PC_NAME_MAX") - len(ASIDE) - 12
        if any(len(os.fsencode(part)) > longest for part in folder.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        probe = _nearest(folder) / f"{ASIDE}{os.getpid()}-probe"
        with probe.open("wb"):
            probe.unlink()
    except OSError as error:
        raise DiskError(f"{option} {folder}: cannot be written: {reason(error) or error}") from error


def check_room(folder: Path, needed: int, what: str) -> None:
    """DiskError where the disk of `folder` has fewer free bytes than `needed`."""
    with explained(folder, "written"):
        free = shutil.disk_usage(_nearest(folder)).free
    if free < needed:
        raise DiskError(f"{folder}: {what} takes about {size(needed)} of disk; {size(free)} are free")


def _nearest(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(p for p in (folder, *folder.absolute().parents) if p.exists() or p.is_symlink())


def size(count: float) -> str:
    """A number of bytes in words with its unit, as "93.2 MB" (a MB is 10^6 bytes)."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"
