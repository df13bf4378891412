/* Replicate predictions (docs/wire.md, Replicate): a lookup of the model's schema, a create, and
 * then its stream or its polls. */
#include "services/worker/providers/replicate/replicate.h"

#include "services/worker/neutral/fault.h"
#include "services/worker/providers/error_map.h"
#include "services/worker/providers/replicate/schema_cache.h"

enum { VERSION_HEX = 64 };

/* What a model is asked for while its schema is not known. */
#define UNKNOWN_SCHEMAS "{\"Input\":{\"properties\":{\"prompt\":{\"type\":\"string\"}}}}"

/* ---- addresses ---- */

void replicate_append_segment(struct buf *out, struct span segment)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < segment.len; i++) {
        unsigned char c = (unsigned char)segment.data[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '_' || c == '~' || (c == '.' && segment.len > 2);
        if (plain) {
            buf_append_char(out, (char)c);
        } else {
            buf_append_char(out, '%');
            buf_append_char(out, hex[c >> 4]);
            buf_append_char(out, hex[c & 15]);
        }
    }
}

/* "/a/b/c" from a literal and up to three segments, empty ones left out, in the arena. */
static struct span path(struct conversion *pc, const char *start, const struct span *segments,
                        size_t count, const char *end)
{
    struct buf b = {0};
    buf_append_str(&b, start);
    for (size_t i = 0; i < count; i++) {
        buf_append_char(&b, '/');
        replicate_append_segment(&b, segments[i]);
    }
    buf_append_str(&b, end);
    struct span out = arena_copy(pc->arena, buf_span(&b));
    buf_free(&b);
    return out;
}

static bool is_version(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        bool hex = (s.data[i] >= '0' && s.data[i] <= '9') || (s.data[i] >= 'a' && s.data[i] <= 'f');
        if (!hex)
            return false;
    }
    return s.len == VERSION_HEX;
}

/* owner/name, owner/name:version, version, deployments/owner/name */
static bool read_model(struct replicate_state *s, struct span model)
{
    struct span rest = model;
    if (is_version(model)) {
        s->version = model;
        return true;
    }
    if (span_starts(model, "deployments/")) {
        s->deployment = true;
        rest = span_skip(model, strlen("deployments/"));
    }
    s->name = span_cut(&rest, ':');
    s->version = rest;
    rest = s->name;
    s->owner = span_cut(&rest, '/');
    s->name = rest;
    bool plain = span_find(s->name, '/') == s->name.len;
    bool version = s->version.len == 0 || (is_version(s->version) && !s->deployment);
    return s->owner.len && s->name.len && plain && version;
}

/* ---- which URL may be asked ---- */

static struct span origin_of(struct span url)
{
    size_t at = span_find_span(url, SPAN("://"));
    if (at == url.len)
        return SPAN_NONE;
    struct span rest = span_skip(url, at + 3);
    size_t n = 0;
    while (n < rest.len && rest.data[n] != '/' && rest.data[n] != '?' && rest.data[n] != '#')
        n++;
    return span_first(url, at + 3 + n);
}

static bool is_host(struct span compat)
{
    for (size_t i = 0; i < compat.len; i++) {
        char c = compat.data[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '.' || c == '-';
        if (!ok)
            return false;
    }
    return compat.len > 0;
}

static bool is_clean(struct span url)
{
    for (size_t i = 0; i < url.len; i++) {
        if ((unsigned char)url.data[i] <= ' ' || url.data[i] == 0x7f || url.data[i] == '\\')
            return false;
    }
    return url.len < 4096;
}

bool replicate_stream_is_safe(const struct conversion *pc, struct span url)
{
    struct span origin = origin_of(url);
    if (!is_clean(url) || !origin.len)
        return false;
    if (pc->compat.private_network && span_equals(origin, origin_of(pc->compat.base_url)))
        return true;
    if (!span_starts(origin, "https://"))
        return false;
    struct span compat = span_skip(origin, strlen("https://"));
    /* a user name, a port or anything else that is no plain name is refused with it */
    return is_host(compat) &&
           (span_ends(compat, ".replicate.com") || span_ends(compat, ".replicate.net"));
}

/* ---- transfers ---- */

static struct transfer *ask(struct conversion *pc, const char *method, struct span at)
{
    struct transfer *x = ARENA_NEW(pc->arena, struct transfer);
    if (!x || !at.data)
        return NULL;
    *x = (struct transfer){.method = method, .path = at, .repeatable = strcmp(method, "GET") == 0};
    pc->next = x;
    return x;
}

enum err replicate_ask_prediction(struct conversion *pc, struct replicate_state *s)
{
    return ask(pc, "GET", path(pc, "/predictions", &s->id, 1, "")) ? OK : ERR_NOMEM;
}

void replicate_ask_cancel(struct conversion *pc, struct replicate_state *s)
{
    if (!s->id.len || s->over || s->cancelled)
        return;
    struct transfer *x = ask(pc, "POST", path(pc, "/predictions", &s->id, 1, "/cancel"));
    s->cancelled = true;
    if (x)
        x->detached = true;
}

static struct span create_path(struct conversion *pc, const struct replicate_state *s)
{
    const struct span segments[] = {s->owner, s->name};
    if (s->version.len)
        return path(pc, "/predictions", NULL, 0, "");
    return path(pc, s->deployment ? "/deployments" : "/models", segments, 2, "/predictions");
}

static enum err create(struct conversion *pc, struct replicate_state *s, struct fault *fault_out)
{
    struct buf body = {0};
    enum err e = replicate_write_body(pc, s, &body, fault_out);
    struct transfer *x = e ? NULL : ask(pc, "POST", create_path(pc, s));
    if (x) {
        x->body = arena_copy(pc->arena, buf_span(&body));
        x->headers = pc->request->stream ? SPAN_NONE : SPAN("prefer: wait=60\n");
        s->create = x;
    }
    if (!e && (!x || buf_check(&body) || !x->body.data)) {
        fault_set(fault_out, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.",
                  NULL);
        pc->next = NULL;
        e = ERR_INVALID;
    }
    buf_free(&body);
    return e;
}

/* ---- the model's schema ---- */

static struct span schema_name(const struct conversion *pc)
{
    return pc->target_model;
}

static enum err look_up(struct conversion *pc, struct replicate_state *s)
{
    const struct span segments[] = {s->owner, s->name, SPAN("versions"), s->version};
    const char *start = s->deployment ? "/deployments" : "/models";
    s->lookup = ask(pc, "GET", path(pc, start, segments, s->version.len ? 4 : 2, ""));
    return s->lookup ? OK : ERR_NOMEM;
}

/* A deployment tells which version of which model it runs; that one's schema is asked for next. */
static enum err look_up_release(struct conversion *pc, struct replicate_state *s,
                                struct json release)
{
    struct span name = json_string(json_get(release, "model"), pc->arena);
    struct span version = json_string(json_get(release, "version"), pc->arena);
    struct span owner = span_cut(&name, '/');
    const struct span segments[] = {owner, name, SPAN("versions"), version};
    if (!owner.len || !name.len || !is_version(version))
        return ERR_NOT_FOUND;
    s->lookup = ask(pc, "GET", path(pc, "/models", segments, 4, ""));
    return s->lookup ? OK : ERR_NOMEM;
}

static struct json schemas_in(struct json root)
{
    struct json version = json_get(root, "latest_version");
    struct json from = json_type(version) == JSON_OBJECT ? version : root;
    return json_get(json_get(json_get(from, "openapi_schema"), "components"), "schemas");
}

static enum err take_lookup(struct conversion *pc, struct replicate_state *s, struct json root)
{
    struct json release = json_get(root, "current_release");
    struct json schemas = schemas_in(root);
    struct fault fault = {0};
    s->lookup = NULL;
    if (json_type(release) == JSON_OBJECT) {
        enum err e = look_up_release(pc, s, release);
        if (e != ERR_NOT_FOUND)
            return e;
    }
    s->schemas = SPAN(UNKNOWN_SCHEMAS);
    if (json_type(json_get(json_get(schemas, "Input"), "properties")) == JSON_OBJECT) {
        s->schemas = arena_copy(pc->arena, json_raw(schemas));
        if (!s->schemas.data)
            return ERR_NOMEM;
        schema_cache_put(pc->schemas, schema_name(pc), pc->now_s, s->schemas);
    }
    if (create(pc, s, &fault))
        out_fault(pc, &s->out, &fault);
    return OK;
}

/* ---- the vtable ---- */

static enum err build_request(struct conversion *pc, struct fault *fault_out)
{
    struct replicate_state *s = ARENA_NEW(pc->arena, struct replicate_state);
    pc->state = s;
    if (!s || !read_model(s, pc->target_model)) {
        fault_set(fault_out, s ? ERROR_UPSTREAM_NOT_FOUND : ERROR_REQUEST_TOO_LARGE,
                  s ? "Replicate models are named owner/name, owner/name:version, a version, or "
                      "deployments/owner/name."
                    : "The request is too large to translate.",
                  s ? "model" : NULL);
        return ERR_INVALID;
    }
    s->schemas = schema_cache_get(pc->schemas, schema_name(pc), pc->now_s, pc->arena);
    if (!s->schemas.len && !s->owner.len)
        s->schemas = SPAN(UNKNOWN_SCHEMAS); /* a bare version: there is nothing to ask */
    if (s->schemas.len)
        return create(pc, s, fault_out);
    if (look_up(pc, s) == OK)
        return OK;
    fault_set(fault_out, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.", NULL);
    return ERR_INVALID;
}

static enum err parse_response(struct conversion *pc, const struct transfer *x, struct span body)
{
    struct replicate_state *s = pc->state;
    struct buf repaired = {0};
    struct json root;
    if (!out_is_open(&s->out))
        return OK;
    enum err e = out_parse(pc, body, &repaired, &root);
    if (!e && json_type(root) != JSON_OBJECT)
        e = ERR_INVALID;
    if (!e && s->lookup)
        e = take_lookup(pc, s, root);
    else if (!e)
        e = replicate_take_prediction(pc, s, root, x == s->create);
    buf_free(&repaired);
    return e;
}

static enum err on_timer(struct conversion *pc)
{
    struct replicate_state *s = pc->state;
    return out_is_open(&s->out) && s->id.len ? replicate_ask_prediction(pc, s) : OK;
}

static void cancel(struct conversion *pc)
{
    replicate_ask_cancel(pc, pc->state);
}

const struct provider provider_replicate = {
    .name = "replicate",
    .base_url = "https://api.replicate.com/v1",
    .auth = AUTH_BEARER,
    .fixed_headers = "",
    .native_apis = 0,
    .create_is_paid = true,
    .build_request = build_request,
    .parse_response = parse_response,
    .parse_event = replicate_parse_event,
    .parse_end = replicate_parse_end,
    .map_error = error_map,
    .on_timer = on_timer,
    .cancel = cancel,
};
