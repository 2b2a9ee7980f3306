"""The report shows a sample of the data as training sees them, and escapes its words."""

from __future__ import annotations

import io
import json
import shutil
import tarfile

import numpy as np
import PIL.Image
import pytest
import yaml
from click.testing import CliRunner
from small_recipes import AUTOENCODER

from ldmkit.cli import main
from ldmkit.verbs.report import write_report
from ldmkit.verbs.report.remembered import kept_sample
from ldmkit.verbs.report.seen import SHOWN, sample_of

HOSTILE = "<script>alert(1)</script> & </figcaption>"
TEXT = {"caption": {"name": "text-transformer", "width": 32, "layers": 1, "length": 8}}
MAPS = {"map": {"name": "spatial-rescaler", "classes": 23, "channels": 3, "stages": 0}}
BOXES = {
    "layout": {"name": "text-transformer", "field": "layout", "tokenizer": "boxes", "width": 32, "layers": 1,
               "length": 92, "vocabulary": 80}
}  # fmt: skip
LABELS = {"label": {"name": "class-embedding", "classes": 9, "width": 32}}
AVATARS = {"name": "avatars", "size": 64, "count": 30}


def run_of(folder, data, conditioners, **stage):
    """A run's folder with its recipe and a line of its log."""
    recipe = {
        "recipe": 1,
        "name": "seen",
        "data": data,
        "compression": {"name": "identity"},
        "conditioners": conditioners,
        "denoiser": {"name": "unet", "width": 64, "multipliers": [1], "blocks": 1, "attention": [1]},
        "train": {"diffusion": {"steps": 4, "batch": 2, "lr": 0.001, **stage}},
    }
    stage_folder = folder / "diffusion-0123456789ab"
    stage_folder.mkdir(parents=True)
    (stage_folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (stage_folder / "metrics.jsonl").write_text(json.dumps({"step": 1, "seconds": 1.0, "loss": 1.0}) + "\n")
    return folder


def seen(folder):
    return sample_of("seen", folder / "diffusion-0123456789ab" / "recipe.yaml")


def noise(seed, size=32):
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures whose names and captions are hostile."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = [f"{i} <img src=x onerror=alert(1)>.png" for i in range(30)]
    for i, name in enumerate(names):
        noise(i).save(folder / name)
    rows = [{"file_name": name, "caption": HOSTILE} for name in names]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize(
    ("data", "conditioners", "others", "words"),
    [
        ({"name": "emoji", "size": 32}, TEXT, [], "caption"),
        (AVATARS, MAPS, ["segmentation"], None),
        (AVATARS, BOXES, ["layout"], "layout"),
        (AVATARS, LABELS, [], "label"),
        ({"name": "with-masks", "of": AVATARS}, {"hole": {"name": "masked-image"}}, ["mask"], None),
        ({"name": "with-low-res", "of": AVATARS, "factor": 4},
         {"small": {"name": "low-res", "field": "low_res", "factor": 4}}, ["low_res"], None),
    ],
)  # fmt: skip
def test_each_condition_is_beside_its_picture(tmp_path, data, conditioners, others, words):
    sample = seen(run_of(tmp_path / "run", data, conditioners))
    assert len(sample.examples) == SHOWN, sample.line
    for example in sample.examples:
        assert [picture.words for picture in example.pictures] == ["image", *others]
        assert [field for field, _ in example.words] == ([words] if words else [])


def test_classes_and_boxes_are_called_by_their_names(tmp_path):
    boxes = seen(run_of(tmp_path / "boxes", AVATARS, BOXES)).examples
    labels = seen(run_of(tmp_path / "labels", AVATARS, LABELS)).examples
    assert any("eyes" in text for example in boxes for _, text in example.words)
    assert not any("class " in text for example in (*boxes, *labels) for _, text in example.words)


def test_file_names_and_captions_of_a_folder_are_escaped(tmp_path, pictures):
    data = {"name": "image-folder", "path": str(pictures), "size": 32}
    run = run_of(tmp_path / "run", data, TEXT)
    page = write_report([run], tmp_path / "page.html").read_text()
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;/figcaption&gt;") == SHOWN
    assert "alert(1)" not in page.replace("&lt;script&gt;alert(1)&lt;/script&gt;", "")


def test_shards_are_shown_with_their_captions(tmp_path):
    with tarfile.open(tmp_path / "000.tar", "w") as tar:
        for i in range(40):
            stream = io.BytesIO()
            noise(i).save(stream, "PNG")
            for suffix, content in ((".png", stream.getvalue()), (".txt", HOSTILE.encode())):
                member = tarfile.TarInfo(f"{i:03d}{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    data = {"name": "webdataset", "path": str(tmp_path / "{000..000}.tar"), "size": 32}
    run = run_of(tmp_path / "run", data, TEXT)
    page = write_report([run], tmp_path / "page.html").read_text()
    assert page.count("caption: &lt;script&gt;") == SHOWN
    assert "<script>alert" not in page


def test_pictures_and_maps_are_mirrored_together_as_training_does(tmp_path):
    plain, turned = (seen(run_of(tmp_path / str(flip), AVATARS, MAPS, flip=flip)) for flip in (False, True))
    same = [
        [one.source == other.source for one, other in zip(a.pictures, b.pictures, strict=True)]
        for a, b in zip(plain.examples, turned.examples, strict=True)
    ]
    assert [True, True] in same
    assert [False, False] in same
    assert "mirrored" in turned.line


def test_data_that_are_gone_are_a_remark(tmp_path):
    run = run_of(tmp_path / "run", {"name": "image-folder", "path": f"/no/<b>{HOSTILE[:8]}"}, TEXT)
    page = write_report([run], tmp_path / "page.html").read_text()
    assert "The data cannot be shown" in page
    assert "UserError" not in page
    assert "<b>" not in page.split("The data cannot be shown")[1].split("</p>")[0]


def test_relative_paths_start_at_the_recipe_that_is_named_not_in_the_run(tmp_path, pictures, monkeypatch):
    data = {"name": "image-folder", "path": "pictures", "size": 32}
    run = run_of(tmp_path / "runs" / "seen", data, {})
    noise(0).save(run / "diffusion-0123456789ab" / "pictures.png")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    kept = run / "diffusion-0123456789ab" / "recipe.yaml"
    assert sample_of("seen", kept).examples == ()
    assert len(sample_of("seen", kept, [tmp_path]).examples) == SHOWN
    (tmp_path / "seen.yaml").write_text(kept.read_text())
    words = ["report", str(tmp_path / "seen.yaml"), "--runs", str(tmp_path / "runs"), "-o", "page.html"]
    outcome = CliRunner().invoke(main, words)
    assert outcome.exit_code == 0, outcome.output
    assert "pictures to train on" in (tmp_path / "elsewhere" / "page.html").read_text()


def test_a_finished_training_keeps_its_sample_and_the_data_may_go(tmp_path, pictures, monkeypatch):
    model = {**AUTOENCODER, "factor": 2, "channels": 2, "multipliers": [1, 1]}
    training = {"steps": 1, "batch": 2, "lr": 0.001, "loss": ["pixel"]}
    recipe = {
        "recipe": 1,
        "name": "small",
        "data": {"name": "image-folder", "path": "pictures", "size": 32},
        "compression": model,
        "train": {"compression": training},
    }
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(recipe))
    done = CliRunner().invoke(main, ["train", "small.yaml"])
    assert done.exit_code == 0, done.output
    (folder,) = (path.parent for path in (tmp_path / "runs/small").glob("compression-*/recipe.yaml"))
    read = sample_of("small", folder / "recipe.yaml", [tmp_path])
    assert len(read.examples) == SHOWN
    shutil.rmtree(pictures)
    assert kept_sample("small", folder) == read
    page = write_report([tmp_path / "runs/small"], tmp_path / "page.html").read_text()
    assert "pictures to train on" in page
    assert "cannot be shown" not in page


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"line": "", "examples": [{"pictures": [{"source": "http://a/b.png", "words": ""}], "words": []}]}',
    ],
)
def test_a_kept_sample_that_is_none_is_passed_over(tmp_path, text):
    (tmp_path / "sample.json").write_text(text)
    assert kept_sample("run", tmp_path) is None
