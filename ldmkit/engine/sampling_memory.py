"""An estimate of the memory that sampling takes, before any of it is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ldmkit.disk import size as bytes_of
from ldmkit.engine import conditions as joining
from ldmkit.engine.limits import free_memory, whole_memory
from ldmkit.engine.parts import Parts
from ldmkit.engine.rehearsal import COUNT, announced, blank
from ldmkit.engine.sizes import misfit
from ldmkit.errors import UserError
from ldmkit.interfaces import CompressionModel

PIXEL = 8192
"""Bytes a pixel that no model exceeds: where even so many are free, nothing is estimated."""
BARE = 12
"""Bytes a pixel of the picture itself."""
_TAKEN: MutableMapping[Any, set[tuple[int, int]]] = WeakKeyDictionary()
"""The sizes that each denoiser has taken."""


def check_room(system: Parts, size: tuple[int, int], count: int) -> None:
    """UserError where one pass of `count` pictures of that (height, width) takes more memory than is free.

    The estimate is a lower bound: the pass of the denoiser or of the decoder, whichever takes more, without
    guidance and the sampler. Models that cannot run on the meta device count as nothing.
    """
    free = free_memory() if system.device.type == "cpu" else whole_memory()
    pixels = size[0] * size[1] * count
    if pixels * PIXEL <= free:
        return
    needed = pixels * BARE
    if needed <= free:
        needed = max(needed, peak_of(system, size) * count)
    if needed > free:
        raise UserError(
            f"{count} picture{'s' * (count > 1)} of {size[0]}x{size[1]} at once: at least "
            f"{bytes_of(needed)} of memory, and {bytes_of(free)} are free: take a smaller size or batch"
        )


def peak_of(system: Parts, size: tuple[int, int]) -> int:
    """Bytes that are held at once for a picture in the denoiser or the decoder, whichever holds more; 0 where
    that cannot be told on the meta device."""
    _, latent = blank(system, size)
    passes = [_call(_Decoder(system.painter), latent)]
    if system.denoiser is not None:
        passes.append(_denoising(system, latent))
    return max(_peak(each) for each in passes) // COUNT


def check_fits(system: Parts, size: tuple[int, int]) -> None:
    """UserError where the denoiser says on the meta device that it takes no pictures of that size. Sizes that
    it has taken are not tried again: `run` checks its inputs before and after a training."""
    if system.denoiser is None or size in (taken := _TAKEN.setdefault(system.denoiser, set())):
        return
    _, latent = blank(system, size)
    try:
        with torch.no_grad():
            _denoising(system, latent)()
    except ValueError as error:
        raise misfit(system, latent, error) from error
    except Exception:  # what needs numbers cannot run on the meta device
        return
    taken.add(size)


def _denoising(system: Parts, latent: Tensor) -> Callable[[], Any]:
    likes = {name: announced(c, latent) for name, c in system.named_conditioners()}
    time = torch.zeros(COUNT, device=latent.device)
    return _call(system.get_submodule("denoiser"), latent, time, joining.merge(likes))


class _Decoder(nn.Module):
    """A compression model's decoder as a call."""

    def __init__(self, compression: CompressionModel) -> None:
        super().__init__()
        self.compression = compression

    def forward(self, latent: Tensor) -> Tensor:
        return self.compression.decode(latent)


def _call(module: nn.Module, *inputs: Any) -> Callable[[], Any]:
    """A call with the module's tensors on the meta device, where they take no memory."""
    weights = {name: x.detach().to("meta") for name, x in _tensors(module)}
    # Not tied: of a module that has two names torch would put back the tensor of the second, which is "meta".
    return lambda: functional_call(module, weights, inputs, tie_weights=False)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Each place of a parameter or buffer once: of a module that has two names by the first."""
    for prefix, part in module.named_modules():
        for name, x in (*part._parameters.items(), *part._buffers.items()):
            if x is not None:
                yield f"{prefix}.{name}".removeprefix("."), x


def _peak(call: Callable[[], Any]) -> int:
    try:
        with torch.no_grad(), _Fused(), _Held() as held:
            call()
    except Exception:  # what needs numbers cannot run on the meta device
        return 0
    return held.most


class _Fused(TorchFunctionMode):
    """Attention without its matrix of weights: the processor's own function holds none either."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is nn.functional.scaled_dot_product_attention:
            query, _, value = (*args, *(kwargs or {}).values())[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))


class _Held(TorchDispatchMode):
    """Counts the bytes of live tensors; `most` is the largest count so far."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types here
        self.most = 0
        self._there: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._there[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._there = {key: one for key, one in self._there.items() if not one[0].expired()}
        self.most = max(self.most, sum(count for _, count in self._there.values()))
        return result
