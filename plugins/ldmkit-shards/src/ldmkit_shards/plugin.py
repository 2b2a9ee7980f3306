"""What this distribution registers; imports no torch."""

from __future__ import annotations

from ldmkit.hookspecs import Registrar, hookimpl

LDMKIT_API = 2


@hookimpl
def ldmkit_register(registry: Registrar) -> None:
    """Data sets in shards."""
    registry.add(
        "data",
        "webdataset",
        "ldmkit_shards.tar:WebDataset",
        "Pictures with captions and fields in tar shards, named by a brace pattern.",
    )
    registry.add(
        "data",
        "hf-dataset",
        "ldmkit_shards.hf:HfDataset",
        "A table of pictures in parquet or arrow files, or a pinned revision on the Hugging Face hub.",
    )
