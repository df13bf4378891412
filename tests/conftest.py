import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib.suite import Suite  # noqa: E402


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """One suite for a module's tests, with default models and all three providers simulated."""
    with Suite(tmp_path_factory.mktemp("suite")) as s:
        yield s


@pytest.fixture(scope="module")
def key(suite):
    return suite.create_key(name="test")
