#include "services/simulator/sim.h"

#include <stdlib.h>
#include <sys/resource.h>

enum { MAX_STORED = 20000 };

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum err start_http(struct sim *sim)
{
    const struct http_config config = {
        .address = sim->options.address,
        .port = (uint16_t)sim->options.port,
        .shards = 32,
        .max_connections = sim->options.max_connections,
        .max_connections_per_address = sim->options.max_connections,
        .max_header_bytes = 32 << 10,
        .max_body_bytes = 64 << 20,
        .max_body_memory_bytes = (uint64_t)1 << 30,
        .header_timeout_ms = 600000,
        .body_timeout_ms = 600000,
        .idle_timeout_ms = 600000,
        .send_timeout_ms = 600000,
    };
    const struct http_handler handler = {
        .ctx = sim,
        .on_request = sim_on_request,
        .on_gone = play_on_gone,
        .on_drain = play_on_drain,
        .on_done = play_on_done,
    };
    raise_descriptor_limit();
    return http_server_create(&sim->http, sim->loop, &config, &handler);
}

enum err sim_create(struct sim **out, struct loop *loop, const struct sim_options *options)
{
    *out = NULL;
    struct sim *sim = calloc(1, sizeof *sim);
    if (!sim)
        return ERR_NOMEM;
    sim->options = *options;
    sim->loop = loop;
    arena_init(&sim->arena, 0);
    enum err e = stats_create(&sim->stats, options->keep);
    if (!e)
        e = scripts_load(&sim->scripts, options->script);
    if (!e)
        e = store_create(&sim->responses, MAX_STORED);
    if (!e)
        e = store_create(&sim->predictions, MAX_STORED);
    if (!e)
        e = store_create(&sim->threads, MAX_STORED);
    if (!e)
        e = start_http(sim);
    if (e) {
        sim_destroy(&sim);
        return e;
    }
    *out = sim;
    return OK;
}

void sim_destroy(struct sim **out)
{
    struct sim *sim = *out;
    if (!sim)
        return;
    *out = NULL;
    http_server_destroy(&sim->http);
    store_destroy(&sim->threads);
    store_destroy(&sim->predictions);
    store_destroy(&sim->responses);
    scripts_destroy(&sim->scripts);
    stats_destroy(&sim->stats);
    reply_free(&sim->reply);
    json_doc_free(&sim->doc);
    json_doc_free(&sim->thread_doc);
    arena_free(&sim->arena);
    free(sim);
}
