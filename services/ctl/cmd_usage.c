/* tollgate usage: what was used and what it cost, from auth's ledger. */
#include <stdio.h>

#include "common/base/clock.h"
#include "services/ctl/ask_auth.h"
#include "services/ctl/csv.h"
#include "services/ctl/sheet.h"
#include "services/ctl/when.h"

struct usage_options {
    const char *by, *since, *until, *key, *model, *status, *limit;
    bool requests, json, csv;
};

/* In the order of their columns. */
static const struct {
    const char *word, *head, *member;
} dimensions[] = {{"day", "DAY|", "day"},        {"key", "KEY|", "key_name"},
                  {"user", "USER|", "end_user"}, {"tag", "TAG|", "tag"},
                  {"model", "MODEL|", "model"},  {"provider", "PROVIDER|", "provider"}};

static bool is_dimension(struct span word)
{
    for (size_t i = 0; i < sizeof dimensions / sizeof dimensions[0]; i++) {
        if (span_is(word, dimensions[i].word))
            return true;
    }
    return false;
}

static bool has_dimension(const char *by, const char *word)
{
    struct span rest = span_str(by);
    while (rest.len) {
        if (span_is(span_trim(span_cut(&rest, ',')), word))
            return true;
    }
    return false;
}

static int put_by(const struct command *self, struct json_writer *w, const char *by)
{
    struct span rest = span_str(by);
    jw_key(w, "by");
    jw_array(w);
    while (rest.len) {
        struct span word = span_trim(span_cut(&rest, ','));
        if (!is_dimension(word))
            return usage_error(self,
                               "--by takes key, user, tag, model, provider and day, not '%.*s'",
                               SPAN_ARG(word));
        jw_string(w, word);
    }
    jw_array_end(w);
    return -1;
}

static int put_day(const struct command *self, struct json_writer *w, const char *name,
                   const char *text)
{
    uint64_t day;
    if (!text)
        return -1;
    if (!when_day(span_str(text), clock_wall_ms(&clock_real), &day))
        return usage_error(self, "'%s' is no day; write 2026-12-31, today or 7d", text);
    jw_key(w, name);
    jw_u64(w, day);
    return -1;
}

/* Sums are kept by day; single requests by the moment. */
static int put_since(const struct command *self, struct json_writer *w,
                     const struct usage_options *o)
{
    uint64_t ms;
    if (!o->since || !o->requests)
        return put_day(self, w, "since_day", o->since);
    if (!when_past(span_str(o->since), clock_wall_ms(&clock_real), &ms))
        return usage_error(self, "'%s' is no time; write 1h, 45m, 7d, 2026-12-31 or today",
                           o->since);
    jw_key(w, "since_ms");
    jw_u64(w, ms);
    return -1;
}

static void put_text(struct json_writer *w, const char *name, const char *text)
{
    if (!text)
        return;
    jw_key(w, name);
    jw_str(w, text);
}

static int write_query(const struct command *self, const struct usage_options *o, struct buf *line)
{
    struct json_writer w = {.out = line};
    uint64_t limit = 0;
    jw_object(&w);
    jw_key(&w, "command");
    jw_str(&w, "usage");
    int code = put_by(self, &w, o->by);
    if (code < 0)
        code = put_since(self, &w, o);
    if (code < 0)
        code = put_day(self, &w, "until_day", o->until);
    if (code < 0 && o->limit && !span_to_u64(span_str(o->limit), &limit))
        code = usage_error(self, "--limit takes a number");
    if (code < 0 && o->status && !o->requests)
        code = usage_error(self, "--status goes with --requests: sums know no status");
    if (code >= 0)
        return code;
    put_text(&w, "key", o->key);
    put_text(&w, "model", o->model);
    put_text(&w, "status", o->status);
    jw_key(&w, "rows");
    jw_bool(&w, o->requests);
    jw_key(&w, "limit");
    jw_u64(&w, limit ? limit : o->requests ? 50 : 10000);
    jw_object_end(&w);
    return -1;
}

static uint64_t number(struct json row, const char *name)
{
    int64_t n = 0;
    return json_i64(json_get(row, name), &n) && n > 0 ? (uint64_t)n : 0;
}

static void text_cell(struct sheet *s, struct json row, const char *name)
{
    struct buf text = {0};
    json_text_decode(json_text(json_get(row, name)), &text);
    sheet_cell(s, buf_span(&text));
    buf_free(&text);
}

struct sums {
    uint64_t requests, estimated, input, cached, output, cost, unpriced;
};

/* A ledger may hold rows of any size. */
static void add(uint64_t *sum, uint64_t n)
{
    if (__builtin_add_overflow(*sum, n, sum))
        *sum = UINT64_MAX;
}

static void sum_cells(struct sheet *s, const struct sums *v)
{
    sheet_u64(s, v->requests);
    sheet_u64(s, v->estimated);
    sheet_u64(s, v->input);
    sheet_u64(s, v->cached);
    sheet_u64(s, v->output);
    sheet_dollars(s, v->cost);
}

static void sum_row(struct sheet *s, const char *by, struct json row, struct sums *total)
{
    for (size_t i = 0; i < sizeof dimensions / sizeof dimensions[0]; i++) {
        if (has_dimension(by, dimensions[i].word))
            text_cell(s, row, dimensions[i].member);
    }
    struct sums v = {number(row, "requests"),      number(row, "estimated"),
                     number(row, "input_tokens"),  number(row, "cached_tokens"),
                     number(row, "output_tokens"), number(row, "cost_nano"),
                     number(row, "unpriced")};
    sum_cells(s, &v);
    add(&total->requests, v.requests);
    add(&total->estimated, v.estimated);
    add(&total->input, v.input);
    add(&total->cached, v.cached);
    add(&total->output, v.output);
    add(&total->cost, v.cost);
    add(&total->unpriced, v.unpriced);
}

static void note_unpriced(const struct sums *total)
{
    if (total->unpriced)
        (void)fprintf(stderr,
                      "note: %llu of these requests used models without a price and count as $0; "
                      "tollgate models says which\n",
                      (unsigned long long)total->unpriced);
}

static void sums_sheet(struct sheet *s, const char *by, struct json rows)
{
    struct buf head = {0};
    struct sums total = {0};
    size_t dims = 0;
    for (size_t i = 0; i < sizeof dimensions / sizeof dimensions[0]; i++) {
        if (has_dimension(by, dimensions[i].word))
            buf_append_str(&head, dimensions[i].head);
        dims += has_dimension(by, dimensions[i].word);
    }
    buf_append_str(&head, ">REQUESTS|>ESTIMATED|>INPUT|>CACHED|>OUTPUT|>COST $");
    buf_append_char(&head, '\0');
    sheet_init(s, head.data ? head.data : "");
    buf_free(&head);
    for (struct json_iter i = json_iter(rows); json_next(&i);)
        sum_row(s, by, i.value, &total);
    note_unpriced(&total);
    if (dims == 0 && json_count(rows))
        return; /* the one row is the total */
    if (has_dimension(by, "tag"))
        return; /* a request counts in each of its tags: the sums of tags are no total */
    for (size_t i = 0; i < dims; i++)
        sheet_str(s, i == 0 ? "total" : "");
    sum_cells(s, &total);
}

static void add_note(struct buf *notes, struct span note)
{
    if (!note.len)
        return;
    buf_append_str(notes, notes->len ? ", " : "");
    buf_append(notes, note);
}

/* How it came to its cost, where that is not the plain way. */
static void notes_cell(struct sheet *s, struct json row)
{
    struct buf notes = {0};
    struct json source = json_get(row, "cost_source");
    if (number(row, "estimated"))
        add_note(&notes, SPAN("estimated"));
    add_note(&notes, json_text(json_get(row, "service_tier")));
    if (number(row, "cache_write_1h_tokens"))
        add_note(&notes, SPAN("1h cache write"));
    if (number(row, "tool_calls"))
        add_note(&notes, SPAN("tool calls"));
    if (json_is(source, "stated"))
        add_note(&notes, SPAN("cost as stated"));
    else if (json_is(source, "unpriced"))
        add_note(&notes, SPAN("no price"));
    sheet_cell(s, buf_span(&notes));
    buf_free(&notes);
}

static void requests_sheet(struct sheet *s, struct json rows)
{
    char when[20];
    sheet_init(
        s,
        "REQUEST|STARTED|KEY|MODEL|PROVIDER|>STATUS|ERROR|>INPUT|>CACHED|>OUTPUT|>COST $|>MS|NOTE");
    for (struct json_iter i = json_iter(rows); json_next(&i);) {
        text_cell(s, i.value, "request_id");
        when_text(number(i.value, "started_ms"), when);
        sheet_str(s, when);
        text_cell(s, i.value, "key_name");
        text_cell(s, i.value, "model");
        text_cell(s, i.value, "provider");
        sheet_u64(s, number(i.value, "status"));
        text_cell(s, i.value, "error");
        sheet_u64(s, number(i.value, "input_tokens"));
        sheet_u64(s, number(i.value, "cached_tokens"));
        sheet_u64(s, number(i.value, "output_tokens"));
        sheet_dollars(s, number(i.value, "cost_nano"));
        sheet_u64(s, number(i.value, "duration_ms"));
        notes_cell(s, i.value);
    }
}

static int print(const struct usage_options *o, struct json rows)
{
    struct sheet s;
    struct buf out = {0};
    if (o->requests)
        requests_sheet(&s, rows);
    else
        sums_sheet(&s, o->by, rows);
    enum err e = sheet_write(&s, &out);
    printf("%.*s", (int)out.len, out.data ? out.data : "");
    sheet_free(&s);
    buf_free(&out);
    return e ? failure("out of memory") : EXIT_DONE;
}

static int usage(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct usage_options o = {.by = "key,model"};
    struct positionals rest;
    const struct arg args[] = {
        {"by", "LIST", "key, user, tag, model, provider, day, comma-separated (default: key,model)",
         &o.by, NULL},
        {"since", "WHEN",
         "2026-12-31, today, 7d; with --requests also 1h, 45m (default: the beginning)", &o.since,
         NULL},
        {"until", "DAY", "the last day that counts", &o.until, NULL},
        {"key", "ID|NAME", "of this key only", &o.key, NULL},
        {"model", "NAME", "of this model only", &o.model, NULL},
        {"status", "LIST", "with --requests: 5xx, 429, comma-separated", &o.status, NULL},
        {"requests", NULL, "single requests, newest first, instead of sums", NULL, &o.requests},
        {"limit", "N", "rows at most (default: 50 requests)", &o.limit, NULL},
        {"json", NULL, "print JSON; costs are whole nano-dollars", NULL, &o.json},
        {"csv", NULL, "print CSV, with the same members as columns", NULL, &o.csv},
        PATHS_ARGS(paths),
        {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count)
        return usage_error(self, "unexpected argument '%s'", rest.items[0]);
    struct buf line = {0};
    struct answer a;
    code = write_query(self, &o, &line);
    if (code < 0)
        code = ask_auth(&paths, buf_span(&line), &a);
    buf_free(&line);
    if (code >= 0)
        return code;
    struct json rows = json_get(a.root, "usage");
    if (o.json)
        printf("%.*s\n", SPAN_ARG(json_raw(rows)));
    else if (o.csv)
        code = csv_print(rows);
    else
        code = print(&o, rows);
    answer_free(&a);
    return code < 0 ? EXIT_DONE : code;
}

const struct command command_usage = {
    "usage", "Sum up what was used and what it cost.", "[OPTION]...",
    "Days are UTC. \"Estimated\" rows were not reported by an "
    "upstream: the request never reached a worker, or its\n"
    "worker died before it could report. A request counts in each of its tags; sums by user\n"
    "and tag reach back as far as single requests are kept (auth.keep_usage).",
    usage};
