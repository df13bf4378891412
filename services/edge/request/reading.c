#include "services/edge/request/reading.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/hash.h"
#include "common/base/inflate.h"

static const char at_capacity[] = "The service is at capacity. Try again shortly.";

/* A coded body of fewer bytes is not worth the way to the helper: INFLATE_FREE_BYTES bounds it. */
enum { CODED_WORTH_BYTES = 4 << 10 };

/* A body that is read beside the loop, or whose coding is taken off. The request may end meanwhile.
 */
struct body_reading {
    struct helper_job job;
    struct edge_request *request; /* NULL: it has ended */
    struct helper *helper;        /* NULL: all is done at once */
    struct arrival arrival;
    struct span key;
    reading_fn then;
    enum api api;
    enum coding coding;
    uint64_t most; /* bytes that it may be without its coding */
    char *text;    /* the exchange's body, lent */
    size_t bytes;
    char *plain; /* without its coding, where it has one */
    uint64_t plain_bytes;
    struct json_doc doc;
    struct arena arena;
    struct body body;
    struct api_error fault;
    char message[160]; /* of the fault, where it is no literal */
    bool coding_fails; /* err is of the coding: its name is a view of the exchange, for the loop */
    enum err err;
};

static struct body_reading *of(struct helper_job *job)
{
    return (struct body_reading *)(void *)job;
}

static void finish(struct body_reading *g)
{
    if (g->request)
        g->request->reader = NULL;
    free(g->text);
    free(g->plain);
    arena_free(&g->arena);
    free(g);
}

static void fail(struct body_reading *g)
{
    struct edge_request *r = g->request;
    r->reader = NULL;
    request_fail(r, &g->fault, NULL); /* copies what it says */
    g->request = NULL;
    finish(g);
}

static void go(struct body_reading *g, void (*run)(struct helper_job *),
               void (*done)(struct helper_job *))
{
    g->job =
        (struct helper_job){.run = run, .done = done, .owner = hash_bytes(HASH_NOTHING, g->key)};
    if (g->helper && helper_do(g->helper, &g->job) == OK)
        return;
    run(&g->job);
    done(&g->job);
}

/* ---- the coding ---- */

/* "BEFORE gzip AFTER" */
static void say(struct body_reading *g, unsigned error_class, const char *before, const char *after)
{
    (void)snprintf(g->message, sizeof g->message, "%s%.*s%s", before,
                   SPAN_ARG(g->arrival.head.content_encoding), after);
    g->fault = (struct api_error){.error_class = error_class, .message = span_str(g->message)};
}

static void say_why(struct body_reading *g)
{
    if (g->err == ERR_TOO_BIG)
        say(g, ERROR_REQUEST_TOO_LARGE, "The request body is too large once its ",
            " coding is taken off.");
    else if (g->err == ERR_NOMEM)
        g->fault =
            (struct api_error){.error_class = ERROR_OVERLOADED, .message = span_str(at_capacity)};
    else if (g->err == ERR_TRUNCATED)
        say(g, ERROR_UNSUPPORTED_ENCODING, "The request body ends within its ", " coding.");
    else
        say(g, ERROR_UNSUPPORTED_ENCODING,
            "The request body is not what its Content-Encoding says: ", ".");
}

static void measure(struct helper_job *job)
{
    struct body_reading *g = of(job);
    g->err = inflate_body(g->coding, span_of(g->text, g->bytes), g->most, NULL, &g->plain_bytes);
}

static void take_off(struct body_reading *g)
{
    uint64_t bytes;
    g->err = inflate_body(g->coding, span_of(g->text, g->bytes), g->plain_bytes, g->plain, &bytes);
    g->coding_fails = g->err != OK;
}

/* ---- the JSON ---- */

static void read_body(struct helper_job *job)
{
    struct body_reading *g = of(job);
    if (g->coding)
        take_off(g);
    struct span text =
        g->coding ? span_of(g->plain, (size_t)g->plain_bytes) : span_of(g->text, g->bytes);
    if (!g->err)
        g->err = body_check(g->api, text, &g->doc, &g->arena, &g->body, &g->fault);
    json_doc_free(&g->doc);
}

static void give_body_back(struct body_reading *g)
{
    struct http_exchange *x = g->request->to.x;
    if (g->plain)
        http_return_body(x, g->plain, (size_t)g->plain_bytes);
    else
        http_return_body(x, g->text, g->bytes);
    *(g->plain ? &g->plain : &g->text) = NULL;
}

static void on_read(struct helper_job *job)
{
    struct body_reading *g = of(job);
    struct edge_request *r = g->request;
    if (!r) {
        finish(g);
    } else if (g->err) {
        if (g->coding_fails)
            say_why(g);
        fail(g);
    } else {
        give_body_back(g);
        r->reader = NULL;
        g->request = NULL;
        g->then(&g->arrival, r, g->key, &g->body);
        finish(g);
    }
}

/* Memory is had before anything is written there. */
static void on_measured(struct helper_job *job)
{
    struct body_reading *g = of(job);
    if (!g->request) {
        finish(g);
        return;
    }
    const char *none = g->err ? NULL : http_take_room(g->request->to.x, g->plain_bytes + g->bytes);
    if (!g->err && !none) {
        g->plain = malloc(g->plain_bytes ? (size_t)g->plain_bytes : 1);
        g->err = g->plain ? OK : ERR_NOMEM;
    }
    if (none)
        g->fault = (struct api_error){.error_class = ERROR_OVERLOADED, .message = span_str(none)};
    else if (g->err)
        say_why(g);
    if (none || g->err)
        fail(g);
    else
        go(g, read_body, on_read);
}

/* ---- which way ---- */

static struct body_reading *create(const struct arrival *a, struct edge_request *r, struct span key,
                                   reading_fn then)
{
    struct body_reading *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->request = r;
    g->arrival = *a;
    g->key = key;
    g->then = then;
    g->api = r->to.api;
    g->coding = head_coding(&a->head);
    g->most = edge_options(r->edge)->edge_max_body;
    g->text = http_lend_body(r->to.x, &g->bytes);
    g->helper = g->bytes >= CODED_WORTH_BYTES ? r->edge->d->helper : NULL;
    r->reader = &g->request;
    request_set_state(r, REQUEST_READING);
    return g;
}

static void read_at_once(const struct arrival *a, struct edge_request *r, struct span key,
                         reading_fn then)
{
    struct body body;
    struct api_error fault;
    if (body_check(r->to.api, http_body(r->to.x), &r->edge->doc, &r->arena, &body, &fault))
        request_fail(r, &fault, NULL);
    else
        then(a, r, key, &body);
}

void reading_begin(const struct arrival *a, struct edge_request *r, struct span key,
                   reading_fn then)
{
    bool coded = head_coding(&a->head) != CODING_NONE;
    bool beside = r->edge->d->helper && http_body(r->to.x).len >= HELPER_WORTH_BYTES;
    struct body_reading *g = coded || beside ? create(a, r, key, then) : NULL;
    if (g)
        go(g, coded ? measure : read_body, coded ? on_measured : on_read);
    else if (coded)
        request_fail_class(r, ERROR_OVERLOADED, at_capacity);
    else
        read_at_once(a, r, key, then);
}
