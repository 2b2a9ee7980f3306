from __future__ import annotations

import pytest

from ldmkit.errors import UserError
from ldmkit.recipe.yaml import read_text


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5e-4", 5e-4),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("6.", 6.0),
        ("017", 17),
        ("0x1F", 31),
        ("+3", 3),
        ("1_000", "1_000"),
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("~", None),
        ("", None),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("빨간 사과", "빨간 사과"),
        ("[1, {a: b}]", (1, {"a": "b"})),
    ],
)
def test_scalars_are_read_as_a_person_means_them(written, value):
    read = read_text(f"key: {written}", "x")[0]["key"]
    assert read == value
    assert type(read) is type(value)


def test_anchors_serve_within_the_budget():
    assert read_text("{a: &x [1, 2], b: *x}", "x")[0] == {"a": (1, 2), "b": (1, 2)}
    with pytest.raises(UserError, match="its aliases stand for more than 10000 values"):
        read_text("{a: &x [" + "1, " * 999 + "1], b: [" + "*x, " * 10 + "]}", "x")


def test_places_are_kept_of_keys_and_values():
    source = read_text("a:\n  b: [1,\n    two]\n", "my.yaml")[1]
    assert source.where(("a", "b"), key=True) == "my.yaml:2:3"
    assert source.where(("a", "b", 1)) == "my.yaml:3:5"
    assert source.where(("a", "b", 7, "x")) == "my.yaml:2:6"  # the nearest that is known
