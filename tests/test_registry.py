from __future__ import annotations

import pytest

from ldmkit.errors import UserError
from ldmkit.host.registry import KINDS, Collector, DuplicateComponent, Entry, Registry


def entry(name: str, kind: str = "sampler", distribution: str = "one") -> Entry:
    return Entry(kind, name, "collections:OrderedDict", "A toy.", distribution, "1.0")


def test_components_are_found_by_kind_and_name_and_imported_on_demand():
    registry = Registry()
    registry.add(entry("ddim"))
    registry.add(entry("ddim", kind="spacing"))
    assert registry.get("sampler", "ddim").load().__name__ == "OrderedDict"
    assert [(e.kind, e.name) for e in registry] == [("sampler", "ddim"), ("spacing", "ddim")]


def test_a_missing_component_is_told_with_what_there_is():
    registry = Registry()
    registry.add(entry("ddim"))
    registry.add(entry("ddpm"))
    registry.broken = ["bad 1.0 (ImportError: no)"]
    with pytest.raises(UserError) as caught:
        registry.get("sampler", "dppm")
    assert str(caught.value) == (
        "no plugin provides sampler 'dppm'; installed: ddim, ddpm; did you mean 'ddpm'?; "
        "plugins that failed to load: bad 1.0 (ImportError: no)"
    )


def test_a_duplicate_is_refused_naming_both_distributions():
    registry = Registry()
    registry.add(entry("ddim"))
    with pytest.raises(
        DuplicateComponent, match=r"sampler 'ddim' of two 1\.0 is already provided by one 1\.0"
    ):
        registry.add(entry("ddim", distribution="two"))
    assert registry.get("sampler", "ddim").distribution == "one"


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"unknown kind 'samplr'; did you mean 'sampler'\?"):
        Registry().add(entry("ddim", kind="samplr"))


def test_a_registrar_stamps_its_distribution():
    registrar = Collector("mine", "2.0")
    registrar.add("sampler", "new", "m:f", "New.")
    assert registrar.entries == [Entry("sampler", "new", "m:f", "New.", "mine", "2.0")]


def test_each_protocol_has_a_kind_and_each_kind_a_line_of_doc():
    from ldmkit.interfaces import KIND_OF

    assert set(KIND_OF.values()) <= set(KINDS)
    assert all(KINDS.values())
