"""Files of tensors: opened so that nothing in them runs, and checked."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast
from warnings import warn

import torch
from torch import Tensor

from ldmkit.artifacts.wrappers import without_wrappers
from ldmkit.checkpoint.files import read_safetensors
from ldmkit.checkpoint.sums import sha256_once
from ldmkit.disk import explained
from ldmkit.errors import Note, UserError

Tensors = dict[str, Tensor]


class LeftAside:
    """Stands for numbers and classes that training code leaves beside the tensors; it does nothing."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def _mapping(*_: Any) -> dict[Any, Any]:
    """Stands for what is filled like a dictionary."""
    return {}


LEFT_ASIDE: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_mapping, "collections.defaultdict"),
    *(
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
            "argparse.Namespace",
            "builtins.int",
            "builtins.float",
            "builtins.dict",
            "builtins.list",
            "datetime.date",
            "datetime.datetime",
            "datetime.timedelta",
            "omegaconf.base.ContainerMetadata",
            "omegaconf.base.Metadata",
            "omegaconf.dictconfig.DictConfig",
            "omegaconf.listconfig.ListConfig",
            "omegaconf.nodes.AnyNode",
            "pathlib.Path",
            "pathlib.PosixPath",
            "pathlib.PurePosixPath",
            "pathlib.WindowsPath",
            "pathlib._local.PosixPath",
            "pathlib._local.WindowsPath",
            "pytorch_lightning.utilities.parsing.AttributeDict",
            "lightning_fabric.utilities.data.AttributeDict",
            "lightning.fabric.utilities.data.AttributeDict",
            "typing.Any",
        )
    ),
]
"""What is read past: callbacks' names, numpy's numbers of learning-rate schedules with their parts, and the
options, dates and folders of the training."""
UNSUPPORTED = re.compile(r"(?:GLOBAL|class|type) ([\w.]+\.\w+)")
REAL = (
    torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2,
)  # fmt: skip
"""Types that hold one real number an entry; others pack several, or are scales."""


def read_tensors(path: Path) -> Tensors:
    """The tensors of a .safetensors file, or the state dict of a PyTorch file (`weights_only`: tensors and
    plain data alone).

    Raises UserError for anything else, and for a file that would run code; nothing of it has run then.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors" or _is_safetensors(path):
        return without_wrappers(read_safetensors(path), path)
    try:
        with torch.serialization.safe_globals(LEFT_ASIDE), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickle protocols
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle fails in every way there is
        raise UserError(f"{path}: cannot be read as tensors and plain data alone ({_why(error)})") from None
    tensors = _tensors_alone(_state_dict(content, path), path)
    return without_wrappers(tensors, path)


def _is_safetensors(path: Path) -> bool:
    """Whether a file of another name begins as safetensors do: the length of a JSON object, and that."""
    with explained(path, "read"), path.open("rb") as file:
        begin = file.read(9)
    return begin[8:] == b"{" and int.from_bytes(begin[:8], "little") < path.stat().st_size


def _tensors_alone(state: Mapping[str, Any], path: Path) -> Tensors:
    """The tensors of a state dict, without the numbers and texts among them, which a `Note` names.

    Raises UserError for tensors that hold no number for each entry.
    """
    others = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        named = ", ".join(others[:5]) + ("..." if len(others) > 5 else "")
        warn(Note(f"{path}: left aside {named[:300]}: no tensors"), stacklevel=3)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
            kind = "quantized" if tensor.is_quantized else "meta" if tensor.is_meta else "sparse"
            raise UserError(f"{path}: {name} is a {kind} tensor, whose numbers are not read: save it dense")
    return tensors


def _state_dict(content: Any, path: Path) -> Mapping[str, Any]:
    """The state dict of a file's content: under `state_dict`, the content itself, or the only one in it, or
    else one level deeper."""
    held = content if isinstance(content, Mapping) else {}
    state = held.get("state_dict", content)
    if _is_state_dict(state):
        return cast(Mapping[str, Any], state)
    parts = state if isinstance(state, Mapping) else {}
    deeper = {f"{key}.{name}": x for key, part in parts.items() for name, x in _entries(part)}
    inner = _state_dicts(parts) or _state_dicts(deeper)
    if len(inner) == 1:
        name, found = next(iter(inner.items()))
        warn(Note(f"{path}: the state dict under '{name}' is read"), stacklevel=3)
        return found
    several = f"; it holds several, {', '.join([*inner][:5])}: save one of them by itself" if inner else ""
    raise UserError(f"{path}: holds no state dict of tensors{several}")


def _entries(part: Any) -> Iterable[tuple[Any, Any]]:
    return part.items() if isinstance(part, Mapping) else ()


def _state_dicts(held: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(key): value for key, value in held.items() if value and _is_state_dict(value)}


def check_numbers(tensors: Mapping[str, Tensor], where: str) -> None:
    """UserError that names the first tensor that is not of floating point, or holds NaN, infinity or what
    float32 cannot hold."""
    for name, tensor in tensors.items():
        if tensor.dtype not in REAL:
            raise UserError(
                f"{where}: {name} is of type {str(tensor.dtype).removeprefix('torch.')}, not real"
            )
        finite = (tensor.float() if tensor.element_size() in (1, 8) else tensor).isfinite()
        if not bool(finite.all()):
            wrong = int((~finite).sum())
            raise UserError(
                f"{where}: {name} holds {wrong} of {tensor.numel()} entries that are NaN or infinite"
            )


def check_sha256(path: Path, expected: str, remedy: str) -> None:
    """UserError with the remedy unless the file's digest is the expected one."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; {remedy}")
    digest = sha256_once(path)
    if digest != expected:
        digests = f"sha256 {digest[:12]}..., recorded {expected[:12]}..."
        raise UserError(f"{path} is not the recorded file ({digests}): it is damaged; {remedy}")


def _is_state_dict(value: Any) -> bool:
    """Whether it holds tensors by name, and beside them at most plain values."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    plain = all(isinstance(x, Tensor | int | float | str | None) for x in value.values())
    return plain and (not value or any(isinstance(x, Tensor) for x in value.values()))


def _why(error: Exception) -> str:
    """The reason in a few words: torch's own would advise to let the file run code."""
    match = UNSUPPORTED.search(str(error))
    if match:
        return f"it holds an object of {match[1]}, which is not unpickled"
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return type(error).__name__ if "weights_only" in text or "eights only" in text else text[:200]
