#include "services/edge/http/forward.h"

struct gathering {
    const struct config *config;
    struct span passed;
    struct buf lines;
};

static bool has_forwards(const struct config *c)
{
    for (size_t i = 0; i < c->provider_count; i++) {
        if (c->providers[i].forward_headers.count)
            return true;
    }
    return false;
}

static bool is_wanted(const struct config *c, struct span name)
{
    for (size_t i = 0; i < c->provider_count; i++) {
        if (config_forwards(&c->providers[i].forward_headers, name))
            return true;
    }
    return false;
}

/* Among the lines that travel anyway? */
static bool is_passed(struct span lines, struct span name)
{
    while (lines.len) {
        struct span line = span_cut(&lines, '\n');
        if (line.len > name.len && line.data[name.len] == ':' &&
            strncasecmp(line.data, name.data, name.len) == 0)
            return true;
    }
    return false;
}

static void gather(void *ctx, struct span name, struct span value)
{
    struct gathering *g = ctx;
    if (!is_wanted(g->config, name) || is_passed(g->passed, name) ||
        g->lines.len + name.len + value.len + 3 > FORWARD_MAX_BYTES)
        return;
    buf_append(&g->lines, name);
    buf_append_str(&g->lines, ": ");
    buf_append(&g->lines, value);
    buf_append_char(&g->lines, '\n');
}

struct span forward_lines(const struct config *config, const struct http_exchange *x,
                          struct span passed, struct arena *arena)
{
    struct gathering g = {.config = config, .passed = passed};
    if (!has_forwards(config))
        return passed;
    http_each_header(x, gather, &g);
    struct span all =
        arena_printf(arena, "%.*s%.*s", SPAN_ARG(passed), SPAN_ARG(buf_span(&g.lines)));
    buf_free(&g.lines);
    return all.data ? all : passed;
}
