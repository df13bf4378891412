"""The suite of docker-compose.yml, from an image of this checkout, with the simulator as upstream.

    with Compose() as c:
        key = c.create_key()
        c.chat(key)
"""
import contextlib
import json
import os
import subprocess

import httpx
from lib.suite import ROOT, free_port, wait_for

PROJECT = f"tollgate-test-{os.getpid()}"
IMAGE = "tollgate:test"


def run(*argv, check=True, **more):
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, **more)
    assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def build_image():
    run("deploy/base-image")
    run("docker", "build", "--network", "host", "-t", IMAGE, "-f", "deploy/Dockerfile", ".", timeout=1800)


class Compose:
    def __init__(self):
        self.ports = [free_port()]
        self.url = f"http://127.0.0.1:{self.ports[0]}"
        self.env = {**os.environ, "TOLLGATE_PORT": f"127.0.0.1:{self.ports[0]}", "TOLLGATE_CONFIG_DIR": "./deploy/config-demo",
                    "TOLLGATE_IMAGE": IMAGE}

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_):
        self.down()

    def __call__(self, *args, check=True):
        return run("docker-compose", "-p", PROJECT, "--profile", "demo", *args, check=check, env=self.env, timeout=900)

    def up(self, *args):
        self("up", "-d", "--no-build", "--wait", "--wait-timeout", "120", *args)

    def down(self):
        self("down", "-v", "--timeout", "20", check=False)

    def scale(self, service, count):
        self("up", "-d", "--no-build", "--no-recreate", "--no-deps", "--scale", f"{service}={count}", service)
        wait_for(lambda: len(self.containers(service)) == count, f"{count} of {service}")

    def containers(self, service):
        return self("ps", "-q", service).stdout.split()

    def state(self, container):
        return json.loads(run("docker", "inspect", container).stdout)[0]

    def address(self, service):
        """Where the host reaches it: a host is on every bridge of its own."""
        (container,) = self.containers(service)
        return next(n["IPAddress"] for n in self.state(container)["NetworkSettings"]["Networks"].values() if n["IPAddress"])

    def kill(self, container):
        """As a crash would: after `docker kill` Docker restarts nothing."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.state(container)["State"]["Pid"], 9)

    def chat(self, key, model="gpt-4o-mini", text="x"):
        return httpx.post(self.url + "/v1/chat/completions", headers={"authorization": f"Bearer {key}"}, timeout=60,
                          json={"model": model, "messages": [{"role": "user", "content": text}]})

    # ---- as a Suite has them ----
    def ctl(self, *args, check=True):
        return self("exec", "-T", "auth", "tollgate", *map(str, args), check=check)

    def create_key(self, name="compose"):
        wait_for(lambda: self.ctl("keys", "list", check=False).returncode == 0, "auth answers")
        self.key = json.loads(self.ctl("keys", "create", "--name", name, "--json").stdout)["secret"]
        return self.key

    def usage(self, *args):
        return json.loads(self.ctl("usage", "--json", *args).stdout)

    def sim_stats(self):
        return httpx.get(f"http://{self.address('simulator')}:4010/_sim/stats", timeout=10).json()

    def metrics_text(self):
        return httpx.get(self.url + "/metrics", headers={"authorization": f"Bearer {self.key}"}, timeout=10).text
