"""`ldmkit export --format onnx` and `openvino`: the denoiser as a file, and a recipe that runs it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ldmkit import System
from ldmkit.artifacts import write_tensors
from ldmkit.disk import write_text
from ldmkit.errors import UserError
from ldmkit.host.registry import Registry
from ldmkit.interchange.model import ImportOptions, Published, stage_tensors
from ldmkit.recipe import Component, Train, dump
from ldmkit.types import Condition
from ldmkit_runtimes.exported import PARTS
from ldmkit_runtimes.programs import Runtime, library, program

OPSET = 20
TOLERANCE = 1e-4
"""How far the file's output may be from the network's, relative to the largest entry."""


class Onnx:
    """A folder of the denoiser as denoiser.onnx, the other parts' weights as safetensors, and a recipe.

    The recipe draws with that file in place of the denoiser. There is no way back: it cannot be imported.
    """

    format, file = "onnx", "denoiser.onnx"
    runtime: Runtime = "onnxruntime"

    def accepts(self, source: Path) -> bool:
        """Never: such a file is run, not taken apart."""
        return False

    def read(self, registry: Registry, source: Path, options: ImportOptions) -> Published:
        """UserError: there is no way back."""
        raise UserError(f"{source}: a graph is run as it is (denoiser exported), and cannot be imported")

    def write(self, system: System, out: Path) -> None:
        """Fills the folder; UserError where the file's output is not the network's."""
        _needed("onnx", self.runtime)
        seen = example_of(system)
        graph = Graph(system.get_submodule("denoiser"), seen.condition)
        _traced(graph, seen, out / "denoiser.onnx")
        self._finish(out)
        difference = self._difference(graph, seen, out / self.file)
        about = {"runtime": self.runtime, "difference": difference, "tolerance": TOLERANCE}
        write_text(out / "export.json", json.dumps({**about, **seen.shapes()}, indent=2) + "\n")
        write_tensors(out / "compression.safetensors", stage_tensors(system, "compression"))
        rest = {k: x for k, x in stage_tensors(system, "diffusion").items() if not k.startswith("denoiser.")}
        write_tensors(out / "diffusion.safetensors", rest)
        write_text(out / "recipe.yaml", _recipe(system, self.file, self.runtime))

    def _finish(self, out: Path) -> None:
        """What is left to do with the ONNX file."""

    def _difference(self, graph: Graph, seen: Seen, path: Path) -> float:
        """The greatest difference relative to the largest entry; UserError above `TOLERANCE`."""
        _, run = program(self.runtime, path)
        with torch.no_grad():
            own = graph(*seen.arguments())
        named = zip(seen.names(), seen.arguments(), strict=True)
        other = torch.from_numpy(run({n: x.contiguous().numpy() for n, x in named}).copy())
        difference = float((other - own).abs().max() / own.abs().max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"format {self.format}: the file's output differs by {difference:.1e} of the largest entry, "
                f"more than {TOLERANCE:.0e}"
            )
        return difference


class OpenVino(Onnx):
    """A folder as the format `onnx` writes it, with denoiser.xml and denoiser.bin in place of denoiser.onnx.

    The weights in it are float32.
    """

    format, file = "openvino", "denoiser.xml"
    runtime: Runtime = "openvino"

    def _finish(self, out: Path) -> None:
        """Converts the ONNX file and takes it away."""
        ov: Any = _needed("openvino", "openvino")
        ov.save_model(
            ov.convert_model(str(out / "denoiser.onnx")), str(out / self.file), compress_to_fp16=False
        )
        for path in out.glob("denoiser.onnx*"):
            path.unlink()


class Seen:
    """An example input of the network: z_t, time and the merged condition, in float32 on the CPU."""

    def __init__(self, z: Tensor, time: Tensor, condition: Condition) -> None:
        self.z, self.time = z.float().cpu(), time.float().cpu()
        self.condition = condition.map(lambda x: x.float().cpu() if x.is_floating_point() else x.cpu())

    def names(self) -> list[str]:
        """Of the graph's inputs."""
        return ["z", "time", *(p for p in PARTS if getattr(self.condition, p) is not None)]

    def arguments(self) -> tuple[Tensor, ...]:
        """In the same order."""
        return (self.z, self.time, *(getattr(self.condition, name) for name in self.names()[2:]))

    def shapes(self) -> dict[str, Any]:
        """The inputs' shapes; the first of each, the number of pictures, is free."""
        named = zip(self.names(), self.arguments(), strict=True)
        return {"inputs": {name: ["b", *x.shape[1:]] for name, x in named}}


def example_of(system: System) -> Seen:
    """The first input of the network when the recipe's own pictures are sampled, with guidance."""
    network: Any = system.network
    bind, seen = network.bind, []

    def recording(condition: Condition) -> Callable[..., Tensor]:
        bound = bind(condition)

        def run(z: Tensor, time: Tensor) -> Tensor:
            seen.append(Seen(z, time, condition))
            return bound(z, time)

        return run

    network.bind = recording
    try:
        system.sample(steps=1)
    finally:
        del network.bind
    return _several(seen[0])


def _several(seen: Seen) -> Seen:
    """At least two pictures: what is traced with one may hold for one alone."""
    if len(seen.z) > 1:
        return seen

    def twice(x: Tensor) -> Tensor:
        return torch.cat([x, x])

    return Seen(twice(seen.z), twice(seen.time), seen.condition.map(twice))


class Graph(nn.Module):
    """The network with the parts of a condition as plain arguments."""

    def __init__(self, network: nn.Module, condition: Condition) -> None:
        super().__init__()
        self.network = network.float().cpu().eval()
        self.parts = [part for part in PARTS if getattr(condition, part) is not None]

    def forward(self, z: Tensor, time: Tensor, *given: Tensor) -> Tensor:
        """The raw output."""
        return self.network(z, time, Condition(**dict(zip(self.parts, given, strict=True))))


def _traced(graph: Graph, seen: Seen, path: Path) -> None:
    """The graph as an ONNX file."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = ({0: batch}, {0: batch}, tuple({0: batch} for _ in graph.parts))
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                graph,
                seen.arguments(),
                str(path),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=seen.names(),
                output_names=["raw"],
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # its errors share no class
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"the denoiser cannot be traced: {lines[0][:200]}") from error


def _recipe(system: System, file: str, runtime: Runtime) -> str:
    """The recipe that samples with the file."""
    height, width = system.size or (None, None)
    sample = system.recipe.sample.model_copy(update={"size": (height, width), "compile": False})
    changes: dict[str, Any] = {
        "denoiser": Component(name="exported", parameters={"file": file, "runtime": runtime}),
        "weights": ".",
        "data": None,
        "train": Train(),
        "adapters": {},
        "sample": sample,
    }
    return dump(system.recipe.model_copy(update=changes))


def _needed(name: str, extra: str) -> ModuleType:
    """The library; UserError says how to install it, which is for who exports to do."""
    try:
        return library(name, extra)
    except ValueError as error:
        raise UserError(str(error)) from error
