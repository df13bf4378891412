"""The systemd units: how much of the host each service may reach, by systemd's own reckoning, and whose files are whose."""
import re
import shutil
import subprocess

import pytest
from lib.suite import BIN, ROOT

UNITS = ROOT / "deploy" / "systemd"
SERVICES = {"tollgate-auth.service": "auth", "tollgate-broker@1.service": "broker", "tollgate-edge@a.service": "edge",
            "tollgate-metrics.service": "metrics", "tollgate-worker@openai.service": "worker"}
MOST_EXPOSURE = 2.0


def text_of(service):
    return (UNITS / re.sub("@[^.]*", "@", service)).read_text()


def test_every_service_is_confined(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if not analyze or "--offline" not in subprocess.run([analyze, "--help"], capture_output=True, text=True).stdout:
        pytest.skip("no systemd-analyze that works offline here")
    folder = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(UNITS, folder)
    for service in SERVICES:
        done = subprocess.run([analyze, "security", "--offline=true", f"--root={tmp_path}", service], capture_output=True, text=True)
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
        assert found, done.stdout + done.stderr
        assert float(found.group(1)) <= MOST_EXPOSURE, f"{service}: {found.group(0)}"
        print(found.group(0))


def test_every_role_is_a_user_of_its_own():
    users = re.findall(r"^u (\S+)", (UNITS / "sysusers.conf").read_text(), re.M)
    assert sorted(users) == sorted(f"tollgate-{role}" for role in SERVICES.values())
    for service, role in SERVICES.items():
        assert f"\nUser=tollgate-{role}\n" in text_of(service)


def test_the_store_is_auth_s_alone():
    owners = {s: re.findall(r"^StateDirectory=(\S+)", text_of(s), re.M) for s in SERVICES}
    assert owners["tollgate-auth.service"] == ["tollgate-auth"]
    assert [s for s, folders in owners.items() if "tollgate-auth" in folders] == ["tollgate-auth.service"]
    assert all("StateDirectoryMode=0700" in text_of(s) for s, folders in owners.items() if folders)


def test_what_edges_and_workers_owe_outlives_them():
    for role, service in (("edge", "tollgate-edge@a.service"), ("worker", "tollgate-worker@openai.service")):
        assert f"\nStateDirectory=tollgate-{role}\n" in text_of(service)
        assert f"\nEnvironment=TOLLGATE_STATE_DIR=/var/lib/tollgate-{role}\n" in text_of(service)


def test_the_example_is_a_good_configuration():
    done = subprocess.run([str(BIN / "tollgate"), "check", str(UNITS / "tollgate.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
