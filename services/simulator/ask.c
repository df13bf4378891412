/* A request's faults, gathered from rules, headers and the directive in its text. */
#include "services/simulator/sim.h"

enum { MAX_HEADER_WORDS = 1024 };

struct header_words {
    struct buf words; /* "status=500 times=1 " */
};

static void take_header(void *ctx, struct span name, struct span value)
{
    struct header_words *h = ctx;
    if (name.len <= 6 || strncasecmp(name.data, "x-sim-", 6) != 0)
        return;
    buf_append(&h->words, span_skip(name, 6));
    buf_append_str(&h->words, "='");
    buf_append(&h->words, value);
    buf_append_str(&h->words, "' ");
}

static void apply_words(struct ask *ask, struct span words)
{
    struct sim_fault trial;
    fault_init(&trial);
    if (!words.len || fault_parse(&trial, words))
        return;
    if (!scripts_count(ask->sim->scripts, words, trial.times))
        return;
    /* parsed a second time over what is there: words given later win, the others stay */
    if (fault_parse(&ask->fault, words) == OK)
        stats_fault(ask->sim->stats);
}

void ask_gather_faults(struct ask *ask)
{
    const struct sim_options *o = &ask->sim->options;
    struct header_words headers = {0};
    buf_init(&headers.words, MAX_HEADER_WORDS);
    fault_init(&ask->fault);
    ask->fault.ttft_ms = o->ttft_ms;
    ask->fault.pace_ms = o->chunk_ms;
    ask->fault.chunks = o->chunks;
    ask->fault.tokens = o->tokens;
    scripts_apply(ask->sim->scripts, ask, &ask->fault);
    http_each_header(ask->x, take_header, &headers);
    apply_words(ask, buf_span(&headers.words));
    buf_free(&headers.words);
    apply_words(ask, fault_directive(ask->text));
    if (ask->fault.retry_after[0]) {
        reply_header(ask->reply, "Retry-After", ask->fault.retry_after);
        if (!ask->fault.status)
            ask->fault.status = 429;
    }
}
