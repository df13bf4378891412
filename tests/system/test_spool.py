"""What an edge or a worker owes auth at its end outlives it, whatever happens to its files."""
import os
import pathlib

import httpx
import pytest
from lib.suite import Suite, in_threads, wait_for

KEPT = "event=spool_kept"


@pytest.fixture()
def fresh(tmp_path):
    with Suite(tmp_path, workers={"openai": 2}, edges=2) as s:
        yield s


def chat(suite, key, marker, edge=0):
    r = httpx.post(suite.url_of(edge) + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                   json={"model": "gpt-4o-mini", "user": marker, "messages": [{"role": "user", "content": "marker-of-a-prompt"}]})
    assert r.status_code == 200, r.text
    return r.headers["request-id"]


def spool(suite):
    return pathlib.Path(suite.folder / "state" / "spool")


def files(suite):
    return sorted(p.name for p in spool(suite).glob("*.spool")) if spool(suite).exists() else []


def without_auth(suite, key, count=10):
    """Both edges know the key; then auth is away and the suite has served so many requests. Edges and workers have ended."""
    for edge in range(2):
        chat(suite, key, "known", edge)
    suite.daemons["auth"].kill()
    ids = in_threads(count, lambda i: chat(suite, key, f"away-{i}", i % 2))
    for name in ("edge-1", "edge-2", "worker-openai-1", "worker-openai-2"):
        assert suite.daemons[name].stop() == 0
    return ids


def start_again(suite, *names):
    suite.daemons["auth"].start()
    for name in names:
        suite.daemons[name].start()


def rows(suite, ids):
    return [r for r in suite.usage("--requests", "--limit", "1000") if r["request_id"] in ids]


def test_what_is_owed_to_auth_at_the_end_is_booked_after_the_next_start(fresh):
    key = fresh.create_key()
    ids = without_auth(fresh, key)
    left = files(fresh)
    assert len([f for f in left if f.startswith("edge-")]) == 2, left  # each its own
    assert [f for f in left if f.startswith("worker-openai-")], left
    for f in left:
        content = (spool(fresh) / f).read_bytes()
        assert (spool(fresh) / f).stat().st_mode & 0o77 == 0
        for secret in (key, "marker-of-a-prompt", "sk-simulated-upstream-key"):
            assert secret.encode() not in content
    # one of each takes up what all have left
    start_again(fresh, "edge-1", "worker-openai-1")
    wait_for(lambda: not files(fresh), "all files are taken care of")
    booked = rows(fresh, ids)
    assert sorted(r["request_id"] for r in booked) == sorted(ids)
    told = fresh.sim_stats()["by_user"]
    assert not any(r["estimated"] for r in booked)
    assert sum(r["output_tokens"] for r in booked) == sum(told[f"away-{i}"]["output_tokens"] for i in range(len(ids)))
    assert "event=settle_unconfirmed" not in fresh.daemons["auth"].log


def test_files_that_nobody_can_trust_stop_no_start_and_are_not_booked(fresh):
    key = fresh.create_key()
    ids = without_auth(fresh, key, 4)
    folder, left = spool(fresh), files(fresh)
    torn = folder / next(f for f in left if f.startswith("worker-openai-"))
    torn.write_bytes(torn.read_bytes()[:-5])
    (folder / f"edge-{0:016x}.spool").write_bytes(os.urandom(5000))
    (folder / f"edge-{1:016x}.spool").write_bytes(b"")
    (folder / f"worker-openai-{2:016x}.spool").symlink_to("/etc/hostname")
    os.mkfifo(folder / f"worker-openai-{3:016x}.spool")
    (folder / f"worker-openai-{4:016x}.spool").write_bytes(b"TGSPOOL1" + bytes(3))
    (folder / f"edge-{5:016x}.part").write_bytes(b"TGSPOOL1")
    if os.geteuid() == 0:
        stranger = folder / f"edge-{6:016x}.spool"
        stranger.write_bytes((folder / next(f for f in left if f.startswith("edge-"))).read_bytes())
        os.chown(stranger, 65534, 65534)
    start_again(fresh, "edge-1", "worker-openai-1", "edge-2", "worker-openai-2")
    wait_for(lambda: fresh._status(fresh.url + "/health/readiness") == 200, "an edge is ready")
    wait_for(lambda: len(rows(fresh, ids)) == len(ids), "one row each, at least an estimate")
    after = chat(fresh, key, "after")
    wait_for(lambda: rows(fresh, [after]), "and later ones are booked")
    every = fresh.usage("--requests", "--limit", "1000")
    assert len(every) == len(ids) + 3, every
    assert sum(r["estimated"] for r in every) <= 1  # the record that was torn
    assert "event=spool_broken" in fresh.daemons["worker-openai-1"].log + fresh.daemons["worker-openai-2"].log
    assert (folder / "worker-openai.broken").exists()


def test_a_state_directory_that_cannot_be_used_loses_only_what_is_owed(tmp_path):
    with Suite(tmp_path, workers={"openai": 1}) as suite:
        key = suite.create_key()
        chat(suite, key, "known")
        suite.daemons["auth"].kill()
        chat(suite, key, "away")
        spool(suite).write_text("no directory")
        for name in ("edge-1", "worker-openai-1"):
            assert suite.daemons[name].stop() == 0
            assert "event=spool_lost" in suite.daemons[name].log
        start_again(suite, "edge-1", "worker-openai-1")
        wait_for(lambda: suite._status(suite.url + "/health/readiness") == 200, "the edge is ready")
        assert KEPT not in suite.daemons["edge-1"].log
        chat(suite, key, "after")


def test_a_suite_that_ends_in_order_leaves_nothing(fresh):
    key = fresh.create_key()
    chat(fresh, key, "x")
    for name in ("edge-1", "edge-2", "worker-openai-1", "worker-openai-2"):
        assert fresh.daemons[name].stop() == 0
    assert not files(fresh)
