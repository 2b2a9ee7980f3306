"""Builds the emoji set of ldmkit-data from three npm packages; the same bytes every time.

    mkdir npm && cd npm
    npm pack @lobehub/fluent-emoji-3d@1.1.0 emoji-datasource-google@16.0.0 emojibase-data@17.0.0
    cd .. && python build_emoji.py npm ../src/ldmkit_data/emoji

Writes fluent.zip, noto.zip (64x64 WEBP pictures named by concept, stored without compression) and index.jsonl
(one concept a line: code points, group, label and tags in English and Korean). The bytes depend on the WEBP
encoder: they were made with Pillow 13.0.0 (libwebp 1.6.0).
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = 64
QUALITY = 92
FLUENT = "lobehub-fluent-emoji-3d-1.1.0.tgz"
NOTO = "emoji-datasource-google-16.0.0.tgz"
WORDS = "emojibase-data-17.0.0.tgz"
# skin tones and hair; arrows, signs, keycaps, letters and shapes; flags
DROPPED_GROUPS = ("component", "symbols", "flags")
DROPPED_LABELS = ("o\u2019clock", "-thirty")  # 24 clock faces that differ in a hand
JOINERS = {"fe0f", "200d"}


def concept_of(code_points: str) -> str:
    """The name that all packages agree on: hex code points in lower case without joiners."""
    return "-".join(c for c in code_points.lower().split("-") if c not in JOINERS)


def read(folder: Path, tarball: str, prefix: str, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Files of one tarball below `prefix` by stem, in the tarball's order."""
    path = folder / tarball
    if not path.is_file():
        raise SystemExit(
            f"{path} is missing; get it with `npm pack` as the head of {Path(__file__).name} says"
        )
    with tarfile.open(path) as tar:
        for member in tar:
            inside, _, name = member.name.rpartition("/")
            content = tar.extractfile(member) if inside == prefix and name.endswith(suffix) else None
            if content is not None:
                yield name.removesuffix(suffix), content.read()


def words(folder: Path) -> dict[str, dict[str, Any]]:
    """What the set is about: concepts in the order of Unicode with their words."""
    meta = dict(read(folder, WORDS, "package/meta", ".json"))
    groups = json.loads(meta["groups"])["groups"]
    english, korean = (
        json.loads(dict(read(folder, WORDS, f"package/{language}", ".json"))["data"])
        for language in ("en", "ko")
    )
    translated = {e["hexcode"]: e for e in korean}
    concepts = {}
    for entry in sorted((e for e in english if "group" in e), key=lambda e: e["order"]):
        group = groups[str(entry["group"])]
        if group in DROPPED_GROUPS or any(word in entry["label"] for word in DROPPED_LABELS):
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


def on_white(encoded: bytes) -> Image.Image:
    """The picture on a white square, downscaled after compositing so that edges mix with white."""
    picture = Image.open(io.BytesIO(encoded)).convert("RGBA")
    side = max(picture.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    flat = square.convert("RGB")
    return flat if side == SIZE else flat.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def webp(picture: Image.Image, quality: int = QUALITY) -> bytes:
    """The picture as WEBP."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def pack(pictures: Iterator[tuple[str, bytes]], concepts: dict[str, Any], target: Path) -> set[str]:
    """Writes one style's archive and returns its concepts; of several files for one the first counts."""
    found: dict[str, bytes] = {}
    for name, encoded in sorted(pictures):
        found.setdefault(concept_of(name), encoded)
    kept = [concept for concept in concepts if concept in found]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for concept in kept:
            archive.writestr(zipfile.ZipInfo(f"{concept}.webp"), webp(on_white(found[concept])))
    return set(kept)


def main() -> None:
    """Builds the set from a folder of tarballs into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tarballs", type=Path, help="folder with the three files that `npm pack` writes")
    parser.add_argument("out", type=Path, help="folder that the set is written to")
    options = parser.parse_args()
    concepts = words(options.tarballs)
    options.out.mkdir(parents=True, exist_ok=True)
    fluent = pack(
        read(options.tarballs, FLUENT, "package/assets", ".webp"), concepts, options.out / "fluent.zip"
    )
    noto = pack(
        read(options.tarballs, NOTO, "package/img/google/64", ".png"), concepts, options.out / "noto.zip"
    )
    lines = [json.dumps(c, ensure_ascii=False) for c in concepts.values() if c["concept"] in fluent | noto]
    (options.out / "index.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} concepts: {len(fluent)} Fluent, {len(noto)} Noto, {len(fluent & noto)} in both")


if __name__ == "__main__":
    main()
