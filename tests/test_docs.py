"""The docs run: Python and commands in their order, and the output that a page shows is the one that comes.

A block of `python` or `bash` is executed; `output` is what the block before it prints; `sh` is only shown.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from forks import commands

from ldmkit.cli import main
from ldmkit.host.catalogue import WITHOUT_PARAMETERS
from ldmkit.host.plugins import host

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FIGURE = r"\d+(?:[.,]\d+)*|\.\d+"
BLOCK = re.compile(r"^```(python|bash|output)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = "plugin-tutorial"
"""The page that installs something: a test of its own runs it in an environment of its own."""
PAGES = [
    path
    for path in sorted(DOCS.glob("*.md"))
    if BLOCK.search(path.read_text(encoding="utf-8")) and ".ko." not in path.name and path.stem != ELSEWHERE
]
"""Korean pages have the blocks of the English ones, which a test below holds."""


def run_python(text, names):
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        exec(compile(text, "page", "exec"), names)  # our own pages, run as a reader would run them
    return stream.getvalue()


def run_commands(text, programs):
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", text], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def programs():
    """`ldmkit` as it answers in any shell; that a fresh process does is shown by the tutorial's test."""
    with commands() as folder:
        yield folder


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_what_a_page_runs_works_and_prints_what_the_page_shows(page, programs, tmp_path, monkeypatch):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    names, printed = {"__name__": "page"}, ""
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "output":
            assert printed == text
        else:
            printed = run_python(text, names) if kind == "python" else run_commands(text, programs)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_links_between_pages_and_to_pictures_lead_somewhere(page):
    generated = {"components/index.md", "commands.md", "changelog.md"}
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, _ = target.partition("#")
        if path and "://" not in path:
            assert path in generated or (page.parent / path).exists(), target


def test_every_page_is_there_in_both_languages():
    pages = {path.name for path in DOCS.glob("*.md")} - {"commands.md", "changelog.md"}
    korean = {name for name in pages if name.endswith(".ko.md")}
    assert {name.removesuffix(".md") for name in pages - korean} == {
        name.removesuffix(".ko.md") for name in korean
    }


def test_every_page_is_in_the_menu_once():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    menu = re.findall(r"[\w/-]+\.md", text[text.index("\nnav:") : text.index("\nmarkdown_extensions:")])
    pages = [path.name for path in DOCS.glob("*.md") if ".ko." not in path.name]
    assert sorted(menu) == sorted({*pages, "commands.md", "changelog.md", "components/index.md"})


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.ko.md")), ids=lambda path: path.stem)
def test_a_korean_page_shows_the_blocks_of_the_english_one(page):
    korean, english = (
        re.findall(r"^```.*?^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for path in (page, page.with_name(page.name.replace(".ko.", ".")))
    )
    assert korean == english


def sections(page):
    """The parts between headings, without blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.split(r"^#+ .*$", text, flags=re.MULTILINE)


def rows(section):
    """Of each row of a table, the figures and what is set as code: both are the same in every language."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [re.findall(r"`[^`]+`|" + FIGURE, line) for line in lines]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.ko.md")), ids=lambda path: path.stem)
def test_a_korean_page_has_the_figures_of_the_english_one_section_by_section(page):
    pair = sections(page), sections(page.with_name(page.name.replace(".ko.", ".")))
    for korean, english in zip(*pair, strict=True):
        assert rows(korean) == rows(english)
        # Korean writes some numbers as digits that English writes as words, never the other way round.
        assert not Counter(re.findall(FIGURE, english)) - Counter(re.findall(FIGURE, korean))
        code = [set(re.findall(r"`[^`]+`", re.sub(r"\s+", " ", section))) for section in (english, korean)]
        assert code[0] <= code[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as the docs' own command builds it; warnings are errors."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_is_built_without_a_warning_in_both_languages(site):
    assert (site / "index.html").exists()
    assert 'lang="ko"' in (site / "ko/index.html").read_text(encoding="utf-8")


def test_every_component_and_every_command_has_its_place_in_the_site(site):
    missing = []
    for entry in [e for e in host().registry if e.kind not in WITHOUT_PARAMETERS]:
        page = (site / f"components/{entry.kind}/index.html").read_text(encoding="utf-8")
        if f">{entry.name}<" not in page:
            missing.append(f"{entry.kind} {entry.name}")
    commands = (site / "commands/index.html").read_text(encoding="utf-8")
    missing += [verb for verb in main.list_commands(None) if f"ldmkit {verb}<" not in commands]
    assert missing == []


def test_the_menu_leads_to_the_pages_of_all_kinds_and_to_the_changelog(site):
    page = (site / "ko/index.html").read_text(encoding="utf-8")
    for path in ("components/sampler/", "changelog/", "plugin-tutorial/"):
        assert re.search(rf'href="[./]*{path}" class="md-nav__link"', page), path
    assert "Unreleased" in (site / "changelog/index.html").read_text(encoding="utf-8")
