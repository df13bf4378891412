/* tollgate request: what became of one request, and why, from auth's ledger. */
#include <stdio.h>

#include "proto/reason.h"
#include "services/ctl/ask_auth.h"
#include "services/ctl/sheet.h"
#include "services/ctl/when.h"

static uint64_t number(struct json object, const char *name)
{
    int64_t n = 0;
    return json_i64(json_get(object, name), &n) && n > 0 ? (uint64_t)n : 0;
}

static bool has(struct json object, const char *name)
{
    return !json_absent(json_get(object, name));
}

/* Its text, appended; nothing when there is none. */
static void put_text(struct buf *out, struct json object, const char *name)
{
    json_text_decode(json_text(json_get(object, name)), out);
}

static void cell(struct sheet *s, struct json object, const char *name)
{
    struct buf text = {0};
    struct json value = json_get(object, name);
    if (json_type(value) == JSON_STRING)
        json_text_decode(json_text(value), &text);
    else if (!json_absent(value))
        buf_append(&text, json_raw(value));
    sheet_cell(s, buf_span(&text));
    buf_free(&text);
}

static enum err print_sheet(struct sheet *s)
{
    struct buf out = {0};
    enum err e = sheet_write(s, &out);
    printf("%.*s\n", (int)out.len, out.data ? out.data : "");
    sheet_free(s);
    buf_free(&out);
    return e;
}

/* ---- what is told first ---- */

static void print_line(const char *name, const struct buf *text)
{
    if (text->len)
        printf("%-9s %.*s\n", name, (int)text->len, text->data);
}

static struct json last_of(struct json list)
{
    struct json last = JSON_NOTHING;
    for (struct json_iter i = json_iter(list); json_next(&i);)
        last = i.value;
    return last;
}

/* "502 UPSTREAM_TLS after 134 ms" */
static void put_outcome(struct buf *out, struct json history, struct json row)
{
    bool known = has(history, "status");
    buf_append_u64(out, number(known ? history : row, "status"));
    if (has(history, "class")) {
        buf_append_char(out, ' ');
        put_text(out, history, "class");
    }
    buf_printf(
        out, " after %llu ms",
        (unsigned long long)number(known ? history : row, known ? "took_ms" : "duration_ms"));
}

/* The last attempt's reason, where it has one, else our own words. */
static void put_why(struct buf *out, struct json history)
{
    struct json last = last_of(json_get(history, "attempts"));
    const char *reason = reason_text(json_text(json_get(last, "reason")));
    if (has(history, "class") && *reason)
        buf_append_str(out, reason);
    else
        put_text(out, history, "message");
    bool long_wait =
        number(history, "waited_ms") >= 1000 || !json_count(json_get(history, "attempts"));
    if (has(history, "waited_ms") && long_wait)
        buf_printf(out, "%swaited %llu ms for a worker", out->len ? "; " : "",
                   (unsigned long long)number(history, "waited_ms"));
}

static void print_head(struct json root, const char *id)
{
    struct json history = json_get(root, "history"), row = last_of(json_get(root, "rows"));
    struct buf key = {0}, model = {0}, outcome = {0}, why = {0};
    char when[20];
    put_text(&key, row, "key_name");
    put_text(&model, has(history, "model") ? history : row, "model");
    put_outcome(&outcome, history, row);
    put_why(&why, history);
    when_text(number(has(history, "started_ms") ? history : row, "started_ms"), when);
    printf("request   %s\nstarted   %s UTC\n", id, when);
    print_line("key", &key);
    print_line("model", &model);
    print_line("outcome", &outcome);
    print_line("why", &why);
    buf_free(&key);
    buf_free(&model);
    buf_free(&outcome);
    buf_free(&why);
}

/* ---- tables ---- */

static enum err print_attempts(struct json attempts)
{
    static const char *const members[] = {
        "attempt", "provider",        "model", "worker", "endpoint", "waited_ms",
        "took_ms", "upstream_status", "class", "reason", "code",     "provider_request_id"};
    struct sheet s;
    if (!json_count(attempts))
        return OK;
    sheet_init(&s, ">ATTEMPT|PROVIDER|UPSTREAM MODEL|WORKER|>ENDPOINT|>WAITED MS|>TOOK MS|>STATUS|"
                   "CLASS|REASON|CODE|PROVIDER'S ID");
    for (struct json_iter i = json_iter(attempts); json_next(&i);)
        for (size_t m = 0; m < sizeof members / sizeof members[0]; m++)
            cell(&s, i.value, members[m]);
    printf("\n");
    return print_sheet(&s);
}

static enum err print_rows(struct json rows)
{
    struct sheet s;
    if (!json_count(rows))
        return OK;
    sheet_init(&s, ">BOOKED|PROVIDER|UPSTREAM MODEL|>STATUS|>INPUT|>CACHED|>OUTPUT|>COST $|>FIRST "
                   "MS|>MS|PROVIDER'S ANSWER");
    for (struct json_iter i = json_iter(rows); json_next(&i);) {
        static const char *const members[] = {"attempt",      "provider",     "upstream_model",
                                              "status",       "input_tokens", "cached_tokens",
                                              "output_tokens"};
        for (size_t m = 0; m < sizeof members / sizeof members[0]; m++)
            cell(&s, i.value, members[m]);
        sheet_dollars(&s, number(i.value, "cost_nano"));
        cell(&s, i.value, "first_ms");
        cell(&s, i.value, "duration_ms");
        cell(&s, i.value, "upstream_id");
    }
    return print_sheet(&s);
}

static int print(struct json root, const char *id)
{
    print_head(root, id);
    enum err e = print_attempts(json_get(json_get(root, "history"), "attempts"));
    if (!e)
        e = print_rows(json_get(root, "rows"));
    return e ? failure("out of memory") : EXIT_DONE;
}

static int request(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    bool as_json = false;
    struct positionals rest;
    const struct arg args[] = {
        {"json", NULL, "print JSON", NULL, &as_json}, PATHS_ARGS(paths), {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count != 1)
        return usage_error(self, "one request's id is needed");
    struct buf line = {0};
    struct json_writer w = {.out = &line};
    jw_object(&w);
    jw_key(&w, "command");
    jw_str(&w, "request");
    jw_key(&w, "id");
    jw_str(&w, rest.items[0]);
    jw_object_end(&w);
    struct answer a;
    code = ask_auth(&paths, buf_span(&line), &a);
    buf_free(&line);
    if (code >= 0)
        return code;
    struct json found = json_get(a.root, "request");
    if (as_json)
        printf("%.*s\n", SPAN_ARG(json_raw(found)));
    else
        code = print(found, rest.items[0]);
    answer_free(&a);
    return code < 0 ? EXIT_DONE : code;
}

const struct command command_request = {
    "request", "Show what became of one request, and why.", "[OPTION]... ID",
    "ID is what answers carry as request-id (req_…), with or without \"req_\". Attempts are kept "
    "of "
    "requests that failed or needed\nseveral; what was booked, of all. One that was refused before "
    "it was let in (a wrong key, a limit) is in the edge's log alone.",
    request};
