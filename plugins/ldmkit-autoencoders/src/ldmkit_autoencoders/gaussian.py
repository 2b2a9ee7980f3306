"""KL-reg: a diagonal Gaussian posterior with a small KL penalty towards N(0, I)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from ldmkit.types import Latent, Posterior


class Gaussian(nn.Module):
    """KL-reg: the encoder gives a mean and a log-variance for each number of the latent.

    The penalty pulls that distribution towards N(0, I). Source: Rombach et al. 2022, section 3.1.
    """

    def moments(self, channels: int) -> int:
        """A mean and a log-variance for each channel."""
        return 2 * channels

    def mode(self, moments: Float[Tensor, "b k h w"]) -> Latent:
        """The mean: the first half of the channels."""
        return moments.chunk(2, dim=1)[0]

    def posterior(self, moments: Float[Tensor, "b k h w"]) -> Posterior:
        """N(mean, exp(log-variance)), the log-variance clamped to [-30, 20]; the penalty is
        1/2 sum(mean^2 + variance - 1 - log-variance) over a picture's latent, in nats."""
        mean, log_variance = moments.chunk(2, dim=1)
        log_variance = log_variance.clamp(-30.0, 20.0)
        nats = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
        return Posterior(mean, (0.5 * log_variance).exp(), nats.flatten(1).sum(1))

    def restore(self, latent: Latent) -> Latent:
        """The latent itself."""
        return latent
