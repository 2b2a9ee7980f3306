"""Landscape maps go on sideways without a seam and without forgetting what was there."""

from __future__ import annotations

import numpy as np
from ldmkit_avatars.styles import CLASSES
from ldmkit_avatars.wide import HILLS, SKY, SUN, WideMap


def test_a_wider_map_only_adds_columns() -> None:
    wide = WideMap(3, 64)
    whole = wide.columns(-100, 412)
    assert whole.shape == (64, 512)
    assert np.array_equal(wide.columns(50, 90), whole[:, 150:190])
    assert np.array_equal(WideMap(3, 64).columns(-100, -99), whole[:, :1])
    assert not np.array_equal(WideMap(4, 64).columns(-100, 412), whole)


def test_hills_have_no_seams() -> None:
    """Where squares meet, outlines move no more from column to column than inside the squares."""
    labels = WideMap(0, 64).columns(0, 768)
    for kind in HILLS:
        outline = (labels < kind).sum(0)
        steps = np.abs(np.diff(outline))
        assert steps.max() <= 6, CLASSES[kind]


def test_a_wide_map_has_the_classes_of_a_landscape_from_top_to_bottom() -> None:
    labels = WideMap(0, 64).columns(0, 512)
    assert set(np.unique(labels)) == {SKY, SUN, *HILLS}
    assert set(np.unique(labels[0])) <= {SKY, SUN}
    hills = np.where(labels == SUN, SKY, labels).astype(int)
    assert (np.diff(hills, axis=0) >= 0).all()
