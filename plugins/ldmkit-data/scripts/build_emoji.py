"""Builds the emoji set of ldmkit-data from npm packages; the same bytes every time.

    mkdir npm && cd npm
    npm pack emojibase-data@17.0.0 @lobehub/fluent-emoji-3d@1.1.0 @iconify-json/fluent-emoji-flat@1.2.6
    npm pack @iconify-json/noto@1.2.9 @iconify-json/noto-v1@1.2.5
    npm pack @iconify-json/emojione@1.2.3 @iconify-json/fxemoji@1.2.2
    cd .. && python build_emoji.py npm ../src/ldmkit_data/emoji

Writes, below the folder, index.jsonl (one concept a line: code points, group, label and tags in English and
Korean), styles/STYLE.zip (128x128 WEBP pictures on white named by concept, stored without compression) and
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
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image

SIZE = 128
QUALITY = 90
FLUENT = "lobehub-fluent-emoji-3d-1.1.0.tgz"
WORDS = "emojibase-data-17.0.0.tgz"
# skin tones and hair; arrows, signs, keycaps, letters and shapes; flags
DROPPED_GROUPS = ("component", "symbols", "flags")
NEWEST = 16  # the version of Unicode's emoji up to which they are taken
DROPPED_LABELS = ("o\u2019clock", "-thirty")  # 24 clock faces that differ in a hand
JOINERS = {"fe0f", "200d"}
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


def concept_of(code_points: str) -> str:
    """The name that all packages agree on: hex code points in lower case without joiners."""
    return "-".join(c for c in code_points.lower().split("-") if c not in JOINERS)


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


def words(folder: Path) -> dict[str, dict[str, Any]]:
    """What the set is about: concepts in the order of Unicode with their words."""
    files = contents(folder, WORDS)
    groups = json.loads(files["package/meta/groups.json"])["groups"]
    english, korean = (json.loads(files[f"package/{language}/data.json"]) for language in ("en", "ko"))
    translated = {e["hexcode"]: e for e in korean}
    concepts = {}
    for entry in sorted((e for e in english if "group" in e), key=lambda e: e["order"]):
        group = groups[str(entry["group"])]
        if group in DROPPED_GROUPS or entry["version"] > NEWEST:
            continue
        if any(word in entry["label"] for word in DROPPED_LABELS):
            continue
        concept = concept_of(entry["hexcode"])
        spoken = {"en": entry, "ko": translated[entry["hexcode"]]}
        concepts[concept] = {
            "concept": concept,
            "group": group,
            "label": {language: e["label"] for language, e in spoken.items()},
            "tags": {language: e.get("tags", []) for language, e in spoken.items()},
        }
    return concepts


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


def webp(picture: Image.Image) -> bytes:
    """The picture as WEBP."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()


def pack(pictures: Mapping[str, Image.Image], concepts: Iterable[str], target: Path) -> None:
    """Writes one style's archive, in the order of the concepts."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for concept in (c for c in concepts if c in pictures):
            archive.writestr(zipfile.ZipInfo(f"{concept}.webp"), webp(on_white(pictures[concept])))
    print(f"{target.stem}: {len(pictures)} pictures, {target.stat().st_size / 1e6:.2f} MB")


def write(rows: Iterable[Mapping[str, Any]], target: Path) -> None:
    """Writes one row a line."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Builds the set from a folder of tarballs into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tarballs", type=Path, help="folder with the files that `npm pack` writes")
    parser.add_argument("out", type=Path, help="folder that the set is written to")
    options = parser.parse_args()
    concepts = words(options.tarballs)
    names = json.loads(contents(options.tarballs, ICONS["noto"])["package/chars.json"])
    styles = {"fluent": fluent(options.tarballs, concepts)}
    for style, tarball in ICONS.items():
        styles[style] = drawn(options.tarballs, tarball, concepts, names)
    kept = [c for c in concepts if c in styles["fluent"] or c in styles["noto"]]
    target = options.out / "styles"
    target.mkdir(parents=True, exist_ok=True)
    for style, pictures in styles.items():
        pack(pictures, kept, target / f"{style}.zip")
    said = {c: {style: colours(p[c]) for style, p in styles.items() if c in p} for c in kept}
    write((concepts[c] for c in kept), options.out / "index.jsonl")
    write(({"concept": c, "colours": said[c]} for c in kept), target / "colours.jsonl")


if __name__ == "__main__":
    main()
