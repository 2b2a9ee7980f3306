"""The stranger's denoiser as the paper's code would have published it."""

from __future__ import annotations

from ldmkit import keymaps
from ldmkit.keymaps import Rule, check_entries


class WindsKeys:
    """Published as `weather.models.WindNet`; the time's layer is a convolution there."""

    classes = ("weather.models.WindNet",)
    rules = tuple(
        Rule(f"{own}.{kind}", (f"{theirs}.{kind}",), axes=4 if kind == "weight" else None)
        for own, theirs in (("first", "input"), ("time", "emb"), ("last", "out"))
        for kind in ("weight", "bias")
    )

    def parameters(self, config):
        check_entries(config, ("model_channels",), required=("model_channels",))
        return {"width": config["model_channels"]}

    def config(self, parameters):
        return {"model_channels": parameters["width"]}

    def load(self, tensors, module):
        return keymaps.load(self.rules, tensors, module)

    def save(self, module):
        return keymaps.save(self.rules, module)
