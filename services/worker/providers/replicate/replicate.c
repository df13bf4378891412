/* Replicate predictions (docs/wire.md, Replicate): a lookup of the model's schema, a create, and
 * then its stream or its polls. */
#include "services/worker/providers/replicate/replicate.h"

#include "services/worker/providers/error_map.h"
#include "services/worker/providers/replicate/schema_cache.h"

enum { VERSION_HEX = 64 };

/* What a model is asked for while its schema is not known. */
#define UNKNOWN_SCHEMAS "{\"Input\":{\"properties\":{\"prompt\":{\"type\":\"string\"}}}}"

/* ---- addresses ---- */

static bool is_version(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        bool hex = (s.data[i] >= '0' && s.data[i] <= '9') || (s.data[i] >= 'a' && s.data[i] <= 'f');
        if (!hex)
            return false;
    }
    return s.len == VERSION_HEX;
}

/* What servers take for a step within a path, also when it is percent-encoded. */
static bool is_step(struct span segment)
{
    return span_is(segment, ".") || span_is(segment, "..");
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
    bool step = is_step(s->owner) || is_step(s->name);
    return s->owner.len && s->name.len && plain && version && !step;
}

/* ---- which URL may be asked ---- */

/* ---- transfers ---- */

static struct span create_path(struct conversion *pc, const struct replicate_state *s)
{
    const struct span segments[] = {s->owner, s->name};
    if (s->version.len)
        return replicate_path(pc, "/predictions", NULL, 0, "");
    return replicate_path(pc, s->deployment ? "/deployments" : "/models", segments, 2,
                          "/predictions");
}

static enum err create(struct conversion *pc, struct replicate_state *s,
                       struct api_error *fault_out)
{
    struct buf body = {0};
    enum err e = replicate_write_body(pc, s, &body, fault_out);
    struct transfer *x = e ? NULL : replicate_ask(pc, "POST", create_path(pc, s));
    if (x) {
        x->body = arena_copy(pc->arena, buf_span(&body));
        x->headers = pc->request->stream ? SPAN_NONE : SPAN("prefer: wait=60\n");
        s->create = x;
    }
    if (!e && (!x || buf_check(&body) || !x->body.data)) {
        api_error_set(fault_out, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.",
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
    s->lookup =
        replicate_ask(pc, "GET", replicate_path(pc, start, segments, s->version.len ? 4 : 2, ""));
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
    if (!owner.len || !name.len || is_step(owner) || is_step(name) || !is_version(version))
        return ERR_NOT_FOUND;
    s->lookup = replicate_ask(pc, "GET", replicate_path(pc, "/models", segments, 4, ""));
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
    struct api_error fault = {0};
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

static enum err build_request(struct conversion *pc, struct api_error *fault_out)
{
    struct replicate_state *s = ARENA_NEW(pc->arena, struct replicate_state);
    pc->state = s;
    if (!s || !read_model(s, pc->target_model)) {
        api_error_set(
            fault_out, s ? ERROR_UPSTREAM_NOT_FOUND : ERROR_REQUEST_TOO_LARGE,
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
    api_error_set(fault_out, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.",
                  NULL);
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
    .protocol = PROTOCOL_REPLICATE,
    .fixed_headers = "",
    .native_apis = 0,
    .build_request = build_request,
    .parse_response = parse_response,
    .parse_event = replicate_parse_event,
    .parse_end = replicate_parse_end,
    .map_error = error_map,
    .on_timer = on_timer,
    .cancel = cancel,
};
