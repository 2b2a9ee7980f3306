"""Builds the six-style emoji set of ldmkit-data from npm packages; the same bytes every time.

    mkdir npm && cd npm
    npm pack @lobehub/fluent-emoji-3d@1.1.0 @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/noto@1.2.9
    npm pack @iconify-json/noto-v1@1.2.5 @iconify-json/emojione@1.2.3 @iconify-json/fxemoji@1.2.2
    cd .. && python build_emoji_styles.py npm ../src/ldmkit_data/emoji

The concepts and their words are those of index.jsonl (build_emoji.py). Writes, below the folder,
styles/STYLE.zip (128x128 WEBP pictures on white named by concept, stored without compression) and
styles/colours.jsonl (one concept a line: the colours of its picture in each style, the largest first). Icons
are joined to concepts by code points where the package lists them, else by the names that Noto's package
gives to code points. The bytes depend on the encoders: they were made with Pillow 13.0.0 (libwebp 1.6.0) and
resvg-py 0.5.0.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from build_emoji import FLUENT, concept_of, webp
from PIL import Image

SIZE = 128
QUALITY = 90
ICONS = {
    "fluent-flat": "iconify-json-fluent-emoji-flat-1.2.6.tgz",
    "noto": "iconify-json-noto-1.2.9.tgz",
    "noto-v1": "iconify-json-noto-v1-1.2.5.tgz",
    "emojione": "iconify-json-emojione-1.2.3.tgz",
    "fxemoji": "iconify-json-fxemoji-1.2.2.tgz",
}
LICENCES = {"MIT", "Apache-2.0", "CC-BY-4.0"}
LEAST = 0.12
"""The share of a picture that a colour must cover to be named."""
HUES = (
    (15, "red"), (38, "orange"), (70, "yellow"), (165, "green"), (195, "teal"), (255, "blue"),
    (290, "purple"), (345, "pink"), (361, "red"),
)  # fmt: skip
"""Upper end of each named range, in degrees."""


def contents(folder: Path, tarball: str) -> dict[str, bytes]:
    """The files of a tarball by path."""
    path = folder / tarball
    if not path.is_file():
        raise SystemExit(
            f"{path} is missing; get it with `npm pack` as the head of {Path(__file__).name} says"
        )
    with tarfile.open(path) as tar:
        opened = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
        return {name: file.read() for name, file in opened if file is not None}


def fluent(folder: Path, concepts: Mapping[str, Any]) -> dict[str, Image.Image]:
    """Microsoft's 3D pictures by concept, transparent; of several files for one the first counts."""
    found: dict[str, Image.Image] = {}
    for name, encoded in sorted(contents(folder, FLUENT).items()):
        concept = concept_of(Path(name).stem)
        if name.endswith(".webp") and concept in concepts and concept not in found:
            found[concept] = Image.open(io.BytesIO(encoded)).convert("RGBA")
    return found


def drawn(
    folder: Path, tarball: str, concepts: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Image.Image]:
    """The drawings of an icon package by concept, transparent."""
    files = contents(folder, tarball)
    licence = json.loads(files["package/info.json"])["license"]["spdx"]
    if licence not in LICENCES:
        raise SystemExit(f"{tarball}: licence {licence} is none of {', '.join(sorted(LICENCES))}")
    icons = json.loads(files["package/icons.json"])
    own = json.loads(files["package/chars.json"])
    found: dict[str, Image.Image] = {}
    for code_points, name in [*own.items(), *names.items()]:
        concept = concept_of(code_points)
        svg = svg_of(icons, name)
        if concept in concepts and concept not in found and svg is not None:
            encoded = resvg_py.svg_to_bytes(
                svg_string=svg, width=2 * SIZE, height=2 * SIZE, skip_system_fonts=True
            )
            found[concept] = Image.open(io.BytesIO(encoded)).convert("RGBA")
    return found


def svg_of(icons: Mapping[str, Any], name: str) -> str | None:
    """An icon by name or alias; aliases that turn or mirror their icon are other pictures."""
    while name in icons.get("aliases", {}):
        alias = icons["aliases"][name]
        if set(alias) != {"parent"}:
            return None
        name = alias["parent"]
    icon = icons["icons"].get(name)
    if icon is None:
        return None
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    body = icon["body"]
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{body}</svg>'


def on_white(picture: Image.Image) -> Image.Image:
    """The picture on a white square, scaled after compositing so that edges mix with white."""
    side = max(picture.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def colours(picture: Image.Image) -> list[str]:
    """Names of the colours that cover enough of what is opaque, the largest first; three at most."""
    small = picture.resize((48, 48), Image.Resampling.BOX)
    opaque = np.asarray(small)[..., 3] > 127
    if not opaque.any():
        return []
    hsv = np.asarray(small.convert("RGB").convert("HSV"))[opaque].astype(float)
    named = [name_of(*pixel) for pixel in hsv]
    shares = {name: named.count(name) / len(named) for name in sorted(set(named))}
    kept = [name for name in sorted(shares, key=lambda n: -shares[n]) if shares[name] >= LEAST]
    return kept[:3]


def name_of(hue: float, saturation: float, value: float) -> str:
    """The word for one colour; all three in 0..255."""
    if value < 60:
        return "black"
    if saturation < 40:
        return "white" if value > 205 else "gray"
    degrees = hue * 360 / 255
    if 8 <= degrees < 45 and value < 170:
        return "brown"
    name = next(word for end, word in HUES if degrees < end)
    return "pink" if name == "red" and saturation < 130 and value > 190 else name


def main() -> None:
    """Builds the set from a folder of tarballs into the folder that holds index.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tarballs", type=Path, help="folder with the files that `npm pack` writes")
    parser.add_argument("out", type=Path, help="folder with index.jsonl, to which styles/ is added")
    options = parser.parse_args()
    lines = (options.out / "index.jsonl").read_text(encoding="utf-8").splitlines()
    concepts = {entry["concept"]: entry for entry in map(json.loads, lines)}
    names = json.loads(contents(options.tarballs, ICONS["noto"])["package/chars.json"])
    target = options.out / "styles"
    target.mkdir(exist_ok=True)
    said: dict[str, dict[str, list[str]]] = {}
    for style in ("fluent", *ICONS):
        if style == "fluent":
            pictures = fluent(options.tarballs, concepts)
        else:
            pictures = drawn(options.tarballs, ICONS[style], concepts, names)
        with zipfile.ZipFile(target / f"{style}.zip", "w", zipfile.ZIP_STORED) as archive:
            for concept in (c for c in concepts if c in pictures):
                archive.writestr(
                    zipfile.ZipInfo(f"{concept}.webp"), webp(on_white(pictures[concept]), QUALITY)
                )
                said.setdefault(concept, {})[style] = colours(pictures[concept])
        print(f"{style}: {len(pictures)} pictures, {(target / f'{style}.zip').stat().st_size / 1e6:.2f} MB")
    rows = [json.dumps({"concept": c, "colours": said[c]}) for c in concepts if c in said]
    (target / "colours.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
