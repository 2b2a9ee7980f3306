"""What a locale without the letters of a command line ends in."""

from __future__ import annotations

import os
import subprocess
import sys

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WRITES = """
import sys
from pathlib import Path
from ldmkit.cli import failures
with failures.reported(debug=False):
    Path(chr(0xC5EC)).write_text("")
"""


def said(*arguments: str, **environment: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, check=False
    )
    return done.returncode, done.stderr.decode().splitlines()


def test_letters_that_the_locale_lacks_are_told_with_the_way_out() -> None:
    for arguments in (("-m", "ldmkit", "check", "여우.yaml"), ("-c", WRITES)):
        code, lines = said(*arguments, **ASCII)
        assert (code, len(lines)) == (2, 1)
        assert "the locale's encoding, ascii, lacks letters" in lines[0]
        assert "PYTHONUTF8=1" in lines[0]
    code, lines = said("-m", "ldmkit", "check", "여우.yaml", **{**ASCII, "PYTHONUTF8": "1"})
    assert (code, lines) == (2, ["error: 여우.yaml: no such recipe file"])
