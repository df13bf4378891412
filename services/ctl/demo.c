#include "services/ctl/demo.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/provider_info.h"

static const char models[] =
    "models:\n"
    "  gpt-4o-mini: { targets: [{ provider: openai }], fallbacks: [claude-haiku-4-5] }\n"
    "  claude-haiku-4-5: { targets: [{ provider: anthropic }] }\n"
    "  meta/meta-llama-3-8b-instruct: { targets: [{ provider: replicate }], timeout: 120s }\n"
    "  gpt-4: { targets: [{ provider: openai }], rate_limit: 10000/hour, timeout: 60s, fallbacks: "
    "[claude-3],\n"
    "           defaults: { max_tokens: 1000, temperature: 0.7 } }\n"
    "  claude-3: { targets: [{ provider: anthropic, model: claude-3-haiku-20240307 }], rate_limit: "
    "5000/hour, timeout: 30s }\n"
    "  llama-2: { targets: [{ provider: replicate, model: meta/llama-2-70b-chat }], rate_limit: "
    "1000/hour, timeout: 120s }\n"
    "  \"gpt-*\": { targets: [{ provider: openai }] }\n"
    "  \"claude-*\": { targets: [{ provider: anthropic }] }\n"
    "  \"meta/*\": { targets: [{ provider: replicate }], timeout: 120s }\n"
    "  \"text-embedding-*\": { targets: [{ provider: openai }] }\n";

unsigned demo_config(const struct demo_ports *ports, char *(*getenv_fn)(const char *),
                     struct buf *out)
{
    unsigned simulated = 0;
    buf_append_str(out, "# Made by `tollgate up --demo`; made anew at every start.\n"
                        "default_model: gpt-4o-mini\nproviders:\n");
    for (unsigned i = 0; i < PROTOCOL_COUNT; i++) {
        const char *name = protocol_info((enum protocol)i)->name;
        const char *variable = provider_info_find(name)->key_variable;
        const char *key = getenv_fn(variable);
        if (key && *key) {
            buf_printf(out, "  %s: { api_keys: [\"${%s}\"] }\n", name, variable);
            continue;
        }
        simulated++;
        buf_printf(out,
                   "  %s: { api_keys: [simulated], endpoints: [\"http://127.0.0.1:%u/%s/v1\"], "
                   "private: true }\n",
                   name, ports->simulator, name);
    }
    buf_append_str(out, models);
    buf_printf(out, "edge: { address: 127.0.0.1, port: %u }\nmetrics: { port: %u }\n", ports->edge,
               ports->metrics);
    return simulated;
}

unsigned demo_free_port(unsigned wanted)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wanted)};
    socklen_t len = sizeof at;
    int on = 1;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || wanted > 65535)
        return 0;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
              bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 &&
              getsockname(fd, (struct sockaddr *)&at, &len) == 0;
    (void)close(fd);
    return ok ? ntohs(at.sin_port) : 0;
}
