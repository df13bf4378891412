/* Both ways in read each form of the corpus alike: what is answered, what a handler gets to see,
 * and whether the connection lives on. A form that one of them took and the other refused, or
 * framed otherwise, would let a request be smuggled past what stands before us. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/common/http/test_corpus.h"
#include "unit/common/http/test_server.h"

struct outcome {
    unsigned statuses[8], answers; /* but for 100 */
    bool closed;
    unsigned requests;
    struct buf echo;
};

struct compare {
    struct test_server plain, library;
    unsigned forms, differing, bad;
};

static void read_statuses(struct outcome *o, struct span got)
{
    static const char mark[] = "HTTP/1.1 ";
    for (;;) {
        size_t at = span_find_span(got, span_str(mark));
        if (at == got.len)
            return;
        got = span_skip(got, at + strlen(mark));
        unsigned status = (unsigned)strtoul(got.data, NULL, 10);
        if (status != 100 && o->answers < 8)
            o->statuses[o->answers++] = status;
    }
}

/* `patience` turns in which nothing comes mean that nothing more will. The bytes are sent in
 * `pieces`. */
static void run(struct test_server *t, struct span bytes, size_t pieces, int patience,
                struct outcome *o)
{
    struct buf got = {0};
    unsigned before = t->requests;
    *o = (struct outcome){0};
    buf_clear(&t->echo);
    int fd = client_open(t);
    for (; pieces; pieces--) {
        client_send(t, fd, span_first(bytes, bytes.len / pieces));
        bytes = span_skip(bytes, bytes.len / pieces);
        if (pieces > 1)
            test_turns(t, 2);
    }
    for (int quiet = 0; quiet < patience && !o->closed; quiet++) {
        size_t had = got.len;
        assert_int_equal(loop_turn(t->loop, patience > 100), OK);
        o->closed = client_read(fd, &got);
        if (got.len > had)
            quiet = 0;
    }
    close(fd);
    read_statuses(o, buf_span(&got));
    o->requests = t->requests - before;
    buf_append(&o->echo, buf_span(&t->echo));
    buf_free(&got);
    TURN_UNTIL(t, http_server_stats(t->http).connections == 0);
}

/* Answers beyond the requests that ran, all of them refusals, and an end. What libmicrohttpd
 * refuses by itself it may close without a word, or say twice (a malformed Content-Length), and to
 * another major version it says 505. */
static bool is_refused(const struct outcome *o)
{
    for (unsigned i = o->requests; i < o->answers; i++) {
        if (o->statuses[i] / 100 != 4 && o->statuses[i] != 505)
            return false;
    }
    return o->closed && o->answers <= o->requests + 2;
}

static bool is_same(const struct outcome *plain, const struct outcome *library)
{
    if (plain->requests != library->requests || plain->closed != library->closed ||
        !span_equals(buf_span(&plain->echo), buf_span(&library->echo)))
        return false;
    for (unsigned i = 0; i < plain->requests; i++) {
        if (plain->statuses[i] != library->statuses[i])
            return false;
    }
    return plain->answers > plain->requests ? is_refused(library)
                                            : plain->answers == library->answers;
}

static void show(const char *way, const struct outcome *o)
{
    print_message("  %s: %u answers (%u %u %u), %u requests, %s; %.*s\n", way, o->answers,
                  o->statuses[0], o->statuses[1], o->statuses[2], o->requests,
                  o->closed ? "closed" : "open", SPAN_ARG(buf_span(&o->echo)));
}

static bool is_as_said(const struct outcome *o, enum corpus_end end)
{
    const unsigned last = o->answers ? o->statuses[o->answers - 1] : 0;
    switch (end) {
    case CORPUS_REFUSED:
        return o->closed && !o->requests && o->answers == 1 && last / 100 == 4;
    case CORPUS_SECOND_REFUSED:
        return o->closed && o->requests == 1 && o->answers == 2 && last / 100 == 4;
    case CORPUS_SERVED:
        return o->requests && last == 200;
    }
    return false;
}

static void compare(void *ctx, struct span bytes, enum corpus_end end)
{
    struct compare *c = ctx;
    struct outcome plain, library, dripped;
    bool same = false, as_said = false;
    for (int patience = 20; patience <= 400 && (!same || !as_said); patience *= 20) {
        run(&c->plain, bytes, 1, patience, &plain);
        run(&c->library, bytes, 1, patience, &library);
        run(&c->plain, bytes, 2 + c->forms % 5, patience, &dripped);
        same = is_same(&plain, &library) && is_same(&plain, &dripped);
        as_said = is_as_said(&plain, end);
        if ((!same || !as_said) && patience == 400) {
            print_message("%s%s: %.*s\n", same ? "" : "DIFFERENT ", as_said ? "" : "NOT AS SAID",
                          SPAN_ARG(span_first(bytes, 300)));
            show("plain", &plain);
            show("library", &library);
            show("dripped", &dripped);
        }
        buf_free(&plain.echo);
        buf_free(&library.echo);
        buf_free(&dripped.echo);
    }
    c->forms++;
    c->differing += !same;
    c->bad += !as_said;
}

static void both_ways_end_each_form_alike(void **state)
{
    (void)state;
    struct compare c = {.plain = {.mode = ECHO_NOW}, .library = {.mode = ECHO_NOW}};
    struct http_config config = test_config();
    test_server_start(&c.plain, &config);
    config.library_only = true;
    test_server_start(&c.library, &config);
    corpus_each(compare, &c);
    print_message("%u forms\n", c.forms);
    assert_true(c.forms >= 500);
    assert_int_equal(c.differing, 0);
    assert_int_equal(c.bad, 0);
    test_server_stop(&c.plain);
    test_server_stop(&c.library);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_end_each_form_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
