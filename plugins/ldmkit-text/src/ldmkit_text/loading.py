"""transformers encoders and tokenizers out of a local folder: no network, no code out of it, no pickle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ldmkit.artifacts import read_tensors
from ldmkit.errors import UserError, first_line
from ldmkit_text.folders import weights_file


def subfolder(root: Path, name: str) -> Path:
    """The folder of that name in `root`, as pipelines have it, or `root` itself."""
    return root / name if (root / name).is_dir() else root


def load_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer; ValueError where it has none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a damaged tokenizer fails in every way there is
        raise ValueError(f"{folder} holds no usable tokenizer ({first_line(error, 300)})") from None


def longer_than(length: int, tokenizer: Any, texts: Sequence[str]) -> list[str]:
    """Those of the texts that have more tokens, start and end included."""
    rows = tokenizer(list(texts), verbose=False)["input_ids"]  # else it warns of the longest model's length
    return [text for text, ids in zip(texts, rows, strict=True) if len(ids) > length]


def load_encoder(folder: Path, *, projected: bool = False) -> Any:
    """The folder's text encoder in float32; on the "meta" default device its structure without weights.

    projected: a CLIP text encoder with the projection of the whole text.
    """
    config = _config(folder)
    architecture = _projected(folder, config) if projected else _architecture(config)
    if torch.get_default_device().type == "meta":
        return architecture(config)
    weights = weights_file(folder)
    if weights is None:
        raise ValueError(f"{folder} holds no weights (model.safetensors)")
    try:
        with _quiet():
            model, info = _read(architecture, config, weights)
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes the loader raise is the file's fault
        raise ValueError(f"{weights} cannot be read ({first_line(error, 300)})") from None
    _check_complete(info)
    return model


def _config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises errors of many kinds on values that it does not expect
        raise ValueError(f"{folder} has no usable config.json ({first_line(error, 300)})") from None
    return config.text_config if config.model_type == "clip" else config


def _architecture(config: Any) -> Any:
    """The class that holds the encoder alone."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

    if type(config) not in MODEL_FOR_TEXT_ENCODING_MAPPING:
        raise ValueError(f"'{config.model_type}' is not a text encoder that transformers knows")
    return MODEL_FOR_TEXT_ENCODING_MAPPING[type(config)]


def _projected(folder: Path, config: Any) -> Any:
    from transformers import CLIPTextModelWithProjection

    if config.model_type != "clip_text_model":
        raise ValueError(f"{folder}: a CLIP text encoder is expected, not '{config.model_type}'")
    return CLIPTextModelWithProjection


def _read(architecture: Any, config: Any, weights: Path) -> tuple[Any, dict[str, Any]]:
    """The model and what its file lacked; an old pickle through weights_only, so that nothing in it runs."""
    options = {"config": config, "dtype": torch.float32, "output_loading_info": True}
    if weights.suffix == ".bin":
        state = read_tensors(weights)
        return architecture.from_pretrained(None, state_dict=state, **options)
    return architecture.from_pretrained(
        str(weights.parent), local_files_only=True, use_safetensors=True, **options
    )


def _check_complete(info: dict[str, Any]) -> None:
    """Refuses a file that leaves weights of the encoder at random (a pooler, which nothing reads, may be)."""
    bad = [
        str(k) for name in ("missing_keys", "mismatched_keys") for k in info[name] if "pooler" not in str(k)
    ]
    if bad:
        raise ValueError(f"the weights lack or misfit {len(bad)} tensors of the encoder, as {bad[0]}")


@contextmanager
def _quiet() -> Iterator[None]:
    """A context without transformers' progress bar."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
