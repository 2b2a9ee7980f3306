"""A denoiser exported to a file draws what the original draws."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import ImageChops
from small_recipes import PIXELS, UNET

import ldmkit
from ldmkit.cli import main
from ldmkit.errors import UserError
from ldmkit.testing.registration import check_registration

RECIPE = {
    **PIXELS,
    "name": "small",
    "conditioners": {
        "caption": {"name": "text-transformer", "width": 16, "layers": 1, "heads": 2, "length": 6}
    },
    "denoiser": {**UNET, "multipliers": [1, 1], "attention": [2]},
    "sampler": {"name": "ddim", "steps": 3},
    "guidance": [{"name": "classifier-free", "scale": 2}],
    "sample": {"prompts": ["a red fox", "a hat"], "size": [16, 16]},
}
FORMATS = {"onnx": ("onnxruntime", "denoiser.onnx"), "openvino": ("openvino", "denoiser.xml")}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A recipe of random weights in a folder, none of which are zero."""
    from safetensors.torch import save_file

    from ldmkit.interchange.model import stage_tensors

    folder = tmp_path_factory.mktemp("original")
    with pytest.warns(UserWarning, match="no weights"):
        system = ldmkit.build(RECIPE)
    with torch.no_grad():
        for i, parameter in enumerate(system.parameters()):
            generator = torch.Generator().manual_seed(i)
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    for stage in ("compression", "diffusion"):
        save_file(stage_tensors(system, stage), folder / f"{stage}.safetensors")
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "weights": "."}))
    return folder / "recipe.yaml"


@pytest.fixture(scope="module", params=FORMATS)
def exported(request, original, tmp_path_factory):
    runtime, file = FORMATS[request.param]
    if importlib.util.find_spec(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    out = tmp_path_factory.mktemp("exported") / "out"
    done = CliRunner().invoke(main, ["export", str(original), str(out), "--format", request.param])
    assert done.exit_code == 0, done.output
    assert (out / file).is_file()
    return out


def test_registration():
    check_registration("ldmkit-runtimes")


def test_the_file_draws_what_the_network_draws(original, exported):
    there, here = ldmkit.build(original), ldmkit.build(exported / "recipe.yaml")
    assert not list(here.denoiser.parameters())
    conditions = there.condition({"caption": ["a red fox", "a blue hat", "two"]})
    noise = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = there.sample_latent(conditions, noise=noise)
    found = here.sample_latent(here.condition({"caption": ["a red fox", "a blue hat", "two"]}), noise=noise)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4
    pairs = zip(there.sample(), here.sample(), strict=True)
    assert all(max(b for _, b in ImageChops.difference(*pair).getextrema()) <= 1 for pair in pairs)


def test_it_says_how_near_it_is_and_what_it_takes(exported):
    about = json.loads((exported / "export.json").read_text())
    assert 0 <= about["difference"] < about["tolerance"] == 1e-4
    assert about["inputs"]["z"] == ["b", 3, 16, 16]
    assert about["inputs"]["tokens"] == ["b", 6, 16]


def test_the_command_line_samples_from_it(exported, tmp_path):
    recipe = exported / "recipe.yaml"
    done = CliRunner().invoke(main, ["sample", str(recipe), "--prompt", "hat", "--out", str(tmp_path / "o")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "o" / "grid.png").exists()


def test_a_file_that_is_not_there_or_broken_is_named(exported, tmp_path):
    file = yaml.safe_load((exported / "recipe.yaml").read_text())["denoiser"]["file"]
    with pytest.raises(UserError, match=r"denoiser \(exported\): no such file"):
        ldmkit.build(exported / "recipe.yaml", ["denoiser.file=nothing.onnx"])
    broken = exported / f"broken{Path(file).suffix}"
    broken.write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"denoiser \(exported\): .*broken.* cannot be loaded"):
        ldmkit.build(exported / "recipe.yaml", [f"denoiser.file={broken.name}"])


def test_a_library_that_is_missing_is_named(exported, monkeypatch):
    real = importlib.import_module

    def missing(name, *rest):
        if name in ("onnxruntime", "openvino"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"not installed: pip install 'ldmkit-runtimes\["):
        ldmkit.build(exported / "recipe.yaml")


def test_there_are_no_gradients(exported):
    system = ldmkit.build(exported / "recipe.yaml")
    conditions = next(iter(system.condition({"caption": ["hat"]}).values()))
    z = torch.zeros(1, 3, 16, 16, requires_grad=True)
    with pytest.raises(ValueError, match="no gradients"):
        system.denoiser(z, torch.zeros(1), conditions)


def test_a_graph_is_not_imported(exported, tmp_path):
    done = CliRunner().invoke(main, ["import", str(exported), str(tmp_path / "back")])
    assert done.exit_code == 2
