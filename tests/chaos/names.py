"""A name server that hangs: what is asked of it waits, and nothing else does."""
import http.client
import json
import subprocess
import threading
import time

from bodies import no_long_turns
from traffic import Load
from trial import MODELS, Sized, Skipped, own_folder, test

# Names below hang.test are what no server answers for. In front of libc's own in every daemon, as a resolver that waits is.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    size_t n = node ? strlen(node) : 0;
    if (n < 10 || strcmp(node + n - 10, ".hang.test") != 0)
        return next(node, service, hints, out);
    sleep(20);
    return EAI_AGAIN;
}
"""
CONNECT_TIMEOUT_S = 2


class Hanging(Sized):
    """With a provider, and a broker, whose names nobody resolves."""

    def __init__(self, **options):
        self.shim = own_folder() / "hang.so"
        source = self.shim.with_suffix(".c")
        source.write_text(SHIM)
        if subprocess.run(["cc", "-shared", "-fPIC", "-o", self.shim, source, "-ldl"], capture_output=True).returncode:
            raise Skipped("no C compiler")
        super().__init__(**options)

    def environment(self):
        env = super().environment()
        return {**env, "LD_PRELOAD": str(self.shim), "ASAN_OPTIONS": env["ASAN_OPTIONS"] + ":verify_asan_link_order=0"}

    def bus_addresses(self):
        bus = super().bus_addresses()
        return {**bus, "brokers": [*bus["brokers"], "tcp://broker-9.hang.test:5570"], "plaintext": True}


class Asking:
    """Requests for the model behind the name, one after the other in so many threads."""

    def __init__(self, suite, key, threads):
        self.suite, self.key, self.over, self.answers = suite, key, threading.Event(), []
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(threads)]

    def _ask(self):
        while not self.over.is_set():
            connection, began = http.client.HTTPConnection("127.0.0.1", self.suite.ports[0], timeout=60), time.monotonic()
            connection.request("POST", "/v1/chat/completions", json.dumps({"model": "lost", "messages": [{"role": "user", "content": "x"}]}),
                               {"authorization": f"Bearer {self.key}", "content-type": "application/json"})
            status = connection.getresponse().status
            self.answers.append((status, time.monotonic() - began))
            connection.close()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join(90)


@test("T26", "a name server hangs, for a provider and for a broker", alone=True)
def t26(trial):
    lost = {"type": "openai", "endpoints": ["http://upstream.hang.test:9/v1"], "api_keys": ["${SIM_KEY}"], "private": True}
    seconds, pairs, answers = (1 if trial.quick else 3), [], []
    with trial.make_suite(Hanging, models={**MODELS, "lost": {"targets": [{"provider": "lost"}]}}, workers={"openai": 2, "lost": 1},
                          providers={"lost": lost}, options={"worker": {"connect_timeout": f"{CONNECT_TIMEOUT_S}s"}}) as suite:
        trial.suite, key = suite, suite.create_key(name="lost")
        with Load(suite, 8, 4) as load:
            for _ in range(2 if trial.quick else 8):
                without = load.took(seconds)
                with Asking(suite, key, 4) as asking:
                    pairs.append((without, load.took(seconds)))
                answers += asking.answers
        trial.slower("others' p99 is higher by", pairs, 10)
        trial.no_failures(load)
        trial.none("answers that are no 502, 503 or 504", [a for a in answers if a[0] not in (502, 503, 504)])
        # a repeat may be made, and waits as long again
        trial.took("the longest of them came after", max((s for _, s in answers), default=0), 2 * CONNECT_TIMEOUT_S + 1)
        trial.mark("requests that waited for the name", len(answers), least=4)
        no_long_turns(trial)
        trial.rest(load)
        trial.suite = None
