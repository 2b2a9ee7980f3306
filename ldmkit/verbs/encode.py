"""A folder of pictures as latents, and back: for each picture a safetensors file of the same relative name.

Each file holds "latent" (c h w, scaled, the posterior's mode) and says in its metadata which compression
model made it and how large the picture was, so that no other model decodes it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch.nn.functional import pad

from ldmkit import disk
from ldmkit.checkpoint import files
from ldmkit.engine.opening import assembled, opened
from ldmkit.engine.system import System
from ldmkit.engine.tiling import tiled_decode, tiled_encode
from ldmkit.engine.weights import downloaded
from ldmkit.errors import UserError
from ldmkit.interchange.folders import check_vacant
from ldmkit.interfaces import CompressionModel, Conditioner
from ldmkit.pictures import (
    OTHER_SUFFIXES,
    SUFFIXES,
    PictureError,
    normalize,
    open_picture,
    to_pictures,
    to_tensor,
    upright_size,
)
from ldmkit.pictures.png import save_picture
from ldmkit.recipe import Recipe, load
from ldmkit.training.progress import Reporter, duration
from ldmkit.types import Image, Latent, Say

LATENT = ".safetensors"
TRIED = 8
"""Pictures that an estimate encodes."""
HEADER = 320
"""Bytes of a latent's file besides the latent, about."""
TILE, OVERLAP = 512, 128
"""Pixels; rounded down to multiples of the model's factor."""


@dataclass(frozen=True)
class Maker:
    """The compression model that a latent belongs to: the recipe's name, the sha256 of the weights."""

    recipe: str
    weights: str

    @staticmethod
    def of(system: System) -> Maker:
        """The system's own."""
        state = system.get_submodule("compression").state_dict()
        return Maker(system.recipe.name, files.tensors_digest(state))


def compression_alone(
    recipe: Path, overrides: Sequence[str], runs: Path, say: Say, device: str | None = None
) -> System:
    """The recipe's compression stage with its weights; UserError where it has none. The rest of the recipe
    need not be trained."""
    whole = load(recipe, overrides, download=downloaded)
    system = assembled(whole.model_copy(update={"denoiser": None, "conditioners": {}}), device=device)
    system.readers = lambda: _readers(whole)
    return opened(system, runs=runs, say=say)


def _readers(whole: Recipe) -> Iterator[tuple[str, Conditioner]]:
    """The conditioners without their memory: what they read is part of the data's digest."""
    with torch.device("meta"):
        yield from assembled(whole, device="meta").named_conditioners()


@torch.no_grad()
def encode_folder(system: System, source: Path, out: Path, say: Say) -> list[str]:
    """Writes the latent of every picture below `source` to the new folder `out`; what was skipped, and why.

    Pictures are replicate-padded to multiples of the model's factor; large
    ones are encoded in tiles. Raises UserError where there is no picture that opens, where two pictures would
    have one name, or where `out` holds something.
    """
    pictures = _listed(source, SUFFIXES, "picture")
    others = [f"{p}: {p.suffix} files are not read: save it as PNG or JPEG" for p in _others(source)]
    others += _links(source, SUFFIXES)
    _check_names(pictures, source)
    check_vacant(out)
    maker, problems = Maker.of(system), []
    for path in _tracked("encode", pictures, say):
        try:
            image = normalize(to_tensor(open_picture(path))[None]).to(system.device)
        except PictureError as error:
            problems.append(str(error))
            continue
        latent = encode_any(system.compression, image)[0]
        _write(_target(path, source, out, LATENT), latent, maker, (image.shape[-2], image.shape[-1]))
    if len(problems) == len(pictures):
        raise UserError(f"{source}: none of {len(pictures)} pictures opens; the first: {problems[0]}")
    return others + problems


@torch.no_grad()
def estimate(system: System, source: Path, out: Path, say: Say) -> None:
    """Says how many pictures `encode_folder` would encode, the bytes and, by a few of them, the hours. Writes
    nothing; raises as it does."""
    pictures = _listed(source, SUFFIXES, "picture")
    _check_names(pictures, source)
    check_vacant(out)
    sizes = {path: size for path in pictures if (size := _size_of(path)) is not None}
    if not sizes:
        raise UserError(f"{source}: none of {len(pictures)} pictures opens")
    spec, factor = system.compression.latent, system.compression.latent.factor
    cells = sum(-(-width // factor) * -(-height // factor) for width, height in sizes.values())
    chosen = list(sizes)[:: -(-len(sizes) // TRIED)]
    began = time.perf_counter()
    for path in chosen:
        encode_any(system.compression, normalize(to_tensor(open_picture(path))[None]).to(system.device))
    pixels = [width * height for width, height in sizes.values()]
    share = sum(pixels) / sum(sizes[path][0] * sizes[path][1] for path in chosen)
    seconds = (time.perf_counter() - began) * share
    broken = len(pictures) - len(sizes)
    room = disk.size(cells * spec.channels * 4 + len(sizes) * HEADER)
    say(f"encode: {len(sizes)} pictures ({broken} more are broken), {room}, about {duration(seconds)}")


def _size_of(path: Path) -> tuple[int, int] | None:
    try:
        with path.open("rb") as file:
            return upright_size(file, str(path))
    except (PictureError, OSError):
        return None


@torch.no_grad()
def decode_folder(system: System, source: Path, out: Path, say: Say) -> list[str]:
    """Writes the picture of every latent below `source` as PNG to the new folder `out`; what was skipped,
    and why. Raises UserError, before anything is written, for latents that another model made."""
    latents = _listed(source, (LATENT,), "latent")
    check_vacant(out)
    maker = Maker.of(system)
    problems: list[str] = []
    aside = _links(source, (LATENT,))
    sizes = {path: _size(path, maker, problems) for path in latents}
    readable = {path: size for path, size in sizes.items() if size is not None}
    for path in _tracked("decode", list(readable), say):
        height, width = readable[path]
        try:
            latent = _read(path, system.compression, readable[path])
        except UserError as error:
            problems.append(str(error))
            continue
        image = decode_any(system.compression, latent.to(system.device))[..., :height, :width]
        target = _target(path, source, out, ".png")
        save_picture(to_pictures(image)[0], target, {"recipe": maker.recipe, "latent": path.name})
    if len(problems) == len(latents):
        raise UserError(f"{source}: none of {len(latents)} latents can be read; the first: {problems[0]}")
    return aside + problems


def encode_any(model: CompressionModel, image: Image) -> Latent:
    """The latent of pictures of any size: edges continued to whole cells, large ones in tiles."""
    down, right = (-side % model.latent.factor for side in image.shape[-2:])
    image = pad(image, (0, right, 0, down), mode="replicate")
    tile, overlap = _tiles(model)
    return tiled_encode(model, image, tile=tile, overlap=overlap)


def decode_any(model: CompressionModel, latent: Latent) -> Image:
    """The pictures of latents of any size, continued edges included."""
    tile, overlap = _tiles(model)
    return tiled_decode(model, latent, tile=tile, overlap=overlap)


def _tracked(what: str, paths: list[Path], say: Say) -> Iterator[Path]:
    """Each path, and how far that is."""
    with Reporter(what, len(paths), 0, say, main=True) as reporter:
        for done, path in enumerate(paths, 1):
            yield path
            reporter.step(done)


def _tiles(model: CompressionModel) -> tuple[int, int]:
    factor = model.latent.factor
    return TILE // factor * factor, OVERLAP // factor * factor


def _listed(folder: Path, suffixes: tuple[str, ...], what: str) -> list[Path]:
    """Files below a folder, hidden ones left alone; UserError where there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    paths = _below(folder, suffixes)
    if not paths:
        others = _others(folder) if what == "picture" else []
        why = f"; {len(others)} of other formats are not read ({others[0].name})" if others else ""
        raise UserError(f"{folder} holds no {what} ({', '.join(suffixes)}){why}")
    return paths


def _others(folder: Path) -> list[Path]:
    """Pictures below a folder in formats that are not read."""
    return _below(folder, OTHER_SUFFIXES)


def _below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    below = (path for path in _shown(folder) if path.suffix.lower() in suffixes and path.is_file())
    return sorted(path for path in below if _inside(folder, path))


def _links(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """What links below a folder keep from being read, a line each."""
    links = [path for path in _shown(folder) if path.is_symlink()]
    folders = [f"{path}: a link to a folder, which is not followed" for path in links if path.is_dir()]
    files = [path for path in links if path.is_file() and path.suffix.lower() in suffixes]
    return folders + [f"{p}: a link that leads out of {folder}" for p in files if not _inside(folder, p)]


def _shown(folder: Path) -> Iterator[Path]:
    """What is below a folder, but for hidden files and folders."""
    below = folder.rglob("*")
    return (p for p in below if not any(x.startswith(".") for x in p.relative_to(folder).parts))


def _inside(folder: Path, path: Path) -> bool:
    """Does the file, links resolved, lie in the folder?"""
    return not path.is_symlink() or path.resolve().is_relative_to(folder.resolve())


def _check_names(pictures: list[Path], source: Path) -> None:
    count = Counter(path.with_suffix("") for path in pictures)
    twice = next((path for path in pictures if count[path.with_suffix("")] > 1), None)
    if twice is not None:
        name = twice.with_suffix("").relative_to(source)
        raise UserError(
            f"{source}: several pictures are called '{name}' and would be one latent; rename them"
        )


def _target(path: Path, source: Path, out: Path, suffix: str) -> Path:
    """The file's place below `out`; its folder is made."""
    relative = path.relative_to(source)
    target = out / relative.with_name(relative.stem + suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _write(path: Path, latent: torch.Tensor, maker: Maker, size: tuple[int, int]) -> None:
    about = {"recipe": maker.recipe, "compression": maker.weights}
    sides = {"height": str(size[0]), "width": str(size[1])}
    files.write_tensors(path, {"latent": latent}, {**about, **sides})


def _size(path: Path, maker: Maker, problems: list[str]) -> tuple[int, int] | None:
    """The size of a latent's picture; None, and a problem noted, where the file is none of ours."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
        size = (int(about["height"]), int(about["width"]))
        origin = Maker(about["recipe"], about["compression"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        problems.append(f"{path}: no latent written by `ldmkit encode` ({type(error).__name__}: {error})")
        return None
    if origin.weights != maker.weights:
        raise UserError(
            f"{path} was made by recipe '{origin.recipe}' with compression weights {origin.weights[:12]}; "
            f"those of '{maker.recipe}' are {maker.weights[:12]}"
        )
    return size


def _read(path: Path, model: CompressionModel, size: tuple[int, int]) -> Latent:
    latent = files.read_tensors(path).get("latent")
    cells = tuple(-(-side // model.latent.factor) for side in size)
    if latent is None or tuple(latent.shape) != (model.latent.channels, *cells) or min(size) < 1:
        raise UserError(f"{path}: holds no latent of a picture of {size[1]} x {size[0]}")
    return latent[None].float()
