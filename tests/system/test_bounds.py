"""Every option at its least, and every option at 0 where 0 switches something off: nobody hangs, nobody spins."""
import os
import re
import subprocess
import time

import httpx
import pytest
from lib.suite import BIN, Suite

OWN = {"bus.brokers", "edge.port"}  # the suite's own values


def rows():
    """(section, key, least, whether 0 is allowed) of every numeric option, as `tollgate check` tells them."""
    text = subprocess.run([BIN / "tollgate", "check", "--defaults", "--markdown"], capture_output=True, text=True,
                          check=True).stdout
    section, found = None, []
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = [c.strip() for c in line.split("|")]
        # only the daemons' sections have five columns
        bounds = len(cells) == 7 and re.fullmatch(r"(\w+) to \w+(, or 0)?", cells[3])
        if bounds and f"{section}.{cells[1].strip('`')}" not in OWN:
            found.append((section, cells[1].strip("`"), bounds.group(1), bool(bounds.group(2))))
    return found


def options_of(wanted):
    options = {}
    for section, key, least, off in rows():
        value = wanted(least, off)
        if value is not None and (section, key, value) != ("metrics", "port", "1"):  # a privileged one
            options.setdefault(section, {})[key] = value
    return options


def cpu_s(daemon):
    fields = open(f"/proc/{daemon.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def assert_nobody_spins(suite, seconds=4):
    """A loop without end takes a whole processor, or half of one where two share it."""
    before = {name: cpu_s(d) for name, d in suite.daemons.items()}
    time.sleep(seconds)
    for name, d in suite.daemons.items():
        assert d.alive, d.log[-2000:]
        assert cpu_s(d) - before[name] < seconds * 0.3, name


def ask(suite, key, **more):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[[sim chunks=4 pace=500]] x"}], **more}
    return httpx.post(suite.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                      json=body)


def test_there_are_bounds_to_test():
    assert len(rows()) > 40 and sum(off for *_, off in rows()) > 15


def test_with_everything_off_requests_are_served(tmp_path):
    with Suite(tmp_path, options=options_of(lambda least, off: "0" if off else None)) as suite:
        key = suite.create_key()
        assert ask(suite, key).status_code == 200
        r = ask(suite, key, stream=True)
        assert r.status_code == 200 and r.text.rstrip().endswith("data: [DONE]")
        assert len(r.content) < 10000, "a stream of keep-alives"
        assert_nobody_spins(suite)


def test_with_everything_at_its_least_all_live_and_stop(tmp_path):
    with Suite(tmp_path, options=options_of(lambda least, off: least)) as suite:
        key = suite.create_key()
        for stream in (False, True):
            try:
                ask(suite, key, stream=stream)  # it may be refused: a header may be too long, the deadline is short
            except httpx.HTTPError:
                pass
        assert_nobody_spins(suite)


@pytest.mark.parametrize("option, value, said", [
    ("edge.port", "70000", "70000 is out of range: 1 to 65535"),
    ("log.level", "verbose", "is none of error, warn, info, debug"),
    ("worker.slots", "0", "0 is out of range: 1 to 100000"),
])
def test_a_daemon_refuses_what_is_out_of_range(tmp_path, option, value, said):
    section, key = option.split(".")
    path = tmp_path / "t.yaml"
    path.write_text(f"{section}:\n  {key}: {value}\n")
    done = subprocess.run([BIN / "tollgate-metrics", "--config", path, "--run-dir", tmp_path], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 78
    assert said in done.stderr and f"{path}:2: {option}" in done.stderr
