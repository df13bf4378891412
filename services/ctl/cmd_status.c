/* tollgate status: daemons, versions, workers, queue and requests in flight, as the metrics daemon
 * sees them; the processes of `tollgate up`, as that sees them. */
#include <stdio.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "services/ctl/ask_metrics.h"
#include "services/ctl/ask_socket.h"
#include "services/ctl/places.h"
#include "services/ctl/sheet.h"

enum { STATUS_TIMEOUT_MS = 3000 };

static void upper(struct buf *out, struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        buf_append_char(out, c == '_' ? ' ' : c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
    }
}

/* Strings decoded, the rest as it stands. */
static void value_text(struct json v, struct buf *out)
{
    if (json_type(v) == JSON_STRING)
        json_text_decode(json_text(v), out);
    else if (!json_absent(v))
        buf_append(out, json_raw(v));
}

enum { COLUMNS_MAX = 16 };

struct columns {
    struct json keys[COLUMNS_MAX];
    bool numbers[COLUMNS_MAX];
    size_t count;
};

static void add_column(struct columns *c, struct json key, struct json value)
{
    for (size_t i = 0; i < c->count; i++) {
        if (span_equals(json_text(c->keys[i]), json_text(key)))
            return;
    }
    if (c->count < COLUMNS_MAX) {
        c->numbers[c->count] = json_type(value) == JSON_NUMBER;
        c->keys[c->count++] = key;
    }
}

/* A list of objects: every member that any of them has is a column. */
static enum err print_list(struct json list)
{
    struct columns columns = {.count = 0};
    struct buf text = {0}, out = {0};
    struct sheet s;
    for (struct json_iter row = json_iter(list); json_next(&row);) {
        for (struct json_iter i = json_iter(row.value); json_next(&i);)
            add_column(&columns, i.key, i.value);
    }
    for (size_t i = 0; i < columns.count; i++) {
        buf_append_str(&text, i ? "|" : "");
        buf_append_str(&text, columns.numbers[i] ? ">" : "");
        upper(&text, json_text(columns.keys[i]));
    }
    buf_append_char(&text, '\0');
    sheet_init(&s, text.data ? text.data : "");
    for (struct json_iter row = json_iter(list); json_next(&row);) {
        for (size_t i = 0; i < columns.count; i++) {
            char name[64];
            (void)snprintf(name, sizeof name, "%.*s", SPAN_ARG(json_text(columns.keys[i])));
            buf_clear(&text);
            value_text(json_get(row.value, name), &text);
            sheet_cell(&s, buf_span(&text));
        }
    }
    enum err e = sheet_write(&s, &out);
    printf("%.*s\n", (int)out.len, out.data ? out.data : "");
    sheet_free(&s);
    buf_free(&text);
    buf_free(&out);
    return e;
}

static void print_scalar(struct json key, struct json value)
{
    struct buf text = {0};
    value_text(value, &text);
    printf("%-14.*s %.*s\n", SPAN_ARG(json_text(key)), (int)text.len, text.data ? text.data : "");
    buf_free(&text);
}

static int print_status(struct span body)
{
    struct json_doc doc = {0};
    enum err e = json_parse(&doc, body, JSON_DEPTH_CLIENT);
    for (int lists = 0; !e && lists < 2; lists++) { /* the single numbers first */
        for (struct json_iter i = json_iter(json_root(&doc)); !e && json_next(&i);) {
            bool is_list = json_type(i.value) == JSON_ARRAY;
            if (is_list != (lists == 1))
                continue;
            if (!is_list)
                print_scalar(i.key, i.value);
            else if (json_type(json_at(i.value, 0)) == JSON_OBJECT)
                e = print_list(i.value);
        }
        if (!e && lists == 0)
            printf("\n");
    }
    json_doc_free(&doc);
    return e ? failure("the answer makes no sense (%s)", err_name(e)) : EXIT_DONE;
}

/* What the metrics daemon says, with the children of `up` as one member more. */
static void print_json(struct span body, struct json children)
{
    struct span whole = span_trim(body);
    bool add = !json_absent(children) && span_ends(whole, "}");
    printf("%.*s", SPAN_ARG(add ? span_first(whole, whole.len - 1) : whole));
    if (add)
        printf(",\"children\":%.*s}", SPAN_ARG(json_raw(children)));
    printf("\n");
}

static int print_answers(const struct suite_places *places, enum err e, struct span body,
                         struct json children, bool json)
{
    int code = EXIT_DONE;
    if (e)
        code = failure("no metrics daemon answers at %s (%s); is the suite running?",
                       places->metrics, err_name(e));
    if (json)
        print_json(e ? SPAN("{\"status\":\"unknown\"}") : body, children);
    else if (!e)
        code = print_status(body);
    if (json || json_absent(children))
        return code;
    enum err listed = print_list(children);
    return listed ? failure("%s", err_name(listed)) : code;
}

static int ask(const struct suite_places *places, bool json)
{
    struct buf body = {0};
    struct answer up = {0};
    enum err e = ask_metrics(places->metrics, places->certs, "status", STATUS_TIMEOUT_MS, &body);
    bool supervised = ask_socket(places->up_socket, SPAN("{\"command\":\"children\"}"),
                                 STATUS_TIMEOUT_MS, &up) == OK;
    struct json children = supervised ? json_get(up.root, "children") : JSON_NOTHING;
    int code = print_answers(places, e, buf_span(&body), children, json);
    if (supervised)
        answer_free(&up);
    buf_free(&body);
    return code;
}

static int status(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    bool json = false;
    struct positionals rest;
    const struct arg args[] = {{"json", NULL, "print JSON", NULL, &json}, PATHS_ARGS(paths), {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count)
        return usage_error(self, "unexpected argument '%s'", rest.items[0]);
    struct suite_places places;
    code = places_find(&paths, &places);
    if (code >= 0)
        return code;
    log_setup(LEVEL_ERROR, LINES_TEXT, "tollgate", "");
    return ask(&places, json);
}

const struct command command_status = {
    "status", "Show daemons, workers, queue and requests in flight.", "[OPTION]...", NULL, status};
