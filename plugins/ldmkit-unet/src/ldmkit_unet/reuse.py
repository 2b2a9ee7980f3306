"""Deep features between the calls that compute them."""

from __future__ import annotations

from collections.abc import Callable

from ldmkit_unet.blocks import FeatureMap

ORDER = 2
"""Of the polynomial that forecasts: a parabola through the last three maps that were computed."""


class Forecast:
    """A feature map for each call of one sampling, computed at the first of every `interval` calls.

    Between two of these it is forecast from the last ones that were computed: it changes slowly from step to
    step. Ma et al. 2024, "DeepCache", keep the last as it is; Liu et al. 2025, "From Reusing to Forecasting",
    equation 5, of second order, with Newton's backward differences.
    """

    def __init__(self, interval: int) -> None:
        self._interval, self._calls = interval, 0
        self._differences: list[FeatureMap] = []

    def __call__(self, compute: Callable[[], FeatureMap]) -> FeatureMap:
        """The map of this call."""
        since = self._calls % self._interval
        self._calls += 1
        if since == 0:
            self._add(compute())
            return self._differences[0]
        return self._ahead(since / self._interval)

    def _add(self, computed: FeatureMap) -> None:
        """Renews the map and its differences of first and second order, as far as there are earlier maps."""
        before, self._differences = self._differences[:ORDER], [computed]
        for difference in before:
            self._differences.append(self._differences[-1] - difference)

    def _ahead(self, share: float) -> FeatureMap:
        """The map a share of an interval after the last one that was computed."""
        forecast, *differences = self._differences
        weight = 1.0
        for order, difference in enumerate(differences, 1):
            weight *= (share + order - 1) / order
            forecast = forecast.add(difference, alpha=weight)
        return forecast
