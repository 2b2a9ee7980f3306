"""Settings of a request that did not come from the page's own controls."""

from __future__ import annotations

import gradio
import pytest
from ldmkit_serve.settings import request


@pytest.mark.parametrize(("seed", "steps"), [(-1, 4), (2**40, 4), (0, 0), (0, 10**6), (None, None)])
def test_seeds_and_steps_beyond_what_the_page_offers_are_refused(seed, steps):
    parts = {"seed": gradio.Number(), "steps": gradio.Number(), "init": gradio.Image()}
    with pytest.raises(ValueError, match="seeds go from 0"):
        request([], parts, [seed, steps, None])
