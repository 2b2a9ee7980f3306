"""A package holds every file that its recipe names by a path, and nothing beside them; it opens elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from small_recipes import PIXELS, UNET
from tiny_pipelines import PROMPT, stable_diffusion

import ldmkit
from ldmkit.cli import main
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.interchange import import_model
from ldmkit.recipe import Recipe, complete
from ldmkit.verbs.package.paths import Carried

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
SAMPLE = {"prompts": [PROMPT], "size": [16, 16], "count": 2}


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def carried(folder: Path, **sections: Any) -> tuple[Recipe, dict[str, Path]]:
    """The recipe of a package, and its files, of a recipe in a folder."""
    recipe = {**PIXELS, "name": "named", **sections}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    files = Carried(complete(folder / "recipe.yaml"), host().registry)
    return files.moved(), files.files


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an imported Stable Diffusion, whose weights are numbers of float16, with other files in
    it."""
    place = tmp_path_factory.mktemp("imported")
    pipeline = stable_diffusion()
    for part in (pipeline.unet, pipeline.vae):
        part.half().float()
    pipeline.save_pretrained(place / "pipeline")
    recipe = import_model(place / "pipeline", place / "model", None, None, lambda line: None)
    values = yaml.safe_load(recipe.read_text())
    values["sampler"]["steps"] = 2
    recipe.write_text(yaml.safe_dump({**values, "sample": SAMPLE}))
    (place / "model/notes").mkdir()
    (place / "model/notes/private.txt").write_text("unrelated")
    return place / "model"


def test_an_imported_text_model_draws_from_its_package_alone(imported: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    shutil.copytree(imported, given)
    assert call("sample", str(given), "--out", str(tmp_path / "before")).exit_code == 0
    packed = tmp_path / "packed"
    done = call("package", str(given), "-o", str(packed), "--wheel", str(tmp_path / "dist"))
    assert done.exit_code == 0, done.output
    held = {
        path.relative_to(given) for part in ("text_encoder", "tokenizer") for path in given.glob(f"{part}/*")
    }
    weights = {"compression.safetensors", "diffusion.safetensors", "manifest.json"}
    others = {"README.md", "recipe.yaml", "training.yaml", "pictures", "files"}
    assert {one.name for one in packed.iterdir()} == weights | others
    (path,) = (packed / "files").iterdir()
    copied = {one for one in path.rglob("*") if one.is_file()}
    assert {one.relative_to(path) for one in copied} == held
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with ZipFile(wheel) as archive:
        names = "\n".join(archive.namelist())
    assert all(f"model/{one.relative_to(packed).as_posix()}" in names for one in copied)

    shutil.rmtree(given)
    moved = packed.rename(tmp_path / "elsewhere")
    assert str(tmp_path) not in (moved / "recipe.yaml").read_text()
    drawn = ldmkit.build(moved).sample([PROMPT], seed=0)[0]
    first = sorted((tmp_path / "before").glob("000-*.png"))[0]
    assert drawn.tobytes() == Image.open(first).tobytes()
    (picture,) = moved.glob("pictures/000-*.png")
    again = call("sample", str(moved), "--again", str(picture), "--out", str(tmp_path / "again"))
    assert again.exit_code == 0, again.output
    (one,) = (tmp_path / "again").glob("000-*.png")
    assert Image.open(one).tobytes() == Image.open(picture).tobytes() == drawn.tobytes()


def test_a_moved_package_draws_again_from_the_picture_that_it_holds(imported: Path, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((16, 16)).convert("RGB").save(tmp_path / "sketch.png")
    start = f"sample.init={tmp_path / 'sketch.png'}"
    done = call("package", str(imported), "-o", str(tmp_path / "packed"), "-s", start)
    assert done.exit_code == 0, done.output
    moved = (tmp_path / "packed").rename(tmp_path / "moved")
    (tmp_path / "sketch.png").unlink()
    (picture,) = moved.glob("pictures/000-*.png")
    again = call("sample", str(moved), "--again", str(picture), "--out", str(tmp_path / "again"))
    assert again.exit_code == 0, again.output
    (one,) = (tmp_path / "again").glob("000-*.png")
    assert Image.open(one).tobytes() == Image.open(picture).tobytes()


def test_what_lies_in_the_recipes_own_folder_unsorted_is_refused(imported: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    shutil.copytree(imported, given)
    for path in (*(given / "tokenizer").iterdir(),):
        path.rename(given / path.name)
    (given / "tokenizer").rmdir()
    done = call("package", str(given), "-o", str(tmp_path / "packed"))
    assert done.exit_code == 2
    (line,) = (one for one in done.output.splitlines() if one.startswith("error: "))
    assert "conditioners.caption.path" in line
    assert "put what is read there into a folder of its own" in line
    assert not (tmp_path / "packed").exists()


def test_links_are_not_followed_out_of_a_folder(imported: Path, tmp_path: Path) -> None:
    text = {"caption": {"name": "pretrained-text", "path": "encoder"}}
    shutil.copytree(imported / "text_encoder", tmp_path / "encoder")
    _, files = carried(tmp_path, conditioners=text)
    assert sorted(files) == [
        f"files/conditioners-caption-path/{name}" for name in ("config.json", "model.safetensors")
    ]
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "encoder/vocab.json").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"^conditioners\.caption\.path: .*vocab\.json leads out of"):
        carried(tmp_path, conditioners=text)
    (tmp_path / "encoder/vocab.json").unlink()
    (tmp_path / "encoder/more").symlink_to(imported)
    with pytest.raises(UserError, match=r"more is a link to a folder"):
        carried(tmp_path, conditioners=text)


def test_files_of_any_component_and_those_that_are_read_beside_them(tmp_path: Path) -> None:
    for name in (
        "a/denoiser.xml",
        "a/denoiser.bin",
        "a/other.bin",
        "b/clip.pt",
        "b/tokenizer.json",
        "b/x.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    network = {"path": "b/clip.pt", "architecture": "ViT-B-32"}
    recipe, files = carried(
        tmp_path,
        denoiser={"name": "exported", "file": "a/denoiser.xml", "runtime": "openvino"},
        guidance=[{"name": "clip", "network": network, "scale": 2.0, "prompt": "a hat"}],
        data={"name": "image-folder", "path": "pictures", "size": 8},
    )
    assert recipe.denoiser is not None
    assert recipe.data is not None
    named = [recipe.denoiser.parameters["file"], recipe.guidance[0].parameters["network"]["path"]]
    assert [files[name].relative_to(tmp_path).as_posix() for name in named] == ["a/denoiser.xml", "b/clip.pt"]
    sources = sorted(path.relative_to(tmp_path).as_posix() for path in files.values())
    assert sources == ["a/denoiser.bin", "a/denoiser.xml", "b/clip.pt", "b/tokenizer.json"]
    assert recipe.data.parameters["path"] == "pictures"


def test_what_is_not_there_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    metric = {"name": "frechet", "features": {"name": "efficientnet-lite0", "path": "gone.pth"}}
    with pytest.raises(UserError, match=r"^evaluate\.metrics\.0\.features\.path: .*gone\.pth is not there"):
        carried(tmp_path, evaluate={"metrics": [metric]})
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_pictures_of_one_name_are_both_carried(tmp_path: Path) -> None:
    for name in ("a/map.png", "b/map.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    recipe, files = carried(tmp_path, denoiser=UNET, sample={"fields": {"map": ["a/map.png", "b/map.png"]}})
    names = recipe.sample.fields["map"]
    assert [files[name].parent.name for name in names] == ["a", "b"]
