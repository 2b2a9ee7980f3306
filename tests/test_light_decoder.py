"""A decoder that is trained alone, over the latents of another model, and paints what is sampled of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file
from small_recipes import AUTOENCODER, LATENTS
from torch import Tensor

import ldmkit
from ldmkit.cli import main
from ldmkit.pictures import to_tensor
from ldmkit.recipe import digest
from ldmkit.recipe.resolve import complete

LIGHT = {**AUTOENCODER, "decoder_width": 64, "decoder_blocks": 1}
COMPRESSION: dict[str, Any] = {"steps": 2, "batch": 4, "lr": 1e-2, "loss": ["pixel"]}
RECIPE: dict[str, Any] = {
    **LATENTS,
    "name": "whole",
    "data": {"name": "image-folder", "path": "pictures", "size": 16},
    "train": {"compression": COMPRESSION, "diffusion": {"steps": 1, "batch": 4, "lr": 1e-3}},
    "sampler": {"name": "ddim", "steps": 2},
}
FIRST_STAGE: dict[str, Any] = {key: RECIPE[key] for key in ("recipe", "data")}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with pictures and a trained model, `runs/whole`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        Image.new("RGB", (16, 16), (20 * i, 30, 255 - 20 * i)).save(tmp_path / "pictures" / f"{i}.png")
    write("whole", RECIPE)
    assert call("run", "whole.yaml").exit_code == 0
    return tmp_path


def write(name: str, recipe: dict[str, Any], **changes: Any) -> None:
    Path(f"{name}.yaml").write_text(yaml.safe_dump({**recipe, "name": name, **changes}))


def write_light(compression: Any = LIGHT, weights: Any = "runs/whole", **training: Any) -> None:
    """A recipe that trains a decoder alone."""
    train = {"compression": {**COMPRESSION, "only": "decoder", **training}}
    named = {} if weights is None else {"weights": weights}
    write("light", FIRST_STAGE, compression=compression, train=train, **named)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def first_stage(name: str) -> dict[str, Tensor]:
    (file,) = Path("runs", name).glob("compression-*/compression.safetensors")
    return load_file(file)


def test_the_encoder_stays_and_the_decoder_learns() -> None:
    write_light()
    result = call("train", "light.yaml")
    assert result.exit_code == 0, result.output
    assert "the decoder alone learns; " in result.output
    before, after = first_stage("whole"), first_stage("light")
    kept = {"compression.scale", "compression.shift"} | {
        n for n in before if n.startswith(("compression.encoder", "compression.to_moments"))
    }
    assert all(torch.equal(before[n], after[n]) for n in kept)
    assert not torch.equal(before["compression.from_latent.weight"], after["compression.from_latent.weight"])
    assert after["compression.decoder.conv_in.weight"].shape[0] == 64


def test_it_goes_on_where_it_was() -> None:
    """In two pieces as in one: what is kept is found again."""
    write_light(steps=4)
    call("train", "light.yaml")
    whole = first_stage("light")
    write_light(steps=4, checkpoint_every=2)
    pieces = ("train", "light.yaml", "--runs", "pieces")
    for steps in (2, 4):
        result = call(*pieces, "-s", f"train.compression.steps={steps}")
        assert result.exit_code == 0, result.output
    newest = max(Path("pieces/light").glob("*/compression.safetensors"), key=lambda p: p.stat().st_mtime)
    assert "2 to 4" in result.output or "step 2" in result.output
    assert all(torch.equal(whole[n], x) for n, x in load_file(newest).items())


def test_a_codebook_stays_too() -> None:
    """It follows the latents of each training pass, where its average does."""
    vq = {**AUTOENCODER, "name": "vq-autoencoder", "codebook_size": 8, "ema": 0.5, "revive_after": 1}
    write("vq", FIRST_STAGE, compression=vq, train={"compression": COMPRESSION})
    assert call("train", "vq.yaml").exit_code == 0
    write_light({**vq, "decoder_width": 64}, "runs/vq")
    assert call("train", "light.yaml").exit_code == 0
    before, after = first_stage("vq"), first_stage("light")
    assert all(torch.equal(before[n], after[n]) for n in before if "regulariser" in n)


def test_it_paints_what_a_model_of_the_same_latents_samples() -> None:
    write_light()
    call("train", "light.yaml")
    write("fast", RECIPE, sample={"decoder": "runs/light"}, weights="runs/whole", train={})
    light, whole = ldmkit.build("fast.yaml"), ldmkit.build("whole.yaml")
    (picture,), (other,) = (system.sample(count=1, size=(16, 16)) for system in (light, whole))
    latent = whole.sample_latent({}, seeds=[0], size=(16, 16))
    alone = ldmkit.build("light.yaml").compression.decode(latent).detach()
    assert (to_tensor(picture) - (alone[0].clamp(-1, 1) + 1) * 127.5).abs().max() <= 1
    assert picture.tobytes() != other.tobytes()
    assert "sample.decoder" in repr(light)


def test_pictures_are_determined_by_it_and_trainings_are_not() -> None:
    write_light()
    call("train", "light.yaml")
    plain, painted = complete("whole.yaml"), complete("whole.yaml", ["sample.decoder=runs/light"])
    assert digest(plain, "diffusion") == digest(painted, "diffusion")
    assert digest(plain, "samples") != digest(painted, "samples")


def test_a_package_carries_it() -> None:
    write_light()
    call("train", "light.yaml")
    write("fast", RECIPE, sample={"decoder": "runs/light", "count": 1, "size": [16, 16]})
    assert call("run", "fast.yaml").exit_code == 0
    result = call("package", "fast.yaml", "-o", "model", "--license", "mit")
    assert result.exit_code == 0, result.output
    for gone in ("runs", "fast.yaml", "light.yaml"):
        Path(gone).rename(f"{gone}.gone")
    (drawn,) = ldmkit.build("model/recipe.yaml").sample(count=1, size=(16, 16))
    packed = yaml.safe_load(Path("model/recipe.yaml").read_text())
    assert packed["sample"]["decoder"] == "decoder"
    assert drawn.tobytes() == Image.open(next(Path("model/pictures").glob("*.png"))).convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("compression", "weights", "said"),
    [
        (LIGHT, None, "train.compression.only keeps a trained model's encoder: name the model in `weights`"),
        ({**LIGHT, "blocks": 2}, "runs/whole", "train.compression.only keeps the encoder"),
        ({**LIGHT, "decoder_multipliers": [1, 2]}, "runs/whole", "2 decoder_multipliers for 3 levels"),
    ],
)
def test_a_decoder_without_its_encoder_is_refused(compression: Any, weights: Any, said: str) -> None:
    write_light(compression, weights)
    result = call("train", "light.yaml")
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_decoder_of_other_latents_is_refused() -> None:
    for name, compression in (("other", AUTOENCODER), ("wider", {**AUTOENCODER, "channels": 3})):
        write(name, FIRST_STAGE, compression=compression, train={"compression": {**COMPRESSION, "seed": 1}})
        assert call("train", f"{name}.yaml").exit_code == 0
    Path("empty").mkdir()
    for named, said in {
        "runs/other": "is of other latents than this recipe's: those of one picture differ by",
        "runs/wider": "latents of 3 channels at 1/4 of the size",
        "runs/gone": "sample.decoder: no folder",
        "empty": "sample.decoder: no compression.safetensors",
    }.items():
        result = call("sample", "whole.yaml", "-s", f"sample.decoder={named}")
        assert result.exit_code == 2, named
        assert said in result.stderr
        assert "\n" not in result.stderr.strip()


def test_a_decoder_that_is_not_there_is_told_before_the_training() -> None:
    result = call("run", "whole.yaml", "-s", "name=fresh", "-s", "sample.decoder=runs/gone")
    assert result.exit_code == 2
    assert "sample.decoder: no folder" in result.stderr
    assert not Path("runs/fresh").exists()


def test_check_names_the_file() -> None:
    write_light()
    call("train", "light.yaml")
    result = call("check", "whole.yaml", "--data", "-s", "sample.decoder=runs/light")
    assert result.exit_code == 0, result.output
    assert "sample.decoder: runs/light/compression-" in result.output
