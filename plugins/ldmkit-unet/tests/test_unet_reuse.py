"""Forecasts of deep features between the calls that compute them."""

from __future__ import annotations

import pytest
import torch
from ldmkit_unet.reuse import Forecast


def trace(interval, calls, value):
    """The forecasts of every call, and at which calls the map was computed."""
    forecast, computed = Forecast(interval), []

    def at(call):
        computed.append(call)
        return torch.full((1, 2, 1, 1), value(call))

    return [float(forecast(lambda c=call: at(c))[0, 0]) for call in range(calls)], computed


@pytest.mark.parametrize("interval", [2, 3, 5])
def test_a_parabola_is_forecast_exactly_from_the_third_computed_map_on(interval):
    def value(call):
        return 1 - 0.2 * call + 0.03 * call**2

    forecasts, computed = trace(interval, 4 * interval, value)
    assert computed == [0, interval, 2 * interval, 3 * interval]
    start = 2 * interval
    assert forecasts[start:] == pytest.approx([value(call) for call in range(start, 4 * interval)], abs=1e-5)


def test_fewer_maps_give_a_straight_line_and_a_constant():
    forecasts, _ = trace(3, 6, lambda call: float(call**2))
    assert forecasts == pytest.approx([0, 0, 0, 9, 12, 15])


def test_an_interval_of_one_computes_every_map():
    forecasts, computed = trace(1, 4, float)
    assert (forecasts, computed) == ([0, 1, 2, 3], [0, 1, 2, 3])
