#include "services/ctl/keys_edit.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "services/ctl/ask_auth.h"
#include "services/ctl/keys_print.h"
#include "services/ctl/when.h"

struct key_options {
    const char *name, *expires, *models, *model_limits, *tags;
    const char *per_minute, *per_hour, *tokens, *concurrent;
    const char *secret, *overlap;
    bool json, quiet;
};

/* Of create and update alike. */
#define LIMIT_ARGS(o)                                                                              \
    {"expires", "WHEN", "2026-12-31, 2026-12-31T12:00:00Z, 30d, 12h, never", &(o).expires, NULL},  \
        {"models", "LIST", "patterns, comma-separated: gpt-4,claude-*; all", &(o).models, NULL},   \
        {"rpm", "N", "requests per minute; none, as below", &(o).per_minute, NULL},                \
        {"rph", "N", "requests per hour", &(o).per_hour, NULL},                                    \
        {"tpm", "N", "tokens per minute", &(o).tokens, NULL},                                      \
        {"concurrent", "N", "requests at the same time", &(o).concurrent, NULL},                   \
        {"model-limits", "LIST", "requests by model: gpt-4=100/hour,claude-*=5/minute",            \
         &(o).model_limits, NULL},                                                                 \
    {                                                                                              \
        "tags", "LIST", "of all its requests in the ledger, comma-separated", &(o).tags, NULL      \
    }

static bool is_word(const char *text, const char *word)
{
    return span_is(span_str(text), word);
}

/* `none`: the word that takes the list away. */
static void put_text(struct json_writer *w, const char *name, const char *text, const char *none)
{
    if (!text)
        return;
    jw_key(w, name);
    jw_str(w, none && is_word(text, none) ? "" : text);
}

static bool put_count(struct json_writer *w, const char *name, const char *text)
{
    uint64_t n = 0;
    if (!text)
        return true;
    if (!is_word(text, "none") && (!span_to_u64(span_str(text), &n) || n > (uint64_t)1000000000000))
        return false;
    jw_key(w, name);
    jw_u64(w, n);
    return true;
}

/* −1, or the exit code when the date is none. */
static int put_expiry(const struct command *self, struct json_writer *w, const char *text)
{
    uint64_t now_ms = clock_wall_ms(&clock_real), expires_ms = 0;
    if (!text)
        return -1;
    if (!is_word(text, "never")) {
        if (!when_future(span_str(text), now_ms, &expires_ms))
            return usage_error(self, "'%s' is no date; write 2026-12-31, 30d or never", text);
        if (expires_ms <= now_ms)
            return usage_error(self, "'%s' is in the past", text);
    }
    jw_key(w, "expires_ms");
    jw_u64(w, expires_ms);
    return -1;
}

static int put_limits(const struct command *self, struct json_writer *w,
                      const struct key_options *o)
{
    put_text(w, "name", o->name, NULL);
    put_text(w, "models", o->models, "all");
    put_text(w, "model_limits", o->model_limits, "none");
    put_text(w, "tags", o->tags, "none");
    if (!put_count(w, "requests_per_minute", o->per_minute) ||
        !put_count(w, "requests_per_hour", o->per_hour) ||
        !put_count(w, "tokens_per_minute", o->tokens) || !put_count(w, "concurrent", o->concurrent))
        return usage_error(self, "limits are whole numbers, or none");
    return put_expiry(self, w, o->expires);
}

static struct json_writer begin(struct buf *line, const char *command, const char *key)
{
    struct json_writer w = {.out = line};
    jw_object(&w);
    jw_key(&w, "command");
    jw_str(&w, command);
    put_text(&w, "key", key, NULL);
    return w;
}

/* ---- a secret of one's own ---- */

enum { SECRET_LEAST = 4, SECRET_SHORT = 20, SECRET_MAX = 512, HINT_BYTES = 4 };

static bool secret_is_sane(struct span secret)
{
    for (size_t i = 0; i < secret.len; i++) {
        if (secret.data[i] <= ' ' || secret.data[i] > '~')
            return false;
    }
    return secret.len >= SECRET_LEAST && secret.len <= SECRET_MAX;
}

/* "-" reads it from standard input, so that it stands in no list of processes. auth gets its
 * digest; −1, or the exit code. */
static int put_secret(const struct command *self, struct json_writer *w, const char *text)
{
    char line[SECRET_MAX + 2] = "", hex[2 * SHA256_BYTES + 1];
    uint8_t digest[SHA256_BYTES];
    if (is_word(text, "-") && !fgets(line, sizeof line, stdin))
        return failure("no key came on standard input");
    struct span secret = span_trim(span_str(is_word(text, "-") ? line : text));
    if (!secret_is_sane(secret))
        return usage_error(self, "a key has 4 to 512 printable characters, and no blanks");
    if (secret.len < SECRET_SHORT)
        (void)fprintf(stderr,
                      "note: a key that short can be guessed; keys rotate gives it another\n");
    crypto_sha256(secret, digest);
    crypto_hex(digest, sizeof digest, hex);
    put_text(w, "digest", hex, NULL);
    jw_key(w, "hint");
    jw_string(w,
              secret.len < SECRET_SHORT ? SPAN_NONE : span_skip(secret, secret.len - HINT_BYTES));
    crypto_wipe(line, sizeof line);
    return -1;
}

/* ---- answers ---- */

static void print_secret(const struct answer *a, const struct key_options *o)
{
    struct span secret = json_text(json_get(a->root, "secret"));
    struct json key = json_get(a->root, "key");
    char until[20];
    int64_t until_ms = 0;
    if (o->json) {
        printf("%.*s\n", SPAN_ARG(json_raw(a->root)));
        return;
    }
    if (secret.len)
        printf("%.*s\n", SPAN_ARG(secret));
    if (o->quiet)
        return;
    printf("%sThis is key %.*s (%.*s).%s\n", secret.len ? "\n" : "",
           SPAN_ARG(json_text(json_get(key, "id"))), SPAN_ARG(json_text(json_get(key, "name"))),
           secret.len ? " It is shown only now: keep it safe." : "");
    if (json_i64(json_get(key, "old_secret_until_ms"), &until_ms) && until_ms > 0) {
        when_text((uint64_t)until_ms, until);
        printf("The old one works until %s UTC.\n", until);
    }
}

/* Sends the line; prints what came. `code`: of what made the line. */
static int ask(struct suite_paths *paths, struct buf *line, const struct key_options *o,
               bool secret, int code)
{
    struct answer a;
    if (code < 0)
        code = ask_auth(paths, buf_span(line), &a);
    buf_free(line);
    if (code >= 0)
        return code;
    if (secret)
        print_secret(&a, o);
    else if (o->json)
        printf("%.*s\n", SPAN_ARG(json_raw(json_get(a.root, "key"))));
    else
        keys_print_one(json_get(a.root, "key"));
    crypto_wipe(a.text.data, a.text.len);
    answer_free(&a);
    return EXIT_DONE;
}

int keys_create(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct key_options o = {0};
    struct positionals rest;
    const struct arg args[] = {
        {"name", "NAME", "for people; unique among valid keys", &o.name, NULL},
        LIMIT_ARGS(o),
        {"key", "KEY", "one that exists elsewhere, instead of a new one; - reads it", &o.secret,
         NULL},
        {"quiet", NULL, "print the key and nothing else", NULL, &o.quiet},
        {"json", NULL, "print JSON", NULL, &o.json},
        PATHS_ARGS(paths),
        {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (!o.name && rest.count == 1)
        o.name = rest.items[0];
    else if (rest.count)
        return usage_error(self, "unexpected argument '%s'", rest.items[0]);
    if (!o.name)
        return usage_error(self, "a name is needed");
    struct buf line = {0};
    struct json_writer w = begin(&line, "key.create", NULL);
    code = put_limits(self, &w, &o);
    if (code < 0 && o.secret)
        code = put_secret(self, &w, o.secret);
    jw_object_end(&w);
    return ask(&paths, &line, &o, true, code);
}

int keys_update(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct key_options o = {0};
    struct positionals rest;
    const struct arg args[] = {{"name", "NAME", "another name", &o.name, NULL},
                               LIMIT_ARGS(o),
                               {"json", NULL, "print JSON", NULL, &o.json},
                               PATHS_ARGS(paths),
                               {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count != 1)
        return usage_error(self, "one key is needed, by its id or name");
    struct buf line = {0};
    struct json_writer w = begin(&line, "key.update", rest.items[0]);
    code = put_limits(self, &w, &o);
    jw_object_end(&w);
    return ask(&paths, &line, &o, false, code);
}

static int put_overlap(const struct command *self, struct json_writer *w, const char *text)
{
    uint64_t now_ms = clock_wall_ms(&clock_real), until_ms = now_ms;
    if (!is_word(text, "0") &&
        (!when_future(span_str(text), now_ms, &until_ms) || until_ms < now_ms))
        return usage_error(self, "'%s' is no time; write 24h, 7d, 2026-12-31 or 0", text);
    jw_key(w, "overlap_ms");
    jw_u64(w, until_ms - now_ms);
    return -1;
}

int keys_rotate(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct key_options o = {.overlap = "24h"};
    struct positionals rest;
    const struct arg args[] = {
        {"overlap", "TIME", "how long the old secret still works: 24h (default), 7d, a date, 0",
         &o.overlap, NULL},
        {"quiet", NULL, "print the new secret and nothing else", NULL, &o.quiet},
        {"json", NULL, "print JSON", NULL, &o.json},
        PATHS_ARGS(paths),
        {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count != 1)
        return usage_error(self, "one key is needed, by its id or name");
    struct buf line = {0};
    struct json_writer w = begin(&line, "key.rotate", rest.items[0]);
    code = put_overlap(self, &w, o.overlap);
    jw_object_end(&w);
    return ask(&paths, &line, &o, true, code);
}
