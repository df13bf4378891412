#include "services/ctl/import/keys.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/runtime/config/config.h"
#include "common/runtime/config/yaml.h"
#include "services/ctl/ask_auth.h"
#include "services/ctl/command.h"

struct key_import {
    struct suite_paths *paths;
    const char *path;
    struct report *report;
    struct arena *arena;
    size_t index;
};

static struct import_place at(const struct key_import *k, const char *member)
{
    struct span path = arena_printf(k->arena, "[%zu].%s%c", k->index, member, 0);
    return (struct import_place){k->path, 0, path.data};
}

/* Numbers that people take for a limit; LiteLLM has floats too. */
static bool read_limit(struct json v, uint64_t *out)
{
    int64_t n;
    if (!json_i64(v, &n) || n < 0)
        return false;
    *out = (uint64_t)n;
    return true;
}

static void put_limit(const struct key_import *k, struct json_writer *w, struct json row,
                      const char *theirs, const char *ours)
{
    uint64_t n;
    struct json v = json_get(row, theirs);
    if (json_absent(v) || !read_limit(v, &n))
        return;
    jw_key(w, ours);
    jw_u64(w, n);
    report_add(k->report, FATE_CARRIED, at(k, theirs), "%s", "");
}

/* "2026-12-31T12:00:00.123Z", "+00:00" behind it, or a blank instead of the T. */
static bool read_time(struct span text, uint64_t *ms_out)
{
    struct tm tm = {0};
    char copy[32];
    if (text.len < 19 || text.len >= sizeof copy + 16)
        return false;
    memcpy(copy, text.data, 19);
    copy[19] = '\0';
    copy[10] = 'T';
    const char *end = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    time_t s = end && !*end ? timegm(&tm) : -1;
    if (s <= 0)
        return false;
    *ms_out = (uint64_t)s * 1000;
    return true;
}

static void put_expiry(const struct key_import *k, struct json_writer *w, struct json row)
{
    struct json v = json_get(row, "expires");
    uint64_t ms;
    if (json_absent(v) || !read_time(json_text(v), &ms))
        return;
    jw_key(w, "expires_ms");
    jw_u64(w, ms);
    report_add(k->report, FATE_CARRIED, at(k, "expires"), "%s", "");
}

/* Words of LiteLLM's that stand for sets of models. */
static const char *magic(struct span model)
{
    if (span_is(model, "all-proxy-models"))
        return "*";
    return span_is(model, "all-team-models") || span_is(model, "no-default-models") ? "" : NULL;
}

static void put_models(const struct key_import *k, struct json_writer *w, struct json row)
{
    struct buf list = {0};
    for (struct json_iter i = json_iter(json_get(row, "models")); json_next(&i);) {
        struct span model = json_string(i.value, k->arena);
        const char *stands = magic(model);
        if (stands && !*stands) {
            report_add(k->report, FATE_LEFT, at(k, "models"), "%.*s: there are no teams yet",
                       SPAN_ARG(model));
            continue;
        }
        buf_append_str(&list, list.len ? "," : "");
        buf_append(&list, stands ? span_str(stands) : model);
    }
    if (list.len) {
        jw_key(w, "models");
        jw_string(w, buf_span(&list));
        report_add(k->report, FATE_CARRIED, at(k, "models"), "%s", "");
    }
    buf_free(&list);
}

static void put_tags(const struct key_import *k, struct json_writer *w, struct json row)
{
    struct buf list = {0};
    struct span team = json_string(json_get(row, "team_id"), k->arena);
    for (struct json_iter i = json_iter(json_get(json_get(row, "metadata"), "tags"));
         json_next(&i);) {
        buf_append_str(&list, list.len ? "," : "");
        buf_append(&list, json_string(i.value, k->arena));
    }
    if (team.len) {
        buf_printf(&list, "%steam:%.*s", list.len ? "," : "", SPAN_ARG(team));
        report_add(k->report, FATE_CHANGED, at(k, "team_id"),
                   "a tag of the key: there are no teams yet, and no limits of theirs");
    }
    if (list.len) {
        jw_key(w, "tags");
        jw_string(w, buf_span(&list));
    }
    buf_free(&list);
}

static void report_rest(const struct key_import *k, struct json row)
{
    static const char *const left[] = {
        "max_budget",      "soft_budget", "budget_duration", "model_max_budget", "model_rpm_limit",
        "model_tpm_limit", "aliases",     "config",          "permissions",      "user_id",
        "organization_id", "budget_id",   "allowed_routes"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        struct json v = json_get(row, left[i]);
        bool empty = (json_type(v) == JSON_OBJECT || json_type(v) == JSON_ARRAY) && !json_count(v);
        if (!json_absent(v) && !empty)
            report_add(k->report, FATE_LEFT, at(k, left[i]), "our store has no place for it yet");
    }
}

static bool is_digest(struct span token)
{
    for (size_t i = 0; i < token.len; i++) {
        if (!strchr("0123456789abcdefABCDEF", token.data[i]))
            return false;
    }
    return token.len == 64;
}

static struct span name_of(const struct key_import *k, struct json row, struct span token)
{
    struct span alias = json_string(json_get(row, "key_alias"), k->arena);
    return alias.len ? alias
                     : arena_printf(k->arena, "litellm-%.*s", SPAN_ARG(span_first(token, 12)));
}

/* The member by which the key would open more here than it did there; NULL: none. A limit of 0 is
 * none here, and so is a list of models that holds nothing we know. */
static const char *opens_more(const struct key_import *k, struct json row)
{
    static const char *const limits[] = {"rpm_limit", "tpm_limit", "max_parallel_requests"};
    struct json expires = json_get(row, "expires");
    size_t models = 0, known = 0;
    uint64_t n;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct json v = json_get(row, limits[i]);
        if (!json_absent(v) && (!read_limit(v, &n) || n == 0))
            return limits[i];
    }
    if (!json_absent(expires) && !read_time(json_text(expires), &n))
        return "expires";
    for (struct json_iter i = json_iter(json_get(row, "models")); json_next(&i); models++) {
        const char *stands = magic(json_string(i.value, k->arena));
        known += !stands || *stands;
    }
    return models && !known ? "models" : NULL;
}

static void write_row(const struct key_import *k, struct json row, struct span token,
                      struct buf *line)
{
    struct span hint = json_string(json_get(row, "key_name"), k->arena);
    struct json_writer w = {.out = line};
    jw_object(&w);
    jw_key(&w, "command");
    jw_str(&w, "key.create");
    jw_key(&w, "name");
    jw_string(&w, name_of(k, row, token));
    jw_key(&w, "digest");
    jw_string(&w, token);
    jw_key(&w, "hint");
    jw_string(&w, hint.len >= 4 ? span_skip(hint, hint.len - 4) : SPAN_NONE);
    put_limit(k, &w, row, "rpm_limit", "requests_per_minute");
    put_limit(k, &w, row, "tpm_limit", "tokens_per_minute");
    put_limit(k, &w, row, "max_parallel_requests", "concurrent");
    put_expiry(k, &w, row);
    put_models(k, &w, row);
    put_tags(k, &w, row);
    jw_object_end(&w);
}

static int block(const struct key_import *k, struct span id)
{
    struct buf line = {0};
    struct answer a;
    struct json_writer w = {.out = &line};
    jw_object(&w);
    jw_key(&w, "command");
    jw_str(&w, "key.block");
    jw_key(&w, "key");
    jw_string(&w, id);
    jw_object_end(&w);
    int code = ask_auth(k->paths, buf_span(&line), &a);
    buf_free(&line);
    if (code < 0)
        answer_free(&a);
    return code;
}

/* −1, or the exit code: auth cannot be asked. */
static int import_row(struct key_import *k, struct json row)
{
    struct span token = json_string(json_get(row, "token"), k->arena);
    struct buf line = {0};
    struct answer a;
    bool blocked = false;
    if (!is_digest(token)) {
        report_add(k->report, FATE_LEFT, at(k, "token"), "is no SHA-256 of a key");
        return -1;
    }
    const char *more = opens_more(k, row);
    if (more) {
        report_add(k->report, FATE_LEFT, at(k, more),
                   "the key is not taken over: without this it would open more than it did");
        return -1;
    }
    write_row(k, row, token, &line);
    int code = ask_auth(k->paths, buf_span(&line), &a);
    buf_free(&line);
    if (code >= 0) {
        report_add(k->report, FATE_LEFT, at(k, "token"), "auth has refused it, as said");
        return code == EXIT_FAILED ? -1 : code;
    }
    report_add(k->report, FATE_CARRIED, at(k, "token"), "the same secret opens it");
    report_rest(k, row);
    if (json_bool(json_get(row, "blocked"), &blocked) && blocked)
        code = block(k, json_text(json_get(json_get(a.root, "key"), "id")));
    answer_free(&a);
    return code;
}

int import_keys(struct suite_paths *paths, const char *path, struct report *r)
{
    struct buf text = {0};
    struct json_doc doc = {0};
    struct key_import k = {paths, path, r, r->arena, 0};
    int code = -1;
    errno = 0;
    if (!config_read_file(path, &text))
        code = failure("%s: %s", path, strerror(errno ? errno : ENOMEM));
    else if (text.len > YAML_MAX_BYTES || json_parse(&doc, buf_span(&text), JSON_DEPTH_CLIENT))
        code = failure("%s: is no JSON, or larger than 4 MiB", path);
    struct json root = code < 0 ? json_root(&doc) : JSON_NOTHING;
    struct json rows = json_type(root) == JSON_OBJECT ? json_get(root, "keys") : root;
    if (code < 0 && json_type(rows) != JSON_ARRAY)
        code = failure("%s: is no list of keys", path);
    for (struct json_iter i = json_iter(code < 0 ? rows : JSON_NOTHING); code < 0 && json_next(&i);
         k.index++)
        code = import_row(&k, i.value);
    json_doc_free(&doc);
    buf_free(&text);
    return code;
}
