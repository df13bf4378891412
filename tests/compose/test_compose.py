"""docker compose: the image built from this checkout, every provider answers, worker-openai scaled 1 → 4 → 1 under load
without an error, a killed worker comes back; what tests/facts shows, against the image's libraries."""
import json
import threading
import time

import httpx
import pytest
from lib.compose import PROJECT, Compose, build_image, run
from lib.suite import wait_for


@pytest.fixture(scope="module")
def image():
    build_image()


@pytest.fixture(scope="module")
def compose(image):
    with Compose() as c:
        yield c


@pytest.fixture(scope="module")
def key(compose):
    return compose.create_key()


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5", "meta/meta-llama-3-8b-instruct"])
def test_one_request_per_provider(compose, key, model):
    wait_for(lambda: compose.chat(key, model).status_code == 200, f"{model} answers", 60)
    assert f"marker-{model}" in compose.chat(key, model, f"marker-{model}").json()["choices"][0]["message"]["content"]


def test_every_container_is_healthy_unprivileged_and_read_only(compose):
    ids = compose("ps", "-q").stdout.split()
    assert len(ids) == 9
    for c in json.loads(run("docker", "inspect", *ids).stdout):
        name = c["Name"]
        assert c["State"]["Health"]["Status"] == "healthy", name
        assert c["Config"]["User"].startswith("tollgate-"), name
        assert c["HostConfig"]["ReadonlyRootfs"] and c["HostConfig"]["CapDrop"] == ["ALL"], name
        assert c["HostConfig"]["Memory"] > 0 and c["HostConfig"]["PidsLimit"] > 0, name
        assert c["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped", name


def test_every_container_has_its_own_bus_secret_alone(compose):
    services = {"edge": "edge", "auth": "auth", "metrics": "metrics", "broker-1": "broker", "broker-2": "broker",
                **{f"worker-{p}": f"worker-{p}" for p in ("openai", "anthropic", "replicate")}}
    for name, service in services.items():
        assert compose("exec", "-T", name, "ls", "/etc/tollgate-bus").stdout.split() == sorted(
            [f"{service}.secret", "public.keys"], key=str), name
        assert compose("exec", "-T", name, "sh", "-c", "echo x >/etc/tollgate-bus/public.keys", check=False).returncode != 0


def test_a_container_without_keys_gets_nothing_on_the_bus(compose):
    plain = "echo 'bus: {plaintext: true}' >/tmp/c.yaml; TOLLGATE_CONFIG=/tmp/c.yaml tollgate health auth tcp://auth:5572"
    done = run("docker", "run", "--rm", "--network", f"{PROJECT}_bus", "tollgate:test", "sh", "-c", plain, check=False)
    assert done.returncode == 1 and "unhealthy" in done.stderr, done
    assert "stranger_refused" in compose("logs", "auth").stdout


@pytest.mark.timeout(300)
def test_a_service_changes_its_key_and_nobody_notices(compose, key):
    daemons = ["edge", "auth", "metrics", "broker-1", "broker-2", "worker-openai", "worker-anthropic", "worker-replicate"]

    def step(number):
        out = compose("run", "--rm", "certs", "sh", "-c",
                      "tollgate certs rotate /bus/keys broker && tollgate certs hand-out /bus/keys /bus").stdout
        assert f"{number} of 3" in out

    def reload():
        for name in daemons:  # after `docker kill` of any signal Docker would not restart it any more
            compose("exec", "-T", name, "sh", "-c", "kill -HUP 1")

    step(1)
    reload()
    step(2)
    for broker in ("broker-1", "broker-2"):
        compose("restart", broker)
        wait_for(lambda: compose.chat(key).status_code == 200, "served meanwhile", 60)
    step(3)
    reload()
    wait_for(lambda: compose.chat(key).status_code == 200, "served by the new key", 60)


def test_provider_keys_reach_their_own_worker_only(compose):
    config = json.loads(compose("config", "--format", "json").stdout)
    holders = {name for name, s in config["services"].items() if "OPENAI_API_KEY" in (s.get("environment") or {})}
    assert holders == {"worker-openai"}


@pytest.mark.timeout(600)
def test_scaling_a_worker_up_and_down_under_load_loses_nothing(compose, key):
    stop, results = threading.Event(), []

    def load():
        with httpx.Client(timeout=60, headers={"authorization": f"Bearer {key}"}) as client:
            while not stop.is_set():
                try:
                    r = client.post(compose.url + "/v1/chat/completions", json={
                        "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[[sim delay=20]] x"}]})
                    results.append(r.status_code)
                except httpx.HTTPError as e:
                    results.append(repr(e))
                time.sleep(0.01)

    threads = [threading.Thread(target=load, daemon=True) for _ in range(8)]
    for t in threads:
        t.start()
    try:
        for count in (4, 1):
            compose("up", "-d", "--no-build", "--no-recreate", "--scale", f"worker-openai={count}")
            wait_for(lambda: len(compose.containers("worker-openai")) == count, f"{count} workers")
            seen = len(results)
            wait_for(lambda: len(results) > seen + 200, "traffic went on")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert set(results) == {200}, {s: results.count(s) for s in set(results)}


def test_a_killed_worker_comes_back(compose, key):
    (worker,) = compose.containers("worker-openai")
    before = compose.state(worker)
    compose.kill(worker)

    def restarted():
        now = compose.state(worker)
        return now["State"]["Running"] and now["RestartCount"] > before["RestartCount"]
    wait_for(restarted, "docker restarts the worker", 60)
    wait_for(lambda: compose.chat(key).status_code == 200, "served again", 60)


def test_a_broker_that_comes_back_with_another_address_is_found_by_its_name(compose, key):
    def address():
        (broker,) = compose.containers("broker-1")
        return {name: n["IPAddress"] for name, n in
                compose.state(broker)["NetworkSettings"]["Networks"].items()}
    before = address()
    compose("stop", "broker-1")
    compose("up", "-d", "--no-build", "--no-recreate", "--no-deps", "--scale", "worker-anthropic=2", "worker-anthropic")
    try:  # the new worker has the address that is free
        compose("start", "broker-1")
        assert address() != before
        compose("stop", "broker-2")  # nobody else is left to ask
        wait_for(lambda: compose.chat(key).status_code == 200, "served by the broker that came back", 60)
    finally:
        compose("start", "broker-2")
        compose("up", "-d", "--no-build", "--no-recreate", "--no-deps", "--scale", "worker-anthropic=1", "worker-anthropic")


@pytest.mark.timeout(1200)
def test_the_facts_hold_for_the_images_libraries(image):
    run("docker", "build", "--network", "host", "--target", "facts", "-t", "tollgate:facts", "-f", "deploy/Dockerfile", ".",
        timeout=1000)
    print(run("docker", "run", "--rm", "--init", "tollgate:facts").stdout)
