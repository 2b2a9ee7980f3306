"""Deep features between the calls that compute them."""

from __future__ import annotations

from collections.abc import Callable

from ldmkit_unet.blocks import FeatureMap


class Forecast:
    """A feature map for each call of one sampling, computed at the first of every `interval` calls.

    Between two of these it goes on in a straight line from the last two that were computed: it changes slowly
    from step to step. Ma et al. 2024, "DeepCache", keep the last as it is; Liu et al. 2025, "From Reusing to
    Forecasting", equation 5, of first order.
    """

    def __init__(self, interval: int) -> None:
        self._interval, self._calls = interval, 0
        self._last: FeatureMap | None = None
        self._change: FeatureMap | None = None

    def __call__(self, compute: Callable[[], FeatureMap]) -> FeatureMap:
        """The map of this call."""
        since = self._calls % self._interval
        self._calls += 1
        if self._last is None or since == 0:
            before, self._last = self._last, compute()
            self._change = None if before is None else self._last - before
        if since == 0 or self._change is None:
            return self._last
        return self._last.add(self._change, alpha=since / self._interval)
