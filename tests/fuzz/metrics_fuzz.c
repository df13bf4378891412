/* Any METRIC messages from daemons that come and go: the bound holds, and what is shown is JSON and
 * UTF-8 lines whatever labels were sent.
 *
 * Input: records of a byte (what happens, by whom), a byte (metric), a byte (label bytes), labels,
 * a byte (bucket bytes), buckets. */
#include <string.h>

#include "common/base/json.h"
#include "common/base/utf8.h"
#include "fuzz/fuzz.h"
#include "services/metrics/aggregate.h"
#include "services/metrics/state.h"

enum { MAX_SERIES = 20 };

static uint8_t take(struct span *rest)
{
    uint8_t byte = rest->len ? (uint8_t)rest->data[0] : 0;
    *rest = span_skip(*rest, rest->len ? 1 : 0);
    return byte;
}

static struct span take_bytes(struct span *rest)
{
    size_t n = take(rest);
    struct span out = span_first(*rest, n < rest->len ? n : rest->len);
    *rest = span_skip(*rest, out.len);
    return out;
}

static void step(struct aggregate *a, struct clock_fake *clock, struct span *rest)
{
    static const char names[][12] = {"edge-1", "edge-2", "broker-1", "worker-1"};
    uint8_t what = take(rest);
    const char *name = names[what >> 3 & 3];
    struct daemon_seen who = {.role = "edge", .version = "1", .epoch = what >> 6};
    struct source from = {SPAN("edge"), span_str(name)};
    memcpy(who.name, name, sizeof names[0]);
    switch (what & 7) {
    case 0:
        aggregate_up(a, &who);
        break;
    case 1:
        aggregate_down(a, span_str(name), who.epoch, what >> 5 & 1);
        break;
    case 2:
        clock_fake_advance_ms(clock, (uint64_t)take(rest) * 10000);
        aggregate_purge(a);
        break;
    default: {
        struct metric m = {.id = take(rest), .value = (int8_t)(what ^ 0x55), .number = what & 31};
        m.labels = take_bytes(rest);
        m.buckets = take_bytes(rest);
        enum err e = aggregate_report(a, &from, who.epoch, &m);
        (void)e; /* refused ones are counted */
        break;
    }
    }
    REQUIRE(store_count(a->store) <= MAX_SERIES + METRIC_ID_COUNT);
}

/* What is written for the next start can be read there, whatever was counted. */
static void reread(const struct aggregate *a, struct buf *out)
{
    struct series_store *store;
    struct senders *senders;
    state_write(a->store, a->senders, out);
    REQUIRE(store_create(&store, MAX_SERIES) == OK && senders_create(&senders, 1 << 20) == OK);
    REQUIRE(state_read(store, senders, buf_span(out), 1) == OK);
    REQUIRE(store_count(store) <= store_count(a->store));
    store_destroy(&store);
    senders_destroy(&senders);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of(data, size);
    struct aggregate a;
    struct clock_fake clock;
    struct buf out = {0};
    struct json_doc doc = {0};
    clock_fake_init(&clock, 1000000, 1000);
    REQUIRE(aggregate_init(&a, &clock.clock, MAX_SERIES) == OK);
    while (rest.len)
        step(&a, &clock, &rest);
    REQUIRE(aggregate_document(&a, SPAN("metrics"), &out));
    REQUIRE(utf8_valid(buf_span(&out)) && (!out.len || out.data[out.len - 1] == '\n'));
    buf_clear(&out);
    reread(&a, &out);
    buf_clear(&out);
    REQUIRE(aggregate_document(&a, SPAN("status"), &out));
    REQUIRE(json_parse(&doc, buf_span(&out), JSON_DEPTH_CLIENT) == OK);
    json_doc_free(&doc);
    buf_free(&out);
    aggregate_reset(&a);
    return 0;
}
