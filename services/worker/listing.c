#include "services/worker/listing.h"

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/runtime/catalog.h"

enum {
    AGAIN_MS = 300 * 1000,
    AGAIN_SOON_MS = 30 * 1000, /* after a failure */
    SILENCE_MS = 10 * 1000,
    WHOLE_MS = 30 * 1000,
    BODY_BYTES = 4 << 20
};

/* ---- what the answer says ---- */

static bool is_name(struct span id)
{
    for (size_t i = 0; i < id.len; i++) {
        if ((unsigned char)id.data[i] <= 0x20 || id.data[i] == 0x7f)
            return false;
    }
    return id.len > 0 && id.len <= CATALOG_NAME_BYTES;
}

static struct json list_of(struct json root)
{
    static const char *const members[] = {"data", "models"};
    for (size_t i = 0; json_type(root) == JSON_OBJECT && i < sizeof members / sizeof *members;
         i++) {
        struct json list = json_get(root, members[i]);
        if (json_type(list) == JSON_ARRAY)
            return list;
    }
    return root;
}

enum err listing_read(struct span body, struct buf *out)
{
    struct json_doc doc = {0};
    struct arena arena;
    struct json list = JSON_NOTHING;
    arena_init(&arena, BODY_BYTES);
    if (json_parse(&doc, body, JSON_DEPTH_CLIENT) == OK)
        list = list_of(json_root(&doc));
    enum err e = json_type(list) == JSON_ARRAY ? OK : ERR_INVALID;
    struct json_iter i = json_iter(list);
    while (e == OK && json_next(&i)) {
        struct json id = json_get(i.value, "id");
        struct span name = json_type(id) == JSON_STRING ? json_string(id, &arena) : SPAN_NONE;
        if (!is_name(name) || out->len + name.len + 1 > CATALOG_MAX_BYTES)
            continue;
        buf_append(out, name);
        buf_append_char(out, '\n');
    }
    arena_free(&arena);
    json_doc_free(&doc);
    return e ? e : buf_check(out);
}

/* ---- asking ---- */

static void ask(struct listing *l, struct setup *setup);

static void rest(struct listing *l)
{
    loop_timer_stop(l->loop, &l->late);
    l->transfer = NULL;
    buf_free(&l->body);
}

static void on_next(void *ctx)
{
    struct listing *l = ctx;
    ask(l, l->setup);
}

static void fail(struct listing *l, const char *why, struct span detail)
{
    rest(l);
    if (!l->complained)
        log_warn("models_not_listed", LSTR("provider", l->setup->provider_config->name),
                 LSTR("why", why), LU64("status", l->status), LSPAN("detail", detail));
    l->complained = true; /* once, until it goes well again */
    loop_timer_start(l->loop, &l->next, AGAIN_SOON_MS, on_next, l);
}

static void on_head(void *ctx, unsigned status, const struct upstream_headers *headers)
{
    struct listing *l = ctx;
    (void)headers;
    l->status = status;
}

static void on_bytes(void *ctx, struct span bytes)
{
    struct listing *l = ctx;
    buf_append(&l->body, bytes); /* bounded; what is too long is found at its end */
}

static void on_end(void *ctx)
{
    struct listing *l = ctx;
    struct buf names = {0};
    bool well = l->status == 200 && buf_check(&l->body) == OK &&
                listing_read(buf_span(&l->body), &names) == OK;
    if (!well) {
        buf_free(&names);
        fail(l, l->status == 200 ? "it is no list, or too long" : "the provider says no",
             SPAN_NONE);
        return;
    }
    rest(l);
    l->complained = false;
    bool same = span_equals(buf_span(&names), buf_span(&l->names));
    buf_free(&l->names);
    l->names = names;
    if (!same)
        l->tell(l->ctx, buf_span(&l->names));
    loop_timer_start(l->loop, &l->next, AGAIN_MS, on_next, l);
}

static void on_failure(void *ctx, const struct fetch_ending *ending)
{
    fail(ctx, "it could not be read", ending->detail);
}

static void on_late(void *ctx)
{
    struct listing *l = ctx;
    fetch_cancel(&l->transfer);
    fail(l, "it did not come in time", SPAN_NONE);
}

static void ask(struct listing *l, struct setup *setup)
{
    static const struct fetch_handler handler = {on_head, on_bytes, on_end, on_failure};
    const struct endpoint *endpoint = endpoints_at(setup->endpoints, 0);
    bool pages = setup->provider->protocol == PROTOCOL_ANTHROPIC;
    struct fetch_spec spec = {.method = "GET",
                              .path = pages ? SPAN("/models?limit=1000") : SPAN("/models"),
                              .first_byte_ms = SILENCE_MS,
                              .idle_ms = SILENCE_MS,
                              .handler = &handler,
                              .ctx = l};
    l->status = 0;
    buf_init(&l->body, BODY_BYTES);
    if (!endpoint) {
        fail(l, "the provider has no endpoint", SPAN_NONE);
        return;
    }
    spec.origin = endpoint->origin;
    if (fetch_start(l->fetch, &spec, &l->transfer) == OK)
        loop_timer_start(l->loop, &l->late, WHOLE_MS, on_late, l);
    else
        fail(l, "it could not be asked for", SPAN_NONE);
}

/* ---- is it wanted? ---- */

static bool wants(const struct setup *s)
{
    for (size_t i = 0; i < s->config->model_count; i++) {
        const struct config_model *m = &s->config->models[i];
        if (m->list && m->target_count && m->targets[0].provider == s->provider_config)
            return !config_takes_client_auth(s->provider_config);
    }
    return false;
}

void listing_renew(struct listing *l, struct setup *setup)
{
    listing_stop(l);
    l->wanted = wants(setup);
    if (!l->wanted)
        return;
    l->setup = setup_ref(setup);
    l->complained = false;
    ask(l, setup);
}

struct span listing_names(const struct listing *l)
{
    return buf_span(&l->names);
}

void listing_stop(struct listing *l)
{
    if (!l->setup)
        return;
    loop_timer_stop(l->loop, &l->next);
    loop_timer_stop(l->loop, &l->late);
    if (l->transfer)
        fetch_cancel(&l->transfer);
    buf_free(&l->body);
    buf_free(&l->names);
    setup_unref(&l->setup);
}
