"""The native and the Python way of sealing, for the tests that hold for both."""

from __future__ import annotations

import os

import pytest

from security.crypto import native


def require_native() -> native.Way:
    """The native way. Continuous integration fails without it; elsewhere a compiler may be missing."""
    if native.NATIVE is None:
        if os.environ.get("CI"):
            pytest.fail(f"The native module of sealing isn't there: {native.PROBLEM}")
        pytest.skip("The native module of sealing wasn't built.")
    return native.NATIVE


@pytest.fixture(scope="module", params=["native", "python"])
def way(request):
    """Both ways one after another; keys that a test makes are for the one in force."""
    if request.param == "native":
        require_native()
    native.choose(native=request.param == "native")
    yield request.param
    native.choose(native=True)
