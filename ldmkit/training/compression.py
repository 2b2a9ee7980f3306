"""Stage one: E and D under reconstruction losses, a regulariser and an adversary (the paper, section 3.1)."""

from __future__ import annotations

from functools import lru_cache

import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ldmkit.engine.components import build
from ldmkit.engine.data import of_one_shape
from ldmkit.engine.parts import Parts
from ldmkit.engine.weights import stage_state
from ldmkit.interfaces import Adversary, Dataset
from ldmkit.pictures import to_pictures
from ldmkit.pictures.png import grid
from ldmkit.recipe.stages import CompressionTraining, StageName
from ldmkit.training.compression_step import CompressionDraws, CompressionStep, DiscriminatorStep
from ldmkit.training.data import Examples, images_of
from ldmkit.training.draws import Batches, generator_of, seed_of
from ldmkit.training.latents import LatentMoments
from ldmkit.training.look_pictures import named_images
from ldmkit.training.optim import check_parts, optimizer_of
from ldmkit.training.promises import try_losses
from ldmkit.training.stage import Learner
from ldmkit.training.taps import last_weight
from ldmkit.types import Image

SHOWN = 8
"""Validation pictures in the grid."""
MEASURED = 2048
"""Training pictures, evenly spaced, on which the latent's scale and shift are measured."""
VALIDATED = 512
"""Validation pictures that each validation looks at, at most."""


class CompressionStage:
    """Stage one as the loop sees it."""

    name: StageName = "compression"

    def __init__(self, system: Parts, options: CompressionTraining, data: Dataset) -> None:
        self.options, self._system, self._device = options, system, system.device
        self._train, self._validation = (Examples(data.split(n), ["image"]) for n in ("train", "validation"))
        self._buckets = self._train.buckets
        self._model = system.compression
        if options.only is None:
            self._model.scale.fill_(1.0)
            self._model.shift.fill_(0.0)
        losses = [build(system.registry, "loss", loss).to(self._device) for loss in options.loss]
        self._adversary = (
            build(system.registry, "adversary", options.adversary).to(self._device)
            if options.adversary
            else None
        )
        first = images_of([self._train[self._buckets[0][0]]] * 2).to(self._device)
        try_losses(losses, self._adversary, options, first)
        last = self._last_weight() if self._adversary is not None else None
        self._step = CompressionStep(self._model, losses, self._adversary, options, last)
        self.learners = self._learners(self._adversary)
        self._order = Batches([*map(len, self._buckets)], options.batch, options.seed, self.name)
        self._drawn = lru_cache(maxsize=1)(self._draw)

    def _learners(self, adversary: Adversary | None) -> list[Learner]:
        make = optimizer_of(self._system.registry, self.options)
        learners = [Learner(self.name, self._step, self.options, make=make)]
        if adversary is not None:
            step = DiscriminatorStep(adversary)
            learners.append(Learner("discriminator", step, self.options, adversary.trains, make))
        check_parts(self.options, [name for learner in learners for name in learner.parameters])
        return learners

    def _last_weight(self) -> nn.Parameter:
        """The weight of the decoder's last layer, found by decoding one latent of zeros."""
        spec = self._model.latent
        latent = torch.zeros(1, spec.channels, *self._size(0), device=self._device)
        return last_weight(self._model, lambda: self._model.decode(latent))

    def averaged(self) -> dict[str, nn.Parameter]:
        """The autoencoder's weights."""
        return {f"compression.{n}": p for n, p in self._model.named_parameters() if p.requires_grad}

    def weights(self) -> dict[str, Tensor]:
        """The compression model."""
        return stage_state(self._system, self.name)

    def state(self) -> dict[str, Tensor]:
        """The compression model, the learned log-variance and the discriminator."""
        state = self.weights()
        if self._step.log_variance is not None:
            state["log_variance"] = self._step.log_variance.detach()
        if self._adversary is not None:
            state |= {f"adversary.{name}": value for name, value in self._adversary.state_dict().items()}
        return state

    def batch(self, step: int, rows: slice) -> tuple[dict[str, Tensor], CompressionDraws]:
        """Pictures and posterior noise for some rows of a step."""
        draws = self._drawn(step)
        flip = None if draws.flip is None else draws.flip[rows]
        following = self._chosen(step + 1, rows), self._keys(step + 1, rows)
        chosen = self._chosen(step, rows)
        examples = self._train.read(chosen, self._keys(step, rows), then=following)
        image = named_images(self._train, chosen, examples, flip).to(self._device)
        return {"image": image}, CompressionDraws(step, draws.noise[rows].to(self._device), flip)

    def _chosen(self, step: int, rows: slice) -> list[int]:
        bucket = self._buckets[self._order.bucket(step)]
        return [bucket[place] for place in self._order.places(step, rows)]

    def _keys(self, step: int, rows: slice) -> list[int] | None:
        """Keys for random crops, where the data set has any."""
        if not self._train.drawn:
            return None
        seed = self.options.seed
        return [seed_of(seed, self.name, step, "view", row) for row in range(rows.start, rows.stop)]

    def _size(self, bucket: int) -> tuple[int, int]:
        """The (h, w) of the latents of a bucket."""
        height, width = self._train[self._buckets[bucket][0]]["image"].shape[1:]
        return height // self._model.latent.factor, width // self._model.latent.factor

    def _draw(self, step: int) -> CompressionDraws:
        """The draws of the whole global batch."""
        generator, channels = generator_of(self.options.seed, self.name, step), self._model.latent.channels
        size = self._size(self._order.bucket(step))
        flip = torch.rand(self.options.batch, generator=generator) < 0.5 if self.options.flip else None
        noise = torch.randn(self.options.batch, channels, *size, generator=generator)
        return CompressionDraws(step, noise, flip)

    @torch.no_grad()
    def validate(self, rank: int, world: int) -> dict[str, Tensor]:
        """Sums of the reconstruction loss and the PSNR (in dB, of each picture) of the posterior's mode."""
        self._step.eval()
        sums = {key: torch.zeros((), device=self._device) for key in ("loss", "psnr", "count")}
        for i, examples in enumerate(self._validation.batches(self.options.batch, VALIDATED)):
            if i % world == rank:
                image = images_of(examples).to(self._device)
                reconstruction = self._model.decode(self._model.encode(image))
                sums["loss"] += self._step.nll(reconstruction, image) * len(image)
                sums["psnr"] += psnr(reconstruction, image).sum()
                sums["count"] += len(image)
        self._step.train()
        return sums

    @torch.no_grad()
    def picture(self) -> PIL.Image.Image:
        """Validation pictures above their reconstructions."""
        self._step.eval()
        examples = next(self._validation.batches(SHOWN))
        image = images_of(examples).to(self._device)
        reconstruction = self._model.decode(self._model.encode(image))
        self._step.train()
        return grid(to_pictures(torch.cat([image, reconstruction])), columns=len(examples))

    @torch.no_grad()
    def complete(self) -> None:
        """Measures the latent's scale and shift on the training pictures' posteriors, where they are new."""
        if self.options.only == "decoder":
            return
        self._step.eval()
        stride = max(1, len(self._train) // MEASURED)
        moments = LatentMoments()
        for chosen in of_one_shape(range(0, len(self._train), stride), self._buckets):
            for start in range(0, len(chosen), self.options.batch):
                image = images_of(self._train.read(chosen[start : start + self.options.batch]))
                posterior = self._model.posterior(image.to(self._device))
                moments.add(posterior.mode, posterior.std)
        mean, std = moments.mean_and_std()
        self._model.shift.copy_(mean)
        self._model.scale.copy_(1 / std.clamp_min(1e-6))


def psnr(reconstruction: Image, image: Image) -> Float[Tensor, " b"]:
    """Peak signal to noise of each picture, in dB, over all its pixels; pictures in [-1, 1]."""
    error = ((reconstruction.clamp(-1, 1) - image) / 2).square().mean((1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10()
