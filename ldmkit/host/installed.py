"""Files of installed packages, which are found and not imported. Imports no torch."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def installed_files(name: str) -> list[Path]:
    """The files of an installed distribution, by its metadata; nothing of it is imported. Empty where it is
    not installed."""
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        return []
    paths = (Path(str(installed.locate_file(file))) for file in installed.files or ())
    return [path for path in paths if path.is_file()]


def packaged_file(package: str, inside: str) -> Path | None:
    """A file below a top-level package, which is located and not imported; None where it is not there.

    Finds files of packages that are installed from their sources too, which metadata do not list.
    """
    spec = importlib.util.find_spec(package)
    roots = list(spec.submodule_search_locations or ()) if spec else []
    return next((Path(r) / inside for r in roots if (Path(r) / inside).is_file()), None)
