"""Files of weights from elsewhere: on the hub (`hub`), in folders (`folders`), in installed packages, and the
tensors in them (`tensors`), opened so that nothing in them runs."""

from __future__ import annotations

from ldmkit.artifacts.folders import check_inside, find_weights, read_folder
from ldmkit.artifacts.hub import hub_folder
from ldmkit.artifacts.tensors import Tensors, check_numbers, check_sha256, read_tensors
from ldmkit.checkpoint.files import read_safetensors, write_tensors
from ldmkit.host.installed import installed_files, packaged_file

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
