"""The programs that run exported files, behind one call: arrays by name in, one array out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch

from ldmkit.errors import first_line

Runtime = Literal["onnxruntime", "openvino"]
Arrays = Mapping[str, np.ndarray[Any, Any]]
Program = tuple[Sequence[str], Callable[[Arrays], np.ndarray[Any, Any]]]
"""The names of a file's inputs, and the function that runs it."""


def program(runtime: Runtime, path: Path) -> Program:
    """The file, loaded for the CPU with as many threads as torch has; ValueError where that cannot be."""
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    return {"onnxruntime": _onnxruntime, "openvino": _openvino}[runtime](path)


def library(name: str, extra: str) -> ModuleType:
    """A library that an extra brings; ValueError says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"{name} is not installed: pip install 'ldmkit-runtimes[{extra}]'") from error


def _onnxruntime(path: Path) -> Program:
    ort: Any = library("onnxruntime", "onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class
        raise ValueError(f"{path} cannot be loaded: {first_line(error)}") from error
    return [i.name for i in session.get_inputs()], lambda arrays: session.run(None, dict(arrays))[0]


def _openvino(path: Path) -> Program:
    ov: Any = library("openvino", "openvino")
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        core = ov.Core()
        file = core.read_model(str(path))
        model = core.compile_model(file, "CPU", settings)
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be loaded: {first_line(error)}") from error
    # The file's own names: compiling gives an input those of what it is reshaped to as well.
    return [i.any_name for i in file.inputs], lambda arrays: model(dict(arrays))[0]
