#include <stdio.h>

#include "services/simulator/sim.h"

/* ---- the simulator's own pages ---- */

static void handle_own(struct ask *ask)
{
    struct sim *sim = ask->sim;
    struct buf out = {0};
    unsigned status = 200;
    if (span_is(ask->path, "/stats")) {
        stats_write(sim->stats, &out);
    } else if (span_is(ask->path, "/requests")) {
        stats_write_requests(sim->stats, &out);
    } else if (span_is(ask->path, "/reset")) {
        stats_reset(sim->stats);
        scripts_reset(sim->scripts);
        buf_append_str(&out, "{\"simulated\":true}");
    } else if (span_is(ask->path, "/health")) {
        buf_append_str(&out, "{\"simulated\":true,\"status\":\"healthy\"}");
    } else {
        status = 404;
        buf_append_str(&out, "{\"error\":\"no such page\"}");
    }
    http_add_header(ask->x, "Content-Type", SPAN("application/json"));
    http_add_header(ask->x, "X-Simulated", SPAN("true"));
    http_respond(ask->x, status, buf_span(&out));
    buf_free(&out);
}

/* ---- protocols ---- */

struct played_protocol {
    const char *prefix;
    const char *route;
    bool (*check)(struct ask *ask); /* the key; false: refused */
    void (*handle)(struct ask *ask);
    void (*bad_json)(struct ask *ask);
};

/* The key behind "Bearer " (or "Token ", as Replicate still takes). */
static struct span bearer(const struct ask *ask)
{
    struct span value = http_header(ask->x, "authorization");
    static const char *const schemes[] = {"bearer ", "token "};
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemes[i]);
        if (value.len > n && strncasecmp(value.data, schemes[i], n) == 0)
            return span_skip(value, n);
    }
    return SPAN_NONE;
}

static bool is_bad(struct span key)
{
    return !key.len || span_find_span(key, SPAN("bad")) < key.len;
}

static bool openai_key(struct ask *ask)
{
    struct span key = bearer(ask);
    if (!is_bad(key))
        return true;
    openai_error(ask, 401, "invalid_request_error", key.len ? "invalid_api_key" : "", NULL,
                 key.len ? "Incorrect API key provided: sk-sim****. (simulated)"
                         : "You didn't provide an API key. (simulated)");
    return false;
}

static bool anthropic_key(struct ask *ask)
{
    struct span key = http_header(ask->x, "x-api-key");
    if (!key.len)
        key = bearer(ask);
    if (is_bad(key)) {
        anthropic_error(ask, 401, "authentication_error",
                        key.len ? "invalid x-api-key (simulated)"
                                : "x-api-key header is required (simulated)");
        return false;
    }
    if (!http_header(ask->x, "anthropic-version").len) {
        anthropic_error(ask, 400, "invalid_request_error",
                        "anthropic-version: header is required (simulated)");
        return false;
    }
    return true;
}

static bool replicate_key(struct ask *ask)
{
    if (!is_bad(bearer(ask)))
        return true;
    replicate_error(ask, 401, "You did not pass a valid authentication token (simulated)");
    return false;
}

static void openai_bad_json(struct ask *ask)
{
    openai_error(ask, 400, "invalid_request_error", "", NULL,
                 "We could not parse the JSON body of your request. (simulated)");
}

static void anthropic_bad_json(struct ask *ask)
{
    anthropic_error(ask, 400, "invalid_request_error",
                    "The request body is not valid JSON (simulated)");
}

static void replicate_bad_json(struct ask *ask)
{
    replicate_error(ask, 400, "The request body is not valid JSON (simulated)");
}

static const struct played_protocol protocols[] = {
    {"/openai/v1", "openai", openai_key, openai_handle, openai_bad_json},
    {"/anthropic/v1", "anthropic", anthropic_key, anthropic_handle, anthropic_bad_json},
    {"/replicate/v1", "replicate", replicate_key, replicate_handle, replicate_bad_json},
};

static bool read_body(struct ask *ask)
{
    struct span body = http_body(ask->x);
    if (!body.len)
        return true;
    if (json_parse(&ask->sim->doc, body, JSON_DEPTH_UPSTREAM))
        return false;
    ask->body = json_root(&ask->sim->doc);
    return json_type(ask->body) == JSON_OBJECT;
}

static void run(struct ask *ask, const struct played_protocol *p)
{
    char id[32];
    int n = snprintf(id, sizeof id, "req_sim_%llu", (unsigned long long)ask->id);
    reply_header(ask->reply, p->handle == anthropic_handle ? "request-id" : "x-request-id",
                 n > 0 ? id : "req_sim");
    ask->route = p->route;
    fault_init(&ask->fault);
    if (!p->check(ask))
        ;
    else if (!read_body(ask))
        p->bad_json(ask);
    else
        p->handle(ask);
    play(ask);
}

void sim_on_request(void *ctx, struct http_exchange *x)
{
    struct sim *sim = ctx;
    arena_reset(&sim->arena);
    reply_reset(&sim->reply);
    struct ask ask = {
        .sim = sim, .x = x, .route = "other", .reply = &sim->reply, .id = ++sim->next_id};
    struct span path = http_path(x);
    for (size_t i = 0; i < sizeof protocols / sizeof protocols[0]; i++) {
        if (span_starts(path, protocols[i].prefix)) {
            ask.path = span_skip(path, strlen(protocols[i].prefix));
            run(&ask, &protocols[i]);
            return;
        }
    }
    ask.path = span_starts(path, "/_sim") ? span_skip(path, 5) : SPAN("/");
    handle_own(&ask);
}
