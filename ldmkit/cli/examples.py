"""What `ldmkit VERB --help` shows at its end: calls that people make."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "ldmkit run recipes/text2img.yaml",
        "ldmkit run text2img --prompt 'a red apple' --count 8 --seed 7 -o apples",
        "ldmkit run recipes/text2img.yaml -s sampler.steps=50 --dry-run",
    ),
    "train": (
        "ldmkit train recipes/own/unconditional.yaml -s data.path=$PWD/my-pictures",
        "ldmkit train recipes/finetune.yaml --from text2img",
        "accelerate launch --num_processes 2 -m ldmkit train recipes/text2img.yaml",
    ),
    "sample": (
        "ldmkit sample text2img --prompt 'a red apple' -o apples",
        "ldmkit sample recipes/img2img.yaml --init photo.png --strength 0.6",
        "ldmkit sample text2img --again apples/000.png",
    ),
    "evaluate": (
        "ldmkit evaluate recipes/class2img.yaml",
        "ldmkit evaluate recipes/inpaint.yaml -s evaluate.metrics.0.pictures=16 --out quick",
    ),
    "report": ("ldmkit report text2img", "ldmkit report runs/first runs/second -o compared.html"),
    "runs": ("ldmkit runs", "ldmkit runs list --json", "ldmkit runs clean text2img"),
    "encode": (
        "ldmkit encode text2img my-pictures latents",
        "ldmkit encode recipes/text2img.yaml my-pictures latents --dry-run",
    ),
    "decode": (
        "ldmkit decode recipes/text2img.yaml latents pictures",
        "ldmkit decode text2img latents pictures --device cpu",
    ),
    "check": (
        "ldmkit check recipes/text2img.yaml --explain",
        "ldmkit check recipes/own/class2img.yaml --data -s data.path=$PWD/my-pictures",
    ),
    "diff": (
        "ldmkit diff text2img text2img-fast",
        "ldmkit diff recipes/text2img.yaml runs/text2img/diffusion-5147f1848116 --json",
    ),
    "doctor": ("ldmkit doctor", "ldmkit doctor --json > about-this-machine.json"),
    "plugins": ("ldmkit plugins", "ldmkit plugins sampler ddim", "ldmkit plugins conditioner --json"),
    "plugins list": ("ldmkit plugins list", "ldmkit plugins sampler ddim --json"),
    "plugins install": (
        "ldmkit plugins install ldmkit-serve",
        "ldmkit plugins install dist/my_sampler-0.1.0-py3-none-any.whl --yes",
    ),
    "plugins uninstall": (
        "ldmkit plugins uninstall ldmkit-serve",
        "ldmkit plugins uninstall my-sampler --yes",
    ),
    "plugins check": ("ldmkit plugins check", "ldmkit plugins check --json"),
    "recipes": ("ldmkit recipes", "ldmkit recipes my-recipes"),
    "schema": ("ldmkit schema -o recipe.schema.json", "ldmkit schema | less"),
    "import": (
        "ldmkit import model.ckpt imported --config v1-inference.yaml",
        "ldmkit import stable-diffusion-folder imported",
    ),
    "export": (
        "ldmkit export imported/recipe.yaml published --format diffusers",
        "ldmkit export text2img text2img-onnx --format onnx",
    ),
    "package": (
        "ldmkit package text2img -o text2img-model --license mit",
        "ldmkit package text2img -o text2img-model --license mit --wheel dist --version 0.2.0",
    ),
    "push": ("ldmkit push text2img-model me/text2img", "ldmkit push text2img-model me/text2img --private"),
    "completion": (
        'eval "$(ldmkit completion bash)"',
        "ldmkit completion fish > ~/.config/fish/completions/ldmkit.fish",
    ),
    "new-plugin": ("ldmkit new-plugin my-sampler", "ldmkit new-plugin my-words --kind conditioner"),
}
"""Calls by verb. Each of its words is one that the verb has: a test parses them all."""


def epilog(verb: str) -> str | None:
    """The lines for click, which keeps their breaks."""
    calls = EXAMPLES.get(verb, ())
    return "\n".join(["\b", "Examples:", *(f"  {call}" for call in calls)]) if calls else None
