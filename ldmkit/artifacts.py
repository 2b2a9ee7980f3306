"""Files of weights: found in packages and folders, verified, opened so that nothing in them runs."""

from __future__ import annotations

import importlib.util
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldmkit.checkpoint.files import read_tensors as read_safetensors
from ldmkit.checkpoint.files import write_tensors
from ldmkit.checkpoint.sums import sha256_once
from ldmkit.errors import UserError

__all__ = [
    "Tensors",
    "check_inside",
    "check_numbers",
    "check_sha256",
    "find_weights",
    "hub_folder",
    "installed_files",
    "packaged_file",
    "read_folder",
    "read_safetensors",
    "read_tensors",
    "write_tensors",
]

Tensors = dict[str, Tensor]


class LeftAside:
    """Stands for numbers and classes that training code leaves beside the tensors; it does nothing."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


LEFT_ASIDE: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (LeftAside, name)
    for name in (
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
        "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.ndarray",
        "_codecs.encode",
    )
]
"""What is read past: callbacks' names, and numpy's numbers of learning-rate schedules, with their parts."""
SHARD = re.compile(r"-\d+-of-\d+\.safetensors$")
UNSUPPORTED = re.compile(r"(?:GLOBAL|class|type) ([\w.]+\.\w+)")

HUB_ANSWERS = 5
"""Seconds in which the hub answers, or is taken to be out of reach."""
HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
"""What a published model consists of: configurations, a tokenizer, weights; nothing pickled."""


def hub_folder(hub: str, revision: str, patterns: Sequence[str] = HUB_FILES) -> Path:
    """The folder of a model on the Hugging Face hub at a commit, with its files of these `patterns`.

    It comes from the local cache where its weights are there, else it is downloaded. Raises ValueError where
    it cannot be.
    """
    try:
        return _hub_folder(hub, revision, patterns)
    except Exception as error:  # what the hub's library raises depends on its version
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{hub} at {revision[:12]} is not on this machine and cannot be downloaded "
            f"({type(error).__name__}: {reason}); download it elsewhere and give its path instead of hub"
        ) from error


def _hub_folder(hub: str, revision: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    fetch = partial(snapshot_download, hub, revision=revision, allow_patterns=[*patterns])
    try:
        cached = Path(fetch(local_files_only=True))
        if any(cached.rglob("*.safetensors")):
            return cached
    except LocalEntryNotFoundError:
        pass
    # A download by itself tries for half a minute before it gives up: first one question of a few seconds.
    HfApi().model_info(hub, revision=revision, timeout=HUB_ANSWERS)
    return Path(fetch())


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


def check_sha256(path: Path, expected: str, remedy: str) -> None:
    """UserError with the remedy unless the file's digest is the expected one."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; {remedy}")
    digest = sha256_once(path)
    if digest != expected:
        digests = f"sha256 {digest[:12]}..., recorded {expected[:12]}..."
        raise UserError(f"{path} is not the recorded file ({digests}): it is damaged; {remedy}")


REAL = (
    torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2,
)  # fmt: skip
"""Types that hold one real number an entry; others pack several, or are scales."""


def check_numbers(tensors: Mapping[str, Tensor], where: str) -> None:
    """UserError that names the first tensor that is not of floating point, or holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.dtype not in REAL:
            raise UserError(
                f"{where}: {name} is of type {str(tensor.dtype).removeprefix('torch.')}, not real"
            )
        finite = (tensor.float() if tensor.element_size() == 1 else tensor).isfinite()
        if not bool(finite.all()):
            wrong = int((~finite).sum())
            raise UserError(
                f"{where}: {name} holds {wrong} of {tensor.numel()} entries that are NaN or infinite"
            )


def read_tensors(path: Path) -> Tensors:
    """The tensors of a .safetensors file, or the state dict of a PyTorch file (`weights_only`: tensors and
    plain data alone).

    Raises UserError for anything else, and for a file that would run code; nothing of it has run then.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    try:
        with torch.serialization.safe_globals(LEFT_ASIDE), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickle protocols
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle fails in every way there is
        raise UserError(f"{path}: cannot be read as tensors and plain data alone ({_why(error)})") from None
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(_is_entry(*entry) for entry in state.items()):
        raise UserError(f"{path}: holds no state dict of tensors")
    return dict(state)


def find_weights(folder: Path, stem: str) -> list[Path]:
    """The safetensors files of a folder that hold one model: one file, an index's shards, or a variant's.

    stem: how the file is called, as "model" of model.safetensors. Without the plain file, fp16 comes before
    other variants. Empty where there is none. Raises UserError for an index that is damaged or names files
    elsewhere.
    """
    plain = folder / f"{stem}.safetensors"
    index = plain.with_name(f"{plain.name}.index.json")
    others = [p for pattern in ("*index*.json", "*.safetensors") for p in folder.glob(f"{stem}.{pattern}")]
    variants = sorted(others, key=lambda p: (".fp16" not in p.name, p.name))
    for path in (plain, index, *(p for p in variants if not SHARD.search(p.name))):
        if path.is_file():
            return _shards(path) if path.suffix == ".json" else [check_inside(folder, path)]
    return []


def read_folder(folder: Path, stem: str) -> Tensors:
    """All tensors of the model that a folder holds as safetensors, whatever its files; UserError where there
    are none or two files hold one name."""
    files = find_weights(folder, stem)
    if not files:
        pickled = next((p for suffix in ("bin", "pt", "ckpt") for p in folder.glob(f"*.{suffix}")), None)
        why = f"; pickled weights are not read here ({pickled.name}), convert them" if pickled else ""
        raise UserError(f"{folder}: no {stem}.safetensors{why}")
    tensors: Tensors = {}
    for path in files:
        part = read_safetensors(path)
        if repeated := tensors.keys() & part.keys():
            raise UserError(f"{path}: {min(repeated)} stands in another file too")
        tensors |= part
    return tensors


def check_inside(folder: Path, path: Path) -> Path:
    """The path, where it and what it links to are in the folder; UserError otherwise.

    Links of the hub's cache into its own store of the same model are allowed.
    """
    root, target = folder.resolve(), path.resolve()
    store = next((p.parent / "blobs" for p in (root, *root.parents) if p.name == "snapshots"), root)
    if not (target.is_relative_to(root) or target.is_relative_to(store)):
        raise UserError(f"{path} leads out of {folder}, to {target}: only what the folder holds is read")
    return path


def _shards(index: Path) -> list[Path]:
    """The files that an index names, each inside its folder."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        paths = [index.parent / name for name in sorted(names)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{index}: no index of weights ({type(error).__name__})") from None
    for path in paths:
        check_inside(index.parent, path)
        if path.parent != index.parent or path.suffix != ".safetensors":
            raise UserError(f"{index} names '{path.name}', which is no safetensors file beside it")
    return paths


def _is_entry(key: Any, value: Any) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def _why(error: Exception) -> str:
    """The reason in a few words: torch's own would advise to let the file run code."""
    match = UNSUPPORTED.search(str(error))
    if match:
        return f"it holds an object of {match[1]}, which is not unpickled"
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return type(error).__name__ if "weights_only" in text or "eights only" in text else text[:200]
