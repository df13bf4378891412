"""tests/bench/run still works on this suite: a few scenarios, a second each. What they measure here says nothing."""
import json
import os
import subprocess
import sys

import pytest
from lib.suite import BIN, ROOT


@pytest.mark.timeout(200)
def test_every_kind_of_sample_can_be_taken(tmp_path):
    out, picture = tmp_path / "run.json", tmp_path / "run.svg"
    argv = [sys.executable, "tests/bench/run", "--quick", "--only", "c=16,tls,streams=64,first,cold-start,idle-streams,growth", "--bin",
            os.path.relpath(BIN, ROOT), "--starts", "1", "--idle", "100", "--grow", "2000", "--json", out, "--svg", picture]
    done = subprocess.run([*map(str, argv)], cwd=ROOT, capture_output=True, text=True, timeout=190)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    run = json.loads(out.read_text())
    for scenario, systems in (("c=16", {"tollgate", "nginx"}), ("tls", {"tollgate", "nginx"}), ("streams=64", {"tollgate", "nginx"}),
                              ("first", {"tollgate", "nginx"})):
        assert systems <= set(run["rounds"][scenario]), scenario
        for system, samples in run["rounds"][scenario].items():
            assert all(s["errors"] == 0 and s["cpu"] > 0 and s["rps"] > 0 for s in samples), (scenario, system, samples)
    assert run["once"]["idle_streams"]["tollgate"]["open_at_end"] == 100
    assert run["once"]["growth"]["tollgate"]["errors"] == 0
    assert len(run["once"]["cold_start"]["tollgate"]) == 1
    assert "| target |" in done.stdout
    assert picture.read_text().startswith("<svg")
