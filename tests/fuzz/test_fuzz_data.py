"""Generated metadata and damaged pictures: refused in few words or read, never a traceback."""

from __future__ import annotations

import json

import pytest
from fuzzing import fuzzed, tried, values
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ldmkit.engine.components import build
from ldmkit.engine.data import aligned, view
from ldmkit.host.plugins import host
from ldmkit.pictures.png import read_about
from ldmkit.recipe import Component
from ldmkit.verbs import records


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of three."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(3):
        Image.new("RGB", (16, 16), (80 * i, 0, 0)).save(folder / f"{i}.png")
    return folder


FIELDS = ["file_name", "caption", "captions", "label", "mask", "layout", "\u2028", ""]
KINDS = {"caption": "text", "mask": "mask", "layout": "boxes"}


@fuzzed
@given(rows=st.lists(
    st.tuples(
        st.sampled_from(["0.png", "1.png", "2.png", "../0.png", ".", "0.txt", "\0"]) | values,
        st.dictionaries(st.sampled_from(FIELDS), values | st.sampled_from(["9" * 5000, "1.png"]), max_size=4),
    ) | st.binary(max_size=40) | st.sampled_from([b"[" * 5000, b'{"file_name": 0x' + b"f" * 5000]),
    max_size=4,
))  # fmt: skip
def test_metadata_of_any_kind(pictures, rows):
    lines = [
        row if isinstance(row, bytes) else json.dumps({"file_name": row[0], **row[1]}).encode()
        for row in rows
    ]
    (pictures / "metadata.jsonl").write_bytes(b"\n".join(lines))
    slot = {"name": "image-folder", "path": str(pictures), "size": 16, "max_broken": 1}

    def look():
        data = build(host().registry, "data", Component.model_validate(slot))
        whole = aligned(data, {f: kind for f, kind in KINDS.items() if f in data.fields})
        for part in (whole, whole.split("train")):
            assert part.digest
            assert [view(part, i) for i in range(len(part))]

    tried(look)


@fuzzed
@given(about=st.dictionaries(
    st.sampled_from(["seed", "prompt", "inputs", "init", "strength", "options", "guidance", "x"]),
    st.text(max_size=30) | values.map(json.dumps) | st.sampled_from(["9" * 5000, "[" * 5000, "nan"]),
    max_size=4,
))  # fmt: skip
def test_png_metadata_of_any_kind(tmp_path_factory, about):
    path, info = tmp_path_factory.mktemp("png") / "x.png", PngInfo()
    for key, value in about.items():
        info.add_itxt(f"ldmkit:{key}", value.encode("utf-8", "replace").decode())
    Image.new("RGB", (2, 2)).save(path, pnginfo=info)

    def look():
        read = read_about(path)
        records.read_options(read)
        records.title(read)
        records.example(read)

    tried(look)


@fuzzed
@given(content=st.binary(max_size=200), at=st.integers(0, 5000), length=st.integers(0, 60))
def test_damaged_pictures(tmp_path_factory, content, at, length):
    path = tmp_path_factory.mktemp("png") / "x.png"
    Image.effect_noise((40, 40), 50).save(path)
    whole = path.read_bytes()
    at %= len(whole)
    path.write_bytes(whole[:at] + content + whole[at + length :])
    tried(read_about, path)
