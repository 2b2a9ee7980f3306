"""A packaged model on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from ldmkit.checkpoint import files
from ldmkit.errors import UserError, on_one_line
from ldmkit.verbs.package.folder import recipe_in


def push(folder: Path, name: str, *, private: bool = False) -> str:
    """Uploads a package's folder as the model ORGANIZATION/NAME; the commit, to be named as `revision`.

    Where to and with which token, huggingface_hub decides (HF_ENDPOINT, HF_TOKEN, `hf auth login`). Raises
    UserError for a folder that is no package or is damaged, and where the hub refuses or is out of reach.
    """
    from huggingface_hub import HfApi

    recipe_in(folder)
    if damage := files.damage(folder):
        raise UserError(f"{folder}: {damage}; package the model again")
    try:
        hub = HfApi()
        hub.create_repo(name, private=private, exist_ok=True)
        commit = hub.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload by ldmkit")
    except Exception as error:  # what the hub's library raises depends on its version
        reason = on_one_line(error)
        raise UserError(f"{name}: the hub did not take it ({type(error).__name__}: {reason})") from error
    return str(commit.oid)
