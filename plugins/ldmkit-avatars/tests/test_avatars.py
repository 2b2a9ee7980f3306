"""Avatars and landscapes: the same from the same seed, licensed, mapped, split for good."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from ldmkit_avatars import shards
from ldmkit_avatars.dataset import SPLITS, Avatars, Drawings, Landscapes
from ldmkit_avatars.drawing import Choice, choose, render
from ldmkit_avatars.maps import boxes, draw_map
from ldmkit_avatars.styles import CLASSES, definition, table
from ldmkit_avatars.words import attributes, captions, colour_word

from ldmkit.host.plugins import host
from ldmkit.testing.pictures import check_data
from ldmkit.testing.registration import check_registration

NOTICE = Path(__file__).parents[3] / "NOTICE"
FACES = ("toon-head", "micah")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    """Shards of 20 avatars in a folder of their own, and two avatars drawn by themselves. They are drawn in
    this process one after another, for the libraries that draw are not made for threads."""
    patch = pytest.MonkeyPatch()
    patch.setenv("LDMKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setattr("ldmkit_avatars.shards.SHARD", 20)
    patch.setattr("ldmkit_avatars.shards.ALONE", 2)
    patch.setattr("ldmkit_avatars.dataset.SHARD", 20)
    patch.setattr("ldmkit_avatars.shards._draw_all", lambda missing: [*map(shards.draw, missing)])
    yield
    patch.undo()


@pytest.fixture(scope="module")
def faces() -> Avatars:
    return Avatars(size=48, styles=FACES, count=80)


def test_the_plugin_registers_both_sets() -> None:
    check_registration("ldmkit-avatars")
    assert host().registry.get("data", "avatars").load() is Avatars
    assert host().registry.get("data", "landscapes").load() is Landscapes


def test_both_keep_the_contract(faces: Avatars) -> None:
    check_data(faces)
    check_data(Landscapes(size=32, count=40))


def test_an_example_has_every_field(faces: Avatars) -> None:
    example = faces[1]
    assert example.keys() == {"image", *faces.fields}
    assert example["image"].shape == (3, 48, 48)
    assert example["image"].dtype == example["segmentation"].dtype == torch.uint8
    assert example["segmentation"].shape == (48, 48)
    assert (example["label"], example["class_name"]) == (1, "micah")
    assert example["caption"] == example["captions"][0]
    assert example["caption"].startswith("line portrait, ")


def test_the_same_seed_draws_the_same_avatar_whatever_the_count(faces: Avatars) -> None:
    more = Avatars(size=48, styles=FACES, count=90)
    other = Avatars(size=48, styles=FACES, count=20, seed=1)
    assert torch.equal(more[7]["image"], faces[7]["image"])
    assert more[7]["attributes"] == faces[7]["attributes"]
    assert any(not torch.equal(other[i]["image"], faces[i]["image"]) for i in range(4))
    assert len({faces.digest, more.digest, other.digest, faces.split("train").digest}) == 4


def refuse(*drawn: object) -> None:
    raise AssertionError(f"{drawn} is drawn")


def test_what_is_drawn_once_is_not_drawn_again(faces: Avatars, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [example["image"] for example in examples(faces)]
    monkeypatch.setattr(shards, "_draw_all", refuse)
    monkeypatch.setattr(shards, "_draw_one", refuse)
    again = examples(Avatars(size=48, styles=FACES, count=80))
    assert all(torch.equal(e["image"], x) for e, x in zip(again, expected, strict=True))


def test_a_few_are_shown_before_all_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Avatars(size=32, styles=FACES, count=80, seed=3).split("train")
    with monkeypatch.context() as patch:
        patch.setattr(shards, "_draw_all", refuse)
        few = [data[0], data[40], data[0]]
        with pytest.raises(AssertionError, match="is drawn"):
            data[41]
    whole = examples(data)
    for example, index in zip(few, (0, 40, 0), strict=True):
        for field in ("image", "segmentation"):
            assert torch.equal(example[field], whole[index][field])
        assert example["attributes"] == whole[index]["attributes"]


def test_a_damaged_shard_is_drawn_again(faces: Avatars) -> None:
    path = shards.Shard("micah", 48, 0, 0).path
    whole = path.read_bytes()
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:])
    again = examples(Avatars(size=48, styles=FACES, count=80))
    assert torch.equal(again[1]["image"], faces[1]["image"])
    assert path.read_bytes() == whole


def test_damaged_choices_are_made_again(faces: Avatars) -> None:
    path = shards.Shard("micah", 48, 0, 0).path.with_suffix(".json")
    whole = path.read_text()
    path.write_text(whole[:500])
    assert Avatars(size=48, styles=FACES, count=80)[1]["attributes"] == faces[1]["attributes"]
    assert path.read_text() == whole


def test_unseen_combinations_are_in_no_other_split_and_each_of_their_parts_is(faces: Avatars) -> None:
    many = Avatars(size=16, styles=("toon-head",), count=400)
    pairs = {
        name: {(e["attributes"]["hair"], e["attributes"]["clothes"]) for e in examples(many.split(name))}
        for name in SPLITS
    }
    assert not pairs["unseen"] & (pairs["train"] | pairs["validation"])
    assert pairs["unseen"]
    for which in (0, 1):
        assert {p[which] for p in pairs["unseen"]} <= {p[which] for p in pairs["train"]}
    assert sum(len(many.split(name)) for name in SPLITS) == 400
    with pytest.raises(ValueError, match="train, validation, unseen"):
        faces.split("test")


def examples(data: Drawings) -> list:
    return [data[i] for i in range(len(data))]


def test_a_split_never_moves() -> None:
    """Trained weights count on it: a picture that moves has been seen."""
    data = Avatars(size=16, styles=("toon-head", "sprouts"), count=200)
    assert [len(data.split(name)) for name in SPLITS] == [170, 7, 23]


def test_a_map_shows_what_the_picture_shows() -> None:
    """Pixels of a class in which no other class of a toon head has its colour."""
    choice, svg = choose("toon-head", "0/3")
    picture, labels = np.asarray(render(svg, 128)).astype(int), draw_map("toon-head", "0/3", 128)
    wanted = np.array([int(choice.colours["clothes"][i : i + 2], 16) for i in (1, 3, 5)])
    clothes = labels == CLASSES.index("clothes")
    close = np.abs(picture - wanted).max(-1) < 24
    assert clothes.sum() > 500
    assert close[clothes].mean() > 0.6
    white = (picture == 255).all(-1)
    assert (labels[white] == 0).mean() > 0.9
    assert (white[labels == 0]).mean() > 0.95


def test_every_style_draws_only_its_own_classes() -> None:
    for name, known in table().styles.items():
        allowed = {known.base, "background", *known.parts.values(), *known.colours.values()}
        allowed |= {kind for variants in known.variants.values() for kind in variants.values()}
        seen = {CLASSES[k] for i in range(6) for k in np.unique(draw_map(name, f"0/{i}", 64))}
        assert seen <= allowed, name
        assert len(seen) > 3, name


def test_boxes_frame_what_is_seen_of_a_class() -> None:
    labels = np.zeros((10, 20), np.uint8)
    labels[2:5, 4:14] = 3
    labels[9, 19] = 7
    assert boxes(labels) == ((3, 0.2, 0.2, 0.5, 0.3), (7, 0.95, 0.9, 0.05, 0.1))


def test_every_variant_of_every_style_has_its_words() -> None:
    for name, known in table().styles.items():
        parts = definition(name)["components"]
        assert set(known.unseen) <= {*known.attributes, *(f"{key} colour" for key in known.attributes)}
        for key, attribute in known.attributes.items():
            if attribute.words:
                assert set(attribute.words) == set(parts[attribute.part or key]["variants"]), (name, key)
            assert set(attribute.colours) <= {*definition(name)["colors"], "background"}, (name, key)


def test_captions_say_the_attributes_in_both_languages() -> None:
    choice = Choice(
        {"hair": "bun", "clothes": "tShirt", "mouth": "smile", "eyes": "wink"},
        {"hair": "#2c1b18", "clothes": "#b11f1f", "skin": "#5c3829"},
    )
    assert captions("toon-head", choice, ("en", "ko")) == (
        "toon portrait, black hair in a bun, red t-shirt, smiling, winking, dark skin",
        "만화 초상화, 검은색 올림머리, 빨간색 티셔츠, 미소, 윙크, 어두운 피부",
        "toon portrait, black hair in a bun, red t-shirt",
        "만화 초상화, 검은색 올림머리, 빨간색 티셔츠",
    )
    said = attributes("toon-head", choice)
    assert said["hair"] == "hair in a bun"
    assert said["clothes colour"] == "red"
    assert said["beard"] == "none"


@pytest.mark.parametrize(
    ("colour", "word"),
    [("#ff0000", "red"), ("#00aa00", "green"), ("#000000", "black"), ("#8844cc", "purple")],
)
def test_colours_have_their_plain_names(colour: str, word: str) -> None:
    assert colour_word(colour)[0] == word


def test_only_styles_with_an_open_licence_are_drawn() -> None:
    with pytest.raises(ValueError, match=r"CC0 1.0 or CC BY 4.0.*toon-head"):
        Avatars(styles=("avataaars",))
    with pytest.raises(ValueError, match="unknown style 'nobody'"):
        Avatars(styles=("nobody",))
    with pytest.raises(ValueError, match="no table of parts"):
        Avatars(styles=("adventurer",))
    with pytest.raises(ValueError, match="twice"):
        Avatars(styles=("micah", "micah"))


def credit(name: str) -> str:
    """One line that names a style, its creator, source and licence."""
    meta = definition(name)["meta"]
    source, creator, licence = meta["source"], meta["creator"], meta["license"]
    return (
        f"{name}: {source['name']} by {creator['name']} ({source.get('url') or creator.get('url')}), "
        f"{licence['name']} ({licence['url']})"
    )


def test_every_style_is_credited_where_credits_stand() -> None:
    notice = " ".join(NOTICE.read_text(encoding="utf-8").split())
    for name in table().styles:
        assert credit(name) in notice, name


def test_landscapes_are_hills_under_a_sky() -> None:
    data = Landscapes(size=64, count=40, languages=("ko", "en"))
    assert sum(len(data.split(name)) for name in SPLITS) == 40
    labels = torch.stack([data[i]["segmentation"] for i in range(40)])
    seen = {CLASSES[k] for k in labels.unique()}
    assert seen == {"sky", "sun", "far hills", "middle hills", "near hills", "foreground"}
    assert Counter(CLASSES[k] for k in labels[:, 0].flatten()).keys() <= {"sky", "sun"}
    assert {CLASSES[k] for k in labels[:, -1].unique()} <= {"near hills", "foreground"}
    assert data[0]["caption"].startswith("풍경, ")


def test_contents_name_what_draws(faces: Avatars, monkeypatch: pytest.MonkeyPatch) -> None:
    before, before_digest = faces.contents, faces.digest
    monkeypatch.setattr(
        "ldmkit_avatars.dataset.version", lambda name: "9" if name == "resvg-py" else version(name)
    )
    assert {name for name, content in faces.contents.items() if content != before[name]} == {"resvg-py"}
    assert faces.digest != before_digest
