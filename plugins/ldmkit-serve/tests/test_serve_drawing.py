"""How often the page is told of a picture that forms, and that it can be stopped."""

from __future__ import annotations

import time
from types import SimpleNamespace

import PIL.Image
import pytest
import torch
from ldmkit_serve.drawing import LOOK, PREVIEWS, TELL, Pace, draw


class Slow:
    """A system whose steps take `pause` seconds; it counts what its decoder is asked for."""

    def __init__(self, steps, pause):
        self.steps, self.pause, self.decoded, self.done = steps, pause, 0, 0
        self.compression = SimpleNamespace(decode=self.decode)

    def decode(self, latent):
        self.decoded += 1
        return latent

    def sample(self, callback):
        for step in range(1, self.steps + 1):
            time.sleep(self.pause)
            callback(step / self.steps, torch.zeros(1, 3, 8, 8))
            self.done = step
        return [PIL.Image.new("RGB", (8, 8), "red")]


def test_a_picture_that_is_soon_finished_is_not_shown_before():
    system = Slow(steps=25, pause=0)
    (*before, last) = draw(system, {})
    assert last.finished
    assert last.picture.getpixel((0, 0)) == (255, 0, 0)
    assert [step for step in before if step.picture] == []
    assert system.decoded == 0


def test_a_picture_that_takes_longer_is_shown_while_it_forms():
    system = Slow(steps=8, pause=LOOK / 3)
    steps = list(draw(system, {}))
    assert 1 <= system.decoded == sum(step.picture is not None for step in steps) - 1 < PREVIEWS
    assert [step.share for step in steps] == sorted(step.share for step in steps)


@pytest.mark.parametrize(("seconds", "looks"), [(0.4, 0), (1.0, 1), (3.1, 5), (60, 5)])
def test_looks_are_rare_in_time_and_in_steps(seconds, looks):
    pace = Pace(0, 0)
    assert sum(pace.look(step / 1000, seconds * step / 1000) for step in range(1, 1001)) == looks


def test_words_of_progress_leave_the_page_time():
    pace = Pace(0, 0)
    assert sum(pace.tell(step / 1000) for step in range(1, 1001)) in (round(1 / TELL) - 1, round(1 / TELL))


def test_closing_stops_the_drawing():
    system = Slow(steps=1000, pause=0.02)
    steps = draw(system, {})
    next(steps)
    steps.close()
    time.sleep(0.2)
    done = system.done
    time.sleep(0.2)
    assert system.done == done < 1000
