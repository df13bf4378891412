"""Both official SDKs, every feature, every provider; and the README says what this run gave."""
import re

import pytest

from lib.matrix import CELLS, PROVIDERS, Env, Matrix, open_suite, readme_section, table
from lib.suite import ROOT


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    with open_suite(tmp_path_factory.mktemp("matrix")) as suite:
        yield Matrix(Env(suite))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("cell", CELLS, ids=[f"{c.sdk}-{c.name}" for c in CELLS])
def test_the_cell_gives_what_it_declares(matrix, cell, provider):
    assert matrix.result(cell, provider) == cell.expected[provider]


def test_readme_shows_what_this_run_gives(matrix):
    results = {(c.sdk, c.name, p): matrix.result(c, p) for c in CELLS for p in PROVIDERS}
    text = (ROOT / "README.md").read_text()
    start, end = readme_section(text)

    def bare(tables):  # versions move with the registry: a newer SDK that does the same is no difference
        return re.sub(r"^\| (openai|anthropic) [^|]*\|", r"| \1 |", tables.strip(), flags=re.M)
    assert bare(text[start:end]) == bare(table(results)), "tests/system/matrix --write"
