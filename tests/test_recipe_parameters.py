from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from ldmkit.engine import components
from ldmkit.errors import UserError
from ldmkit.host.descriptions import documented_parameters, field_type
from ldmkit.host.parameters import parameters_of
from ldmkit.host.registry import Entry, Registry
from ldmkit.recipe import Component, resolve_component
from ldmkit.types import LatentSpec


def entry(kind: str, name: str, attribute: str) -> Entry:
    return Entry(kind, name, f"toy_components:{attribute}", "A toy.", "toys", "1.0")


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toys"))
    made = Registry()
    for kind, name, attribute in (
        ("features", "lite", "Features"),
        ("features", "bare", "Bare"),
        ("loss", "losses", "Losses"),
        ("compression", "model", "Model"),
        ("compression", "heir", "Heir"),
        ("denoiser", "network", "Network"),
        ("spacing", "toy", "spacing"),
    ):
        made.add(entry(kind, name, attribute))
    return made


def component(name: str, **parameters) -> Component:
    return Component(name=name, parameters=parameters)


def test_defaults_are_filled_in_and_numbers_take_their_type(registry):
    made = resolve_component("compression", component("model", rate=1, size=[4, 4]), registry)
    assert made.flat() == {
        "name": "model",
        "width": 32,
        "rate": 1.0,
        "multipliers": (1, 2),
        "size": (4, 4),
        "mode": "sum",
        "flag": False,
        "text": None,
    }
    assert type(made.parameters["rate"]) is float


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"width": "4"}, "width (model): should be a valid integer, not '4'"),
        ({"width": True}, "width (model): should be a valid integer, not True"),
        ({"width": 4.0}, "width (model): should be a valid integer, not 4.0"),
        ({"width": 0}, "width (model): should be greater than 0, not 0"),
        ({"rate": "5e-4"}, "rate (model): should be a valid number, not '5e-4'"),
        ({"rate": float("inf")}, "rate (model): should be a finite number, not inf"),
        ({"flag": 1}, "flag (model): should be a valid boolean, not 1"),
        ({"text": 5}, "text (model): should be a valid string, not 5"),
        ({"mode": "sun"}, "mode (model): should be 'sum' or 'mean', not 'sun'"),
        ({"multipliers": [1, "2"]}, "multipliers.1 (model): should be a valid integer, not '2'"),
        ({"size": "x"}, "size (model): should be a valid integer or a list, not 'x'"),
        ({"widht": 4}, "compression (model): unknown key 'widht'; did you mean 'width'?"),
        ({"zzz": 4}, "unknown key 'zzz'; there are: width, rate, multipliers, size, mode, flag, text"),
    ],
)
def test_nothing_is_coerced_and_each_mistake_is_one_line(registry, given, said):
    with pytest.raises(UserError) as caught:
        resolve_component("compression", component("model", **given), registry)
    assert str(caught.value).endswith(said)
    assert "\n" not in str(caught.value)


def test_nested_components_are_checked_where_they_stand(registry):
    given = component(
        "losses", features={"name": "lite", "pth": "x"}, parts=["losses", {"name": "nope"}], weight=-1
    )
    with pytest.raises(UserError) as caught:
        resolve_component("loss", given, registry)
    assert str(caught.value).splitlines() == [
        "loss.features (lite): unknown key 'pth'; did you mean 'path'?",
        "loss.parts.0 (losses): 'features' is missing",
        "loss.parts.1: no plugin provides loss 'nope'; installed: losses",
        "loss.weight (losses): should be greater than or equal to 0, not -1",
    ]


def test_nested_components_are_built_first(registry):
    inner = {"name": "losses", "features": "bare"}
    given = component(
        "losses", features={"name": "lite", "path": "a/b"}, parts=[inner], extra={"name": "toy", "rho": 3}
    )
    made = components.build(registry, "loss", given)
    assert made.features.path == Path("a/b")
    assert type(made.parts[0].features).__name__ == "Bare"
    assert made.extra("schedule", 5) == ("schedule", 5, None, 3.0)


def test_what_a_constructor_asks_for_is_supplied_by_name(registry):
    latent = LatentSpec(4, 8)
    made = components.build(
        registry, "denoiser", component("network", width=7), latent=latent, compression=None
    )
    assert (made.latent, made.out_channels, made.width) == (latent, 3, 7)


def test_what_is_not_supplied_is_named(registry):
    with pytest.raises(
        UserError, match=r"denoiser \(network\): needs 'latent', which this place does not supply"
    ):
        components.build(registry, "denoiser", component("network", width=7))


def test_functions_become_partials_of_their_parameters(registry):
    made = components.build(registry, "spacing", component("toy"))
    assert isinstance(made, partial)
    assert made("schedule", 3) == ("schedule", 3, None, 7.0)


def test_a_constructors_value_error_is_the_users(registry):
    with pytest.raises(UserError, match=r"^compression \(model\): width 1001 is more than anyone has$"):
        components.build(registry, "compression", component("model", width=1001))


@pytest.mark.parametrize(
    ("kind", "attribute", "said"),
    [
        ("objective", "Swallows", "'**kwargs' is refused: name every parameter"),
        ("objective", "Positional", "positional parameter 'width' is not supplied by build"),
        ("conditioner", "Clashes", "parameter 'dropout' has the name of a key that every conditioner has"),
        ("objective", "Unhinted", "parameter 'width' has no annotation"),
        ("objective", "Odd", "module"),
        ("objective", "factory", "function refused: only sampler and spacing may be one"),
        ("objective", "Missing", "has no attribute 'Missing'"),
    ],
)
def test_a_signature_that_breaks_the_rules_is_refused_naming_plugin_and_component(
    registry, kind, attribute, said
):
    with pytest.raises(UserError) as caught:
        parameters_of(entry(kind, f"toy-{attribute}", attribute))
    assert str(caught.value).startswith(f"{kind} 'toy-{attribute}' of toys 1.0 cannot be used: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parameters_are_described_by_docstring_and_type(registry):
    declared = parameters_of(registry.get("loss", "losses"))
    meanings = {name: field.description for name, field in declared.model.model_fields.items()}
    assert meanings == {
        "features": "a required component.",
        "extra": "an optional one, told on two lines.",
        "parts": "a list of them.",
        "weight": "a number.",
    }
    fields = parameters_of(registry.get("compression", "model")).model.model_fields
    assert {name: field_type(field) for name, field in fields.items()} == {
        "width": "int > 0",
        "rate": "float",
        "multipliers": "list of int",
        "size": "int | [int, int]",
        "mode": "sum | mean",
        "flag": "bool",
        "text": "str | null",
    }


def test_docstring_sections_end_at_the_next_one():
    class Documented:
        """One.

        Args:
            a, b: both
                of them.

        Returns:
            c: not a parameter.
        """

    assert documented_parameters(Documented) == {"a": "both of them.", "b": "both of them."}


def test_parameters_that_a_constructor_passes_on_are_its_own(registry):
    heir = registry.get("compression", "heir").load()
    fields = parameters_of(registry.get("compression", "heir")).model.model_fields
    assert {name: field.default for name, field in fields.items()} == {"extra": "x", "rate": 0.0, "width": 8}
    assert field_type(fields["width"]) == "int > 0"
    assert documented_parameters(heir) == {
        "width": "of the network.",
        "rate": "of dropout, none by default.",
        "extra": "its own.",
    }
    assert heir(width=2).built == (4, 2, 0.0)
