"""Files of weights: which of them are read, and that nothing in them or around them is."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ldmkit.artifacts import (
    check_numbers,
    check_sha256,
    installed_files,
    packaged_file,
    read_folder,
    read_tensors,
)
from ldmkit.checkpoint.sums import sha256
from ldmkit.errors import Note, UserError

A, B = torch.arange(4.0), torch.ones(2, 3)


def test_numbers_of_numpy_beside_the_tensors_are_read_past(tmp_path):
    content = {
        "state_dict": {"a": A},
        "lr_schedulers": [{"_last_lr": [np.float64(1e-5), np.float32(1), np.int64(3)]}],
        "loss": np.linspace(0, 1, 5),
    }
    torch.save(content, tmp_path / "model.ckpt")
    assert torch.equal(read_tensors(tmp_path / "model.ckpt")["a"], A)


class Runs:
    """Unpickled by a careless reader, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("where", ["beside", "inside an array"])
def test_a_file_that_would_run_code_is_refused_without_bad_advice(tmp_path, where):
    harm = Runs(tmp_path / "ran")
    odd = np.array([harm], dtype=object) if where == "inside an array" else harm
    torch.save({"state_dict": {"a": A}, "odd": odd}, tmp_path / "model.ckpt")
    with pytest.raises(UserError, match=r"mkdir.*not unpickled") as caught:
        read_tensors(tmp_path / "model.ckpt")
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "model.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.ckpt: cannot be read") as caught:
        read_tensors(tmp_path / "model.ckpt")
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_a_pointer_of_git_lfs_is_told_with_the_way_out(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(UserError, match="git lfs pull"):
        read_tensors(path)


def save(path, **tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)


def test_the_plain_file_comes_before_variants_and_fp16_before_others(tmp_path):
    save(tmp_path / "model.ema.safetensors", a=A + 2)
    assert torch.equal(read_folder(tmp_path, "model")["a"], A + 2)
    save(tmp_path / "model.fp16.safetensors", a=A + 1)
    assert torch.equal(read_folder(tmp_path, "model")["a"], A + 1)
    save(tmp_path / "model.safetensors", a=A)
    assert torch.equal(read_folder(tmp_path, "model")["a"], A)


@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_shards_are_joined(tmp_path, variant):
    names = [f"model{variant}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    save(tmp_path / names[0], a=A)
    save(tmp_path / names[1], b=B)
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (tmp_path / f"model.safetensors.index{variant}.json").write_text(json.dumps(index))
    assert read_folder(tmp_path, "model").keys() == {"a", "b"}


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/etc/passwd", "link.safetensors", "x.bin", 7])
def test_an_index_that_names_files_elsewhere_is_refused(tmp_path, name):
    folder = tmp_path / "model"
    save(tmp_path / "elsewhere.safetensors", a=A)
    folder.mkdir()
    (folder / "link.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match=r"leads out|no safetensors file|no index"):
        read_folder(folder, "model")


def test_a_link_that_leads_out_is_refused_but_not_that_of_the_hubs_cache(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    save(tmp_path / "models--a--b" / "blobs" / "digest", a=A)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/digest")
    assert torch.equal(read_folder(snapshot, "model")["a"], A)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").symlink_to(tmp_path / "models--a--b" / "blobs" / "digest")
    with pytest.raises(UserError, match="leads out of"):
        read_folder(tmp_path / "other", "model")


def test_pickles_of_a_folder_are_told(tmp_path):
    torch.save({"a": A}, tmp_path / "model.bin")
    with pytest.raises(UserError, match=r"no model\.safetensors; pickled weights are not read here"):
        read_folder(tmp_path, "model")


def test_files_of_packages_are_found_without_importing_them():
    assert any(path.name == "core_schema.py" for path in installed_files("pydantic_core"))
    assert installed_files("no-such-distribution") == []
    assert packaged_file("ldmkit", "py.typed").is_file()
    assert packaged_file("ldmkit", "no-such-file") is None


def test_a_file_is_held_against_its_digest(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    check_sha256(tmp_path / "file", sha256(tmp_path / "file"), "")
    with pytest.raises(UserError, match=r"recorded 0000.*fetch it again"):
        check_sha256(tmp_path / "file", "0" * 64, "fetch it again")
    with pytest.raises(UserError, match="no such file; fetch it again"):
        check_sha256(tmp_path / "none", "0" * 64, "fetch it again")


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.float64])
def test_numbers_of_every_real_type_are_looked_at(kind):
    check_numbers({"x": torch.ones(3).to(kind)}, "file")
    with pytest.raises(UserError, match="file: x holds 1 of 3 entries that are NaN or infinite"):
        check_numbers({"x": torch.tensor([1.0, float("nan"), 2.0]).to(kind)}, "file")


@pytest.mark.parametrize("kind", [torch.float8_e8m0fnu, torch.float4_e2m1fn_x2, torch.int8, torch.complex64])
def test_types_that_are_no_real_number_an_entry_are_refused(kind):
    tensor = torch.zeros(16, dtype=torch.uint8).view(kind)
    with pytest.raises(UserError, match=r"file: x is of type \w+, not real"):
        check_numbers({"x": tensor}, "file")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["module.a", "module.b.c"], "module"),
        (["_orig_mod.a", "_orig_mod.b.c"], "_orig_mod"),
        (["module._orig_mod.a", "module._orig_mod.b.c"], "_orig_mod, module"),
        (["_forward_module.module.a", "_forward_module.module.b.c"], "_forward_module, module"),
        (["a", "b._checkpoint_wrapped_module.c"], "_checkpoint_wrapped_module"),
        (["_fsdp_wrapped_module.a", "_fsdp_wrapped_module.b._fsdp_wrapped_module.c"], "_fsdp_wrapped_module"),
    ],
)
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt", "folder"])
def test_names_that_a_wrapper_gave_are_the_models_own(tmp_path, names, told, suffix):
    tensors = dict(zip(names, (A, B), strict=True))
    path = tmp_path / f"m.{'ckpt' if suffix == 'ckpt' else 'safetensors'}"
    if suffix == "ckpt":
        torch.save({"state_dict": tensors}, path)
    else:
        save_file(tensors, path)
    with pytest.warns(Note, match=rf": {told} of a wrapper is left off"):
        found = read_folder(tmp_path, "m") if suffix == "folder" else read_tensors(path)
    assert found.keys() == {"a", "b.c"}
    assert torch.equal(found["a"], A)
    assert torch.equal(found["b.c"], B)


@pytest.mark.parametrize("names", [["module.a", "b"], ["a", "_orig_mod.a"], ["modules.a", "module.b"]])
def test_names_that_may_be_the_models_own_stay(tmp_path, names):
    save_file(dict(zip(names, (A, B), strict=True)), tmp_path / "m.safetensors")
    assert read_tensors(tmp_path / "m.safetensors").keys() == set(names)


def test_the_only_state_dict_in_a_file_is_read_and_told(tmp_path):
    optimizer = {"state": {0: {"step": 1}}, "param_groups": []}
    torch.save({"model": {"a": A}, "optimizer": optimizer, "epoch": 3, "ema": {}}, tmp_path / "m.pt")
    with pytest.warns(Note, match=r"the state dict under 'model' is read"):
        assert torch.equal(read_tensors(tmp_path / "m.pt")["a"], A)
    torch.save({"model": {"a": A}, "ema": {"a": A}}, tmp_path / "two.pt")
    with pytest.raises(UserError, match=r"holds several, model, ema: save one of them by itself"):
        read_tensors(tmp_path / "two.pt")
    torch.save({"state_dict": {"a": 3}, "ema": {"a": A}}, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=r"holds no state dict of tensors"):
        read_tensors(tmp_path / "odd.pt")


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.zeros(3, device="meta"), "meta"),
    ],
)
def test_tensors_without_a_number_for_each_entry_are_refused(tmp_path, odd, kind):
    torch.save({"state_dict": {"a": A, "b": odd}}, tmp_path / "m.ckpt")
    with pytest.raises(UserError, match=rf"m\.ckpt: b is a {kind} tensor, .* save it dense"):
        read_tensors(tmp_path / "m.ckpt")


def test_plain_values_among_the_tensors_are_left_aside_and_told(tmp_path):
    torch.save({"state_dict": {"a": A, "step": 5, "x._extra_state": None, "note": "n"}}, tmp_path / "m.ckpt")
    with pytest.warns(Note, match=r"left aside step, x\._extra_state, note: no tensors"):
        assert read_tensors(tmp_path / "m.ckpt").keys() == {"a"}


def test_safetensors_by_another_name_are_read(tmp_path):
    save_file({"a": A}, tmp_path / "m.ckpt")
    assert torch.equal(read_tensors(tmp_path / "m.ckpt")["a"], A)


def test_numbers_beyond_float32_are_refused():
    check_numbers({"a": A.double()}, "here")
    with pytest.raises(UserError, match=r"here: a holds 3 of 4 entries that are NaN or infinite"):
        check_numbers({"a": A.double() * 1e300}, "here")


def test_a_shard_that_is_not_there_is_named(tmp_path):
    save_file({"a": A}, tmp_path / "m-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}}
    (tmp_path / "m.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"names 'm-00002-of-00002\.safetensors', which is not there"):
        read_folder(tmp_path, "m")
