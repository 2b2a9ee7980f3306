"""Text encoders in folders: they and their tokenizers stay in folders of their own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from ldmkit.keymaps import WithoutTensors
from ldmkit_text.paired import PairedText
from ldmkit_text.pretrained import PretrainedText

PLAIN = ("*.json", "*.txt", "*.model")
"""What a tokenizer and a configuration consist of."""


class DiffusersPretrainedText(WithoutTensors):
    """`text_encoder/` and `tokenizer/` of a pipeline; files stay as they are, weights that were tuned are
    written anew."""

    classes: ClassVar[tuple[str, ...]] = ("CLIPTextModel",)
    condition = "caption"

    def parameters(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The length of a caption."""
        return {"length": config.get("max_position_embeddings", 77)}

    def write_folders(self, module: nn.Module, out: Path) -> dict[str, Any]:
        """Writes both folders below `out`; their entries in the pipeline's index."""
        assert isinstance(module, PretrainedText)
        copy_files(module.folders["tokenizer"], out / "tokenizer", PLAIN)
        weights = module.folders["text_encoder"] / "model.safetensors"
        if module.tune or not weights.is_file():
            module.encoder.save_pretrained(out / "text_encoder", safe_serialization=True)
        else:
            copy_files(module.folders["text_encoder"], out / "text_encoder", ("config.json", weights.name))
        classes = {"text_encoder": module.encoder, "tokenizer": module.tokenizer}
        return {name: ["transformers", type(part).__name__] for name, part in classes.items()}


class DiffusersPairedText(DiffusersPretrainedText):
    """Both encoders and tokenizers of StableDiffusionXLPipeline; their files stay as they are."""

    classes = ()

    def write_folders(self, module: nn.Module, out: Path) -> dict[str, Any]:
        """Copies the four folders below `out`; their entries in the pipeline's index, and what the pipeline
        takes for no prompt."""
        assert isinstance(module, PairedText)
        for name, folder in module.folders.items():
            copy_files(folder, out / name, (*PLAIN, "model.safetensors"))
        parts = [*module.encoder, *module.tokenizers]
        index = {
            name: ["transformers", type(part).__name__]
            for name, part in zip(module.folders, parts, strict=True)
        }
        return {**index, "force_zeros_for_empty_prompt": not module.empty}


def copy_files(source: Path, out: Path, patterns: tuple[str, ...]) -> None:
    """Copies the files of a folder that fit one of the patterns."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted({p for pattern in patterns for p in source.glob(pattern)}):
        shutil.copyfile(path, out / path.name)
