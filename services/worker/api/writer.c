#include "services/worker/api/writer.h"

#include "common/base/crypto.h"

void writer_init(struct answer_writer *w, const struct answer_options *options)
{
    w->options = *options;
    w->stream = options->request->stream;
    w->usage = USAGE_NONE;
}

static struct span checked(struct answer_writer *w, struct span s)
{
    w->options.out->failed |= s.data == NULL;
    return s;
}

struct span writer_copy(struct answer_writer *w, struct span s)
{
    return checked(w, arena_copy(w->options.arena, s));
}

void writer_gather(struct answer_writer *w, struct rope *rope, struct span text)
{
    rope_append(rope, w->options.arena, text);
    w->options.out->failed |= rope->failed;
}

static struct span to_text(struct answer_writer *w, struct span bytes)
{
    struct buf escaped = {0};
    json_append_text(&escaped, bytes);
    w->options.out->failed |= escaped.failed;
    struct span text = writer_copy(w, buf_span(&escaped));
    buf_free(&escaped);
    return text;
}

static void take_usage(struct answer_writer *w, const struct usage *usage)
{
    struct usage from = *usage;
    if (from.service_tier_text.len)
        from.service_tier_text = writer_copy(w, from.service_tier_text);
    usage_merge(&w->usage, &from);
}

static void take_start(struct answer_writer *w, const struct neutral_event *e)
{
    if (e->id_text.len)
        w->id_text = writer_copy(w, e->id_text);
    if (e->model_text.len)
        w->model_text = writer_copy(w, e->model_text);
    take_usage(w, &e->usage);
}

void writer_take(struct answer_writer *w, const struct neutral_event *e)
{
    switch (e->kind) {
    case EVENT_START:
        if (!w->started)
            take_start(w, e);
        break;
    case EVENT_USAGE:
        take_usage(w, &e->usage);
        break;
    case EVENT_STOP:
        w->stop = e->stop;
        if (e->stop_sequence_text.len)
            w->stop_sequence_text = writer_copy(w, e->stop_sequence_text);
        break;
    case EVENT_TEXT:
    case EVENT_REFUSAL:
    case EVENT_THINK:
    case EVENT_TOOL_ARGS:
        w->output_bytes += e->text.len;
        break;
    case EVENT_THINK_SIGNATURE:
    case EVENT_REDACTED:
    case EVENT_TOOL_BEGIN:
    case EVENT_TOOL_END:
    case EVENT_PING:
    case EVENT_END:
    case EVENT_ERROR:
        break;
    }
}

void writer_settle_id(struct answer_writer *w, const char *const *prefixes)
{
    if (!w->model_text.len)
        w->model_text = to_text(w, w->options.model);
    struct span id = w->id_text;
    for (const char *const *p = prefixes; id.len && *p; p++) {
        if (span_starts(id, *p))
            return;
    }
    if (!id.len) {
        id = to_text(w, w->options.request_id);
        id = span_starts(id, "req_") ? span_skip(id, 4) : id;
    }
    w->id_text = checked(w, arena_printf(w->options.arena, "%s%.*s", prefixes[0], SPAN_ARG(id)));
}

struct span writer_made_id(struct answer_writer *w, const char *prefix, size_t number)
{
    enum { SEED_MAX = 256, ID_BYTES = 12 };
    char seed[SEED_MAX + sizeof number];
    struct span id =
        span_first(w->options.request_id.len ? w->options.request_id : w->id_text, SEED_MAX);
    uint8_t digest[SHA256_BYTES];
    char hex[2 * ID_BYTES + 1];
    if (id.len)
        memcpy(seed, id.data, id.len);
    memcpy(seed + id.len, &number, sizeof number);
    crypto_sha256(span_of(seed, id.len + sizeof number), digest);
    crypto_hex(digest, ID_BYTES, hex);
    return checked(w, arena_printf(w->options.arena, "%s%s", prefix, hex));
}

void writer_error(struct answer_writer *w, const struct api_error *fault)
{
    w->done = true;
    if (!w->stream)
        return;
    api_error_write_event(w->options.out, w->options.request->api, fault, w->options.request_id, 0);
}

void writer_count(struct json_writer *jw, const char *name, uint64_t count)
{
    jw_key(jw, name);
    jw_u64(jw, count);
}

void writer_cache_split(struct json_writer *jw, const char *name, const struct usage *u)
{
    uint64_t hour = u->cache_write_1h;
    if (hour == USAGE_UNKNOWN)
        return;
    hour = hour < u->cache_write ? hour : u->cache_write;
    jw_key(jw, name);
    jw_object(jw);
    writer_count(jw, "ephemeral_5m_input_tokens", u->cache_write - hour);
    writer_count(jw, "ephemeral_1h_input_tokens", hour);
    jw_object_end(jw);
}

void writer_estimated(struct json_writer *jw, const struct usage *u)
{
    if (!u->estimated)
        return;
    jw_key(jw, "estimated");
    jw_bool(jw, true);
}

struct usage writer_usage(const struct answer_writer *w)
{
    struct usage u = w->usage;
    if (u.input == USAGE_UNKNOWN)
        u.input = w->options.input_tokens;
    if (u.output == USAGE_UNKNOWN)
        u.output = (w->output_bytes + 3) / 4;
    u.cached = u.cached == USAGE_UNKNOWN ? 0 : u.cached;
    u.cache_write = u.cache_write == USAGE_UNKNOWN ? 0 : u.cache_write;
    u.reasoning = u.reasoning == USAGE_UNKNOWN ? 0 : u.reasoning;
    return u;
}

struct answer_tool *answer_tools_add(struct answer_tools *tools, struct answer_writer *w,
                                     const struct neutral_event *e)
{
    if (tools->count == tools->cap) {
        size_t cap = tools->cap ? tools->cap * 2 : 4;
        struct answer_tool *grown = ARENA_ARRAY(w->options.arena, struct answer_tool, cap);
        w->options.out->failed |= !grown;
        if (!grown)
            return NULL;
        if (tools->count)
            memcpy(grown, tools->items, tools->count * sizeof *grown);
        tools->items = grown;
        tools->cap = cap;
    }
    struct answer_tool *tool = &tools->items[tools->count++];
    *tool = (struct answer_tool){.slot = e->slot};
    tool->id_text = writer_copy(w, e->id_text);
    tool->name_text = writer_copy(w, e->name_text);
    return tool;
}

struct answer_tool *answer_tools_find(const struct answer_tools *tools, uint32_t slot)
{
    /* slots are mostly counted as they begin, and an answer may hold any number of them */
    if (slot < tools->count && tools->items[slot].slot == slot)
        return &tools->items[slot];
    for (size_t i = tools->count; i-- > 0;) {
        if (tools->items[i].slot == slot)
            return &tools->items[i];
    }
    return NULL;
}
