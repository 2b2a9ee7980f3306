"""Values of every kind, and how an input is tried: refused in few words or taken, never without end.

`LDMKIT_FUZZ=1000 pytest tests/fuzz` tries a thousand inputs of each kind instead of a few.
"""

from __future__ import annotations

import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ldmkit.errors import UserError

TRIES = int(os.environ.get("LDMKIT_FUZZ", "25"))
GIGABYTE, SECONDS = 2**30, 10
LONGEST = 1500
UNSAFE = (
    "weights_only",
    "allow_pickle",
    "trust_remote_code",
    "allow_dangerous",
    "unsafe",
    "verify=false",
    "sudo",
)
"""What no message may advise, as those of the libraries below do."""
fuzzed = settings(
    max_examples=TRIES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize="LDMKIT_FUZZ" not in os.environ,
    print_blob=True,
)


def paths(value, at=()):
    """The path of every value of nested mappings and lists."""
    yield at
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in children:
        yield from paths(inner, (*at, key))


def changed(value, at, new):
    """A copy with the value at a path replaced."""
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = changed(value[at[0]], at[1:], new)
    return copy


texts = st.text(max_size=12) | st.sampled_from(
    ["", "ddim", "unet", "../x", "nan", "0x" + "f" * 5000, "\ud800"]
)
numbers = st.integers(-3, 70) | st.sampled_from([2**31, 2**63, 10**30, -1, 0]) | st.floats(width=32)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def tried(function, *arguments):
    """Calls it; a refusal must be of few words. In no more than a gigabyte and ten seconds of its own."""
    said = None
    try:
        with bounded():
            function(*arguments)
    except UserError as error:
        said = str(error)
    assert said is None or 0 < len(said) <= LONGEST
    assert not [advice for advice in UNSAFE if advice in (said or "").lower()], said


@contextmanager
def bounded():
    """Within, the system gives out a gigabyte more of memory, and after ten seconds of computing the test
    is interrupted: a hang fails, and does not hang."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc").is_dir() else 0
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGVTALRM, _too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        if pages:
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIGABYTE, limits[1]))
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _too_long(number, frame):
    raise AssertionError(f"over {SECONDS} seconds of computing")
