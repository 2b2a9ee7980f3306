"""The plugin host, with distributions made of a module and its metadata on a path of their own."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from importlib.metadata import distributions, entry_points
from pathlib import Path

import pytest

from ldmkit.errors import UserError
from ldmkit.host.plugins import host, load_plugins

GOOD = """
from ldmkit.hookspecs import hookimpl
LDMKIT_API = 1
@hookimpl
def ldmkit_register(registry):
    registry.add("sampler", "{name}", "nowhere:nothing", "A toy.")
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes distributions (name to module source) and gives their entry points."""

    def install(**sources: str):
        for name, source in sources.items():
            (tmp_path / f"toy_{name}.py").write_text(source)
            info = tmp_path / f"{name}-1.5.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
            (info / "entry_points.txt").write_text(f"[ldmkit]\n{name} = toy_{name}\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()
        return [p for d in distributions(path=[str(tmp_path)]) for p in d.entry_points]

    yield install
    for name in [n for n in sys.modules if n.startswith("toy_")]:
        del sys.modules[name]


def names(loaded) -> list[str]:
    return [entry.name for entry in loaded.registry]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('no driver')", "RuntimeError: no driver"),
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
        (GOOD.replace("    registry", "    raise KeyError('x')\n    registry"), "KeyError: 'x'"),
        (GOOD.replace("ldmkit_register", "ldmkit_registr"), "unknown hook 'ldmkit_registr'"),
        (GOOD.replace("@hookimpl", ""), "implements no ldmkit_register hook"),
        (GOOD.replace("= 1", "= 3"), "states LDMKIT_API = 3; this ldmkit provides 2"),
        (GOOD.replace("LDMKIT_API = 1", ""), "states LDMKIT_API = None; this ldmkit provides 2"),
        (GOOD.replace("sampler", "samplr"), "unknown kind 'samplr'; did you mean 'sampler'?"),
        (GOOD.replace("(registry)", "(registri)"), "registri"),
    ],
)
def test_a_broken_plugin_is_kept_with_its_error_and_the_others_serve(installed, source, said):
    points = installed(bad=source.format(name="b"), good=GOOD.format(name="g"))
    loaded = load_plugins(points)
    assert names(loaded) == ["g"]
    (broken,) = loaded.broken
    assert (broken.distribution, broken.version) == ("bad", "1.5")
    assert said in broken.error
    with pytest.raises(
        UserError, match=r"no plugin provides sampler 'b'; .*plugins that failed to load: bad 1\.5"
    ):
        loaded.registry.get("sampler", "b")
    assert loaded.registry.get("sampler", "g")


def test_a_name_that_is_taken_is_refused_alone_naming_both(installed):
    second = GOOD.format(name="same") + '    registry.add("sampler", "own", "nowhere:nothing", "A toy.")\n'
    loaded = load_plugins(installed(one=GOOD.format(name="same"), two=second))
    assert names(loaded) == ["own", "same"]
    assert loaded.registry.get("sampler", "same").distribution == "one"
    (broken,) = loaded.broken
    assert broken.distribution == "two"
    assert "sampler 'same' of two 1.5 is already provided by one 1.5" in broken.error


def test_a_name_of_ours_stays_ours_whatever_the_other_distribution_is_called(installed):
    ours = [p for p in entry_points(group="ldmkit") if p.dist and p.dist.name == "ldmkit-diffusion"]
    taken = GOOD.format(name="ddim") + '    registry.add("sampler", "own", "nowhere:nothing", "A toy.")\n'
    loaded = load_plugins([*installed(aaa=taken), *ours])
    assert loaded.registry.get("sampler", "ddim").distribution == "ldmkit-diffusion"
    assert loaded.registry.get("sampler", "own").distribution == "aaa"
    assert [broken.distribution for broken in loaded.broken] == ["aaa"]


def test_the_distribution_installed_earlier_keeps_a_name(installed, tmp_path):
    points = installed(a=GOOD.format(name="same"), b=GOOD.format(name="same"))
    for name, installed_at in (("a", 2_000_000_000), ("b", 1_000_000_000)):
        info = tmp_path / f"{name}-1.5.dist-info"
        (info / "RECORD").write_text(f"{name}-1.5.dist-info/METADATA,,\n")
        os.utime(info / "METADATA", (installed_at, installed_at))
    assert load_plugins(points).registry.get("sampler", "same").distribution == "b"


UNSPEAKABLE = """
class Unspeakable(BaseException):
    def __str__(self):
        raise ValueError
raise Unspeakable
"""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (UNSPEAKABLE, "Unspeakable: (its text cannot be had)"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise ValueError('x\\n' * 50_000)", "ValueError: x x"),
        (GOOD.replace('"{name}"', "3"), "no line of text"),
        (GOOD.replace('"{name}"', "None"), "no line of text"),
        (GOOD.replace('"sampler"', "[]"), "no line of text"),
        (GOOD.replace('"{name}"', '"a\\nb"'), "no line of text"),
    ],
)
def test_whatever_a_plugin_raises_or_registers_the_others_serve(installed, source, said):
    loaded = load_plugins(installed(bad=source.replace("{name}", "b"), good=GOOD.format(name="g")))
    assert names(loaded) == ["g"]
    assert said in loaded.broken[0].error
    assert len(loaded.broken[0].error) <= 300


def test_what_a_plugin_prints_and_where_it_goes_stays_with_it(installed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    noisy = "import os, time\nprint('hello')\nos.chdir('/')\ntime.sleep(0.01)\n" + GOOD.format(name="n")
    loaded = load_plugins(installed(noisy=noisy))
    assert names(loaded) == ["n"]
    assert Path.cwd() == tmp_path
    assert capsys.readouterr() == ("", "hello\n")
    assert loaded.seconds["noisy"] >= 0.01


@pytest.mark.parametrize("end", ["", "raise ValueError('late')\n"])
def test_variables_and_warning_filters_stay_as_they_were(installed, monkeypatch, end):
    monkeypatch.setenv("LDMKIT_TEST_KEPT", "1")
    monkeypatch.setenv("LDMKIT_TEST_GONE", "2")
    monkeypatch.delenv("LDMKIT_TEST_NEW", raising=False)
    changes = (
        "import os, warnings\nwarnings.simplefilter('ignore')\nos.environ['LDMKIT_TEST_NEW'] = '3'\n"
        "os.environ['LDMKIT_TEST_KEPT'] = '4'\ndel os.environ['LDMKIT_TEST_GONE']\n"
    )
    filters = list(warnings.filters)
    points = installed(loud=changes + end + GOOD.format(name="n"))
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        load_plugins(points)
    assert list(warnings.filters) == filters
    kept = {name: os.environ.get(f"LDMKIT_TEST_{name}") for name in ("KEPT", "GONE", "NEW")}
    assert kept == {"KEPT": "1", "GONE": "2", "NEW": None}
    names = [f"LDMKIT_TEST_{name}" for name in ("GONE", "KEPT", "NEW")]
    said = [f"plugin loud changes {', '.join(names)}, warning filters when it is imported: put back"]
    assert [str(note.message) for note in notes] == ([] if end else said)


def test_plugins_that_are_turned_off_are_not_imported(installed):
    points = installed(off="raise AssertionError('imported')", on=GOOD.format(name="on"))
    loaded = load_plugins(points, without=["off"])
    assert (names(loaded), loaded.broken) == (["on"], ())


def test_the_environment_turns_distributions_off(monkeypatch):
    monkeypatch.setenv("LDMKIT_WITHOUT", "ldmkit-unet, ldmkit-text")
    host.cache_clear()
    try:
        owners = {entry.distribution for entry in host().registry}
    finally:
        monkeypatch.undo()
        host.cache_clear()
    assert owners.isdisjoint({"ldmkit-unet", "ldmkit-text"})
    assert "ldmkit-diffusion" in owners


def test_a_distribution_that_is_not_there_cannot_be_turned_off(monkeypatch):
    monkeypatch.setenv("LDMKIT_WITHOUT", "ldmkit-nuet")
    host.cache_clear()
    try:
        with pytest.raises(UserError, match="no plugin comes from ldmkit-nuet"):
            host()
    finally:
        monkeypatch.undo()
        host.cache_clear()


def test_every_installed_plugin_of_ours_keeps_the_contract_of_registration():
    from ldmkit.testing.registration import check_registration

    assert host().broken == ()
    owners = {entry.distribution for entry in host().registry}
    problems = []
    for owner in sorted(owners):
        try:
            check_registration(owner)
        except AssertionError as error:
            problems.append(str(error))
    assert problems == []
