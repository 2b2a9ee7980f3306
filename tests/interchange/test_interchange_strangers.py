"""A stranger's denoiser and its importer: a plugin brings both, and no file of ours is edited."""

from __future__ import annotations

import pytest
import torch
import yaml
from click.testing import CliRunner
from strange_format import PatchNetKeys

import ldmkit
from ldmkit import keymaps
from ldmkit.cli import main
from ldmkit.engine.system import assemble
from ldmkit.errors import UserError
from ldmkit.host.plugins import host
from ldmkit.host.registry import Entry
from ldmkit.interchange import export_model, import_model
from ldmkit.recipe import load, resolve
from ldmkit.testing.format import check_format

ENTRIES = [
    ("denoiser", "patch-net", "PatchNet"),
    ("keymap", "compvis/patch-net", "PatchNetKeys"),
    ("keymap", "strange/patch-net", "PatchNetKeys"),
    ("format", "strange", "StrangeFile"),
]


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
    """The stranger's distribution, installed."""
    registry = host().registry
    for kind, name, attribute in ENTRIES:
        entry = Entry(kind, name, f"strange_format:{attribute}", "A toy.", "strange", "1.0")
        monkeypatch.setitem(registry._entries, (kind, name), entry)


def model(compression, denoiser=None):
    torch.manual_seed(0)
    recipe = {
        "recipe": 1,
        "name": "strange",
        "compression": compression,
        "denoiser": denoiser or {"name": "patch-net", "width": 12},
        "sample": {"size": [8, 8]},
    }
    registry = host().registry
    return assemble(resolve(load(recipe), registry), registry).eval()


VQ = {"name": "vq-autoencoder", "factor": 2, "channels": 3, "codebook_size": 16, "width": 32, "blocks": 1}


def test_the_papers_single_file_holds_a_strange_denoiser(tmp_path):
    system = model({**VQ, "multipliers": [1, 1], "order": "legacy"})
    export_model(system, tmp_path / "out", "compvis")
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    section = config["model"]["params"]["unet_config"]
    assert section == {"target": "strange.models.PatchNet", "params": {"hidden": 12}}
    state = torch.load(tmp_path / "out" / "model.ckpt", weights_only=True)["state_dict"]
    assert state["model.diffusion_model.in_conv.weight"].shape == (12, 4, 1, 1)
    recipe = import_model(
        tmp_path / "out" / "model.ckpt", tmp_path / "in", tmp_path / "out" / "config.yaml", None, print
    )
    z, time = torch.randn(2, 3, 4, 4), torch.tensor([3.0, 800.0])
    assert torch.equal(ldmkit.build(recipe).denoise(z, time, {}), system.denoise(z, time, {}))


def test_a_format_of_ones_own_goes_in_and_out_by_the_command_line(tmp_path):
    system = model({"name": "identity"})
    export_model(system, tmp_path / "out", "strange")
    arguments = [str(tmp_path / "out" / "model.strange"), str(tmp_path / "in")]
    result = CliRunner().invoke(main, ["import", *arguments])
    assert result.exit_code == 0, result.output
    assert "a strange file" in result.output
    again = ldmkit.build(tmp_path / "in" / "recipe.yaml")
    z, time = torch.randn(2, 3, 8, 8), torch.tensor([3.0, 800.0])
    assert torch.equal(again.denoise(z, time, {}), system.denoise(z, time, {}))
    listed = CliRunner().invoke(main, ["plugins", "format"]).output
    assert "strange" in listed


def test_what_cannot_be_told_apart_is_asked_for(tmp_path, monkeypatch):
    import strange_format

    (tmp_path / "model.odd").write_bytes(b"")
    with pytest.raises(UserError, match="in no format that is known: name one with --format, of compvis"):
        import_model(tmp_path / "model.odd", tmp_path / "out", None, None, print)
    (tmp_path / "model.ckpt").write_bytes(b"")
    monkeypatch.setattr(strange_format.StrangeFile, "accepts", lambda self, source: True)
    with pytest.raises(UserError, match=r"may be in several formats \(compvis, strange\)"):
        import_model(tmp_path / "model.ckpt", tmp_path / "out", None, None, print)
    with pytest.raises(UserError, match=r"no plugin provides format 'strnge'.*did you mean 'strange'"):
        import_model(tmp_path / "model.ckpt", tmp_path / "out", None, None, print, format="strnge")


PLAIN = {**VQ, "multipliers": [1, 1], "order": "legacy"}


@pytest.mark.parametrize(
    ("name", "compression", "files"),
    [
        ("strange", {"name": "identity"}, ("model.strange",)),
        ("compvis", PLAIN, ("model.ckpt", "config.yaml")),
    ],
)
def test_formats_keep_their_promises(name, compression, files, tmp_path):
    check_format(name, model(compression), tmp_path, *files)


def test_a_folder_of_diffusers_keeps_its_promises(tmp_path):
    unet = {
        "name": "unet",
        "width": 32,
        "multipliers": [1, 1],
        "scale_shift": True,
        "blocks": 1,
        "attention": [],
    }
    check_format("diffusers", model(PLAIN, unet), tmp_path, "")


def test_a_format_that_loses_bits_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(PatchNetKeys, "save", lambda self, module: halved(keymaps.save(self.rules, module)))
    with pytest.raises(AssertionError, match=r"denoiser.* comes back bit for bit"):
        check_format("strange", model({"name": "identity"}), tmp_path, "model.strange")


def halved(tensors):
    return {name: tensor.half().float() for name, tensor in tensors.items()}
