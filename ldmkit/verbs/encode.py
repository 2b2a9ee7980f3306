"""A folder of pictures as latents and back: for each picture a safetensors file of the same relative name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.nn.functional import pad

from ldmkit import disk
from ldmkit.engine.opening import assembled, opened
from ldmkit.engine.system import System, assemble
from ldmkit.engine.tiling import tiled_decode, tiled_encode
from ldmkit.engine.weights import downloaded
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.interchange.folders import check_vacant
from ldmkit.interfaces import CompressionModel, Conditioner
from ldmkit.pictures import (
    SUFFIXES,
    PictureError,
    normalize,
    open_picture,
    to_pictures,
    to_tensor,
    upright_size,
)
from ldmkit.pictures.png import save_picture
from ldmkit.recipe import Recipe, load, resolve
from ldmkit.training.progress import Reporter, duration
from ldmkit.types import Image, Latent, Say
from ldmkit.verbs import input_files
from ldmkit.verbs.latent_files import LATENT, Maker, read_latent, size_of_picture, write_latent

TRIED = 8
"""Pictures that an estimate encodes."""
HEADER = 320
"""Bytes of a latent's file besides the latent, about."""
TILE, OVERLAP = 512, 128
"""Pixels; rounded down to multiples of the model's factor."""


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
    """The conditioners on the meta device: the fields that they read are part of the data's digest."""
    registry = host().registry
    with torch.device("meta"):
        yield from assemble(resolve(whole, registry), registry).to("meta").named_conditioners()


def check_folders(source: Path, out: Path, suffixes: tuple[str, ...], what: str) -> None:
    """UserError where `source` holds nothing of these suffixes, or `out` something: before weights are
    loaded."""
    input_files.listed(source, suffixes, what)
    check_vacant(out)


@torch.no_grad()
def encode_folder(system: System, source: Path, out: Path, say: Say) -> list[str]:
    """Writes the latent of every picture below `source` to the new folder `out`; what was skipped, and why.

    Pictures are replicate-padded to multiples of the model's factor; large ones are encoded in tiles. Raises
    UserError where there is no picture that opens, where two pictures would have one name, or where `out`
    holds something.
    """
    pictures = input_files.listed(source, SUFFIXES, "picture")
    others = [
        f"{p}: {p.suffix} files are not read: save it as PNG or JPEG" for p in input_files.others(source)
    ]
    others += input_files.links(source, SUFFIXES)
    input_files.check_names(pictures, source)
    check_vacant(out)
    maker, problems = Maker.of(system), []
    for path in _tracked("encode", pictures, say):
        try:
            image = normalize(to_tensor(open_picture(path))[None]).to(system.device)
        except PictureError as error:
            problems.append(str(error))
            continue
        latent = encode_any(system.compression, image)[0]
        write_latent(
            input_files.place_for(path, source, out, LATENT),
            latent,
            maker,
            (image.shape[-2], image.shape[-1]),
        )
    if len(problems) == len(pictures):
        raise UserError(f"{source}: none of {len(pictures)} pictures opens; the first: {problems[0]}")
    return others + problems


@torch.no_grad()
def estimate(system: System, source: Path, out: Path, say: Say) -> None:
    """Says how many pictures `encode_folder` would encode, the bytes and, by a few of them, the hours. Writes
    nothing; raises as it does."""
    pictures = input_files.listed(source, SUFFIXES, "picture")
    input_files.check_names(pictures, source)
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
        with disk.opened(path) as file:
            return upright_size(file, str(path))
    except (PictureError, OSError):
        return None


@torch.no_grad()
def decode_folder(system: System, source: Path, out: Path, say: Say) -> list[str]:
    """Writes the picture of every latent below `source` as PNG to the new folder `out`; what was skipped,
    and why. Raises UserError, before anything is written, for latents that another model made."""
    latents = input_files.listed(source, (LATENT,), "latent")
    check_vacant(out)
    maker = Maker.of(system)
    problems: list[str] = []
    aside = input_files.links(source, (LATENT,))
    sizes = {path: size_of_picture(path, maker, problems) for path in latents}
    readable = {path: size for path, size in sizes.items() if size is not None}
    for path in _tracked("decode", list(readable), say):
        height, width = readable[path]
        try:
            latent = read_latent(path, system.compression, readable[path])
        except UserError as error:
            problems.append(str(error))
            continue
        image = decode_any(system.compression, latent.to(system.device))[..., :height, :width]
        target = input_files.place_for(path, source, out, ".png")
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
    """The paths, with a progress bar."""
    with Reporter(what, len(paths), 0, say, main=True) as reporter:
        for done, path in enumerate(paths, 1):
            yield path
            reporter.step(done)


def _tiles(model: CompressionModel) -> tuple[int, int]:
    factor = model.latent.factor
    return TILE // factor * factor, OVERLAP // factor * factor
