"""What a picture's file brings back to the page: from `ldmkit sample` as from the page itself."""

from __future__ import annotations

import json

import PIL.Image
import pytest
import torch
from small_recipes import PIXELS, UNET

import ldmkit

gradio = pytest.importorskip("gradio")

from ldmkit_serve import metadata  # noqa: E402
from ldmkit_serve.controls import Facts, controls  # noqa: E402
from ldmkit_serve.facts import facts_of  # noqa: E402
from ldmkit_serve.kept import Kept  # noqa: E402
from ldmkit_serve.painter import read_boxes, read_map  # noqa: E402
from ldmkit_serve.settings import settings  # noqa: E402

from ldmkit.pictures.inputs import content  # noqa: E402
from ldmkit.pictures.png import read_about  # noqa: E402
from ldmkit.verbs import run  # noqa: E402
from ldmkit.verbs.arguments import PictureArguments  # noqa: E402

BASE = {
    **PIXELS,
    "name": "one",
    "denoiser": {**UNET, "attention": [1], "heads": 2},
    "objective": {"name": "v"},
    "sampler": {"name": "ddim", "steps": 4},
    "sample": {"size": [32, 32]},
}
MAPS = {"map": {"name": "spatial-rescaler", "classes": 3, "channels": 3, "stages": 0}}
BOXES = {
    "layout": {"name": "text-transformer", "field": "layout", "tokenizer": "boxes", "width": 32, "layers": 1,
               "length": 11, "vocabulary": 66}
}  # fmt: skip
HOLE = {"hole": {"name": "masked-image"}}
SMALL = {"small": {"name": "low-res", "field": "low_res", "factor": 1}}


class Data:
    """Four maps of one class each."""

    fields = ("segmentation",)

    def split(self, name):
        return [
            {"image": torch.zeros(3, 32, 32), "segmentation": torch.full((32, 32), i % 3, dtype=torch.uint8)}
            for i in range(4)
        ]


def built(conditioners, **recipe):
    with pytest.warns(UserWarning, match="no weights"):
        return ldmkit.build({**BASE, **recipe, "conditioners": conditioners})


def page_of(system, data=None):
    with gradio.Blocks():
        facts = Facts(data, {}, (), (32, 32))
        conditions = controls([c for _, c in system.named_conditioners()], facts)
        return conditions, settings(system, captioned=False)


def brought_back(system, about, kept):
    """(values of the conditions' components, settings by name, what is missing)."""
    conditions, chosen = page_of(system, kept.data)
    values, missing = metadata.from_picture(conditions, chosen, "caption", about, kept)
    count = sum(len(one.components) for one in conditions)
    return values[:count], dict(zip(chosen, values[count:], strict=True)), missing


def sampled(system, tmp_path, **asked):
    """The metadata of a picture that `ldmkit sample` writes."""
    made = run.make_pictures(
        system, run.recorded_inputs(system, PictureArguments(count=1, **asked)), tmp_path / "made", print
    )
    return read_about(made[0])


def painted(conditioners, kept, value, options=()):
    system = built(conditioners)
    conditions, _ = page_of(system)
    fields = {field: [one] for field, one in value.items()}
    about = metadata.about("one", "caption", fields, {"init": (), "seed": 3, **dict(options)}, kept)
    return system, conditions, about


@pytest.mark.parametrize("restarted", [False, True])
def test_a_painted_map_comes_back_also_after_the_page_was_started_anew(tmp_path, restarted):
    labels = torch.randint(3, (32, 64), generator=torch.Generator().manual_seed(0))
    system, _, about = painted(MAPS, kept := Kept(tmp_path), {"segmentation": labels})
    (text,), _, missing = brought_back(system, about, Kept(tmp_path) if restarted else kept)
    assert missing == []
    assert (read_map(text, 3) == labels.numpy()).all()


def test_a_picture_and_its_mask_come_back(tmp_path):
    picture = PIL.Image.effect_noise((32, 32), 60).convert("RGB")
    mask = (torch.rand(32, 32) > 0.5).float()
    system, _, about = painted(HOLE, kept := Kept(tmp_path), {"image": picture, "mask": mask})
    (shown, text), _, missing = brought_back(system, about, kept)
    assert missing == []
    assert shown.tobytes() == picture.tobytes()
    assert (read_map(text, 2) == mask.numpy()).all()


def test_a_small_picture_and_one_to_start_from_come_back(tmp_path):
    small, start = (PIL.Image.effect_noise((32, 32), 60 + i).convert("RGB") for i in range(2))
    options = {"init": start, "strength": 0.3, "steps": 9, "sampler": "euler"}
    system, _, about = painted(SMALL, kept := Kept(tmp_path), {"low_res": small}, options)
    (shown,), chosen, missing = brought_back(system, about, kept)
    assert missing == []
    assert shown.tobytes() == small.tobytes()
    assert chosen["init"].tobytes() == start.tobytes()  # the picture: the page may not read every folder
    assert (chosen["strength"], chosen["steps"], chosen["sampler"], chosen["seed"]) == (0.3, 9, "euler", 3)


def test_without_a_picture_to_start_from_none_stays_on_the_page(tmp_path):
    system, _, about = painted(MAPS, kept := Kept(tmp_path), {"segmentation": torch.zeros(32, 32).long()})
    _, chosen, _ = brought_back(system, about, kept)
    assert chosen["init"] is None


def test_boxes_given_to_the_command_line_come_back_with_its_options(tmp_path):
    boxes = [[1, 0.25, 0.5, 0.5, 0.25], [7, 0.0, 0.0, 0.5, 0.5]]
    system = built(BOXES, sampler={"name": "ddim", "steps": 5})
    about = sampled(system, tmp_path, fields={"layout": [boxes]}, overrides=("sampler.steps=5",), seed=4)
    (text,), chosen, missing = brought_back(built(BOXES), about, Kept(tmp_path / "inputs"))
    assert missing == []
    assert [list(box) for box in read_boxes(text, 16)] == boxes
    assert (chosen["steps"], chosen["seed"]) == (5, 4)


def test_an_example_of_the_data_comes_back_if_it_is_what_it_was(tmp_path):
    system, value = built(MAPS), Data().split("validation")[2]["segmentation"]
    record = {"example": 2, "sha256": content(value)}
    kept = Kept(tmp_path, data=Data())
    (text,), _, missing = brought_back(system, {"inputs": json.dumps({"segmentation": record})}, kept)
    assert (read_map(text, 3) == 2).all()
    assert missing == []
    changed = json.dumps({"segmentation": {**record, "example": 1}})
    _, _, missing = brought_back(system, {"inputs": changed}, kept)
    assert missing == ["segmentation: the example of the data that it came from has changed"]


def test_a_file_that_the_recipe_names_comes_back(tmp_path):
    PIL.Image.new("L", (32, 32), 2).save(tmp_path / "map.png")
    system = built(MAPS)
    about = sampled(system, tmp_path, fields={"segmentation": [str(tmp_path / "map.png")]})
    (text,), _, _ = brought_back(system, about, Kept(tmp_path / "inputs", [tmp_path / "map.png"]))
    assert (read_map(text, 3) == 2).all()
    _, _, missing = brought_back(system, about, Kept(tmp_path / "inputs"))
    assert missing == ["segmentation: its file is not among those that were given on this page"]


@pytest.mark.parametrize(
    "inputs",
    ["", "[]", "7", "{", "[" * 100_000, '{"segmentation": null}', '{"segmentation": {"file": []}}',
     '{"segmentation": {"example": true, "sha256": 1}}', '{"segmentation": {"example": 1e99}}',
     '"pyproject.toml"', '{"segmentation": [[1, "a"]]}', '{"segmentation": "/etc/passwd"}',
     '{"segmentation": [[99, 9], [9, 9]]}'],
)  # fmt: skip
def test_metadata_that_are_anybodys_leave_the_map_as_it_is(tmp_path, inputs):
    about = {"inputs": inputs, "init": inputs, "options": inputs, "seed": inputs, "steps": "nan" + inputs}
    (text,), chosen, _ = brought_back(built(MAPS), about, Kept(tmp_path, data=Data()))
    assert text == gradio.skip()
    assert chosen["init"] is None


def test_a_picture_is_kept_once(tmp_path):
    kept = Kept(tmp_path)
    first, second = (kept.record("mask", torch.ones(8, 8)) for _ in range(2))
    assert first == second
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("mask-")


@pytest.mark.parametrize(("scales", "offered"), [([], False), ([2], True), ([2, 3], False)])
def test_a_scale_is_offered_where_one_guidance_has_any(scales, offered):
    """Of two, `System.sample` could not tell which is meant, and would refuse it."""
    guidance = [{"name": "classifier-free", "scale": scale} for scale in scales]
    _, chosen = page_of(built(MAPS, guidance=guidance))
    assert ("guidance" in chosen) == offered


def test_the_page_has_a_control_for_what_guidance_reads(tmp_path):
    guidance = [{"name": "known-region"}, {"name": "clip", "field": "words", "cutouts": 0}]
    system = built({}, guidance=guidance)
    with gradio.Blocks():
        conditions = controls([], Facts(None, {}, (), (32, 32)), system.guided_kinds)
    assert [one.fields for one in conditions] == [("image", "mask"), ("words",)]
    assert conditions[1].raw("2024") == {"words": "2024"}
    from ldmkit_serve.app import page

    labels = [getattr(block, "label", None) for block in page(system, tmp_path).blocks.values()]
    assert {"words", "picture"} <= {*labels}


def test_a_condition_that_the_recipe_leaves_out_has_no_control() -> None:
    for recipe, field in {"class2img": "label", "semantic2img": "segmentation"}.items():
        system = ldmkit.build(recipe)
        with gradio.Blocks():
            shown = controls((c for _, c in system.named_conditioners()), facts_of(system))
        assert [control.fields for control in shown] == [(field,)]


def test_a_field_that_a_conditioner_and_guidance_read_has_one_control():
    words = {"caption": {"name": "text-transformer", "width": 32, "layers": 1, "length": 8}}
    system = built(words, guidance=[{"name": "clip", "cutouts": 0}])
    with gradio.Blocks():
        read = [c for _, c in system.named_conditioners()]
        conditions = controls(read, Facts(None, {}, (), (32, 32)), system.guided_kinds)
    assert [one.fields for one in conditions] == [("caption",)]


def test_a_picture_with_its_mask_is_shown_once_where_conditioner_and_guidance_read_it(tmp_path):
    from ldmkit_serve.app import page

    system = built({"known": {"name": "masked-image"}}, guidance=[{"name": "known-region"}])
    shown = [
        block for block in page(system, tmp_path).blocks.values() if getattr(block, "label", "") == "picture"
    ]
    uploads = [block for block in shown if getattr(block, "interactive", None) is not False]
    assert len(uploads) == 1
