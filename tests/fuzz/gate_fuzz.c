/* Any tokens, forged, late, used and renewed ones, while brokers come and go: the gate lets in what
 * is signed by a key in force, not expired and not used up, and never more than there are slots;
 * shares add up.
 *
 * Input: records of a byte (what happens) and up to 5 more. Broker and number of a grant are few,
 * so that they meet again. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "services/worker/gate.h"

enum { BROKERS = 4, NUMBERS = 16, WORKER = 7, EDGE = 3, MAX_RUNNING = 256, FIRST_EPOCH = 100 };

struct begun {
    struct gate_grant *grant;
    unsigned broker, number;
};

struct world {
    struct gate *gate;
    uint64_t now_ms;
    uint32_t slots;
    bool shut;
    unsigned keys[BROKERS]; /* so many were given; the last two are in force */
    bool up[BROKERS];
    struct begun begun[MAX_RUNNING];
    unsigned begun_count;
    unsigned running[BROKERS][NUMBERS];
    uint64_t known_until[BROKERS][NUMBERS];
};

static uint8_t take(struct span *rest)
{
    uint8_t byte = rest->len ? (uint8_t)rest->data[0] : 0;
    *rest = span_skip(*rest, rest->len ? 1 : 0);
    return byte;
}

static void key_of(unsigned broker, unsigned generation, uint8_t out[GRANT_KEY_BYTES])
{
    memset(out, 0, GRANT_KEY_BYTES);
    out[0] = (uint8_t)(1 + broker);
    memcpy(out + 1, &generation, sizeof generation);
}

static void broker_up(struct world *w, unsigned broker)
{
    uint8_t key[GRANT_KEY_BYTES];
    key_of(broker, ++w->keys[broker], key);
    REQUIRE(gate_broker_up(w->gate, FIRST_EPOCH + broker, key) == OK);
    w->up[broker] = true;
}

static void broker_down(struct world *w, unsigned broker)
{
    gate_broker_down(w->gate, FIRST_EPOCH + broker, w->now_ms);
    w->up[broker] = false;
}

/* What must hold of a token that was let in. */
static void check_ok(const struct world *w, const struct grant_token *t, unsigned broker,
                     unsigned age, bool changed)
{
    unsigned running = w->running[broker][t->number];
    REQUIRE(!changed && t->worker_epoch == WORKER && t->edge_epoch == EDGE);
    REQUIRE(age < 2 && age < w->keys[broker]);
    REQUIRE(t->expires_ms > w->now_ms && !w->shut && w->begun_count < w->slots);
    if (t->standing)
        REQUIRE(running < t->slots);
    else
        REQUIRE(running == 0 && w->known_until[broker][t->number] <= w->now_ms);
}

static void note_begun(struct world *w, const struct grant_token *t, unsigned broker,
                       struct gate_grant *grant)
{
    uint64_t *until = &w->known_until[broker][t->number];
    *until = t->expires_ms > *until ? t->expires_ms : *until;
    w->running[broker][t->number]++;
    w->begun[w->begun_count++] = (struct begun){grant, broker, (unsigned)t->number};
}

static void begin(struct world *w, struct span *rest)
{
    uint8_t who = take(rest), how = take(rest), life = take(rest), age = take(rest) & 3;
    uint8_t flip = take(rest), key[GRANT_KEY_BYTES], bytes[GRANT_TOKEN_BYTES];
    unsigned broker = who >> 4 & (BROKERS - 1);
    struct grant_token t = {.broker_epoch = FIRST_EPOCH + broker,
                            .worker_epoch = WORKER + ((how & 0x60) == 0x60),
                            .edge_epoch = EDGE + ((how & 0x18) == 0x18),
                            .number = who & (NUMBERS - 1),
                            .expires_ms = w->now_ms / 1024 * 1024 + (uint64_t)life * 16,
                            .slots = how & 7,
                            .standing = how & 0x80};
    key_of(broker, w->keys[broker] - age, key);
    grant_token_write(&t, key, bytes);
    bytes[flip % sizeof bytes] ^= flip < 3 * sizeof bytes ? 0 : 1; /* most are as written */
    struct gate_grant *grant;
    size_t n = flip == UINT8_MAX ? who % sizeof bytes : sizeof bytes;
    enum gate_verdict verdict =
        gate_begin(w->gate, span_of((const char *)bytes, n), EDGE, w->now_ms, &grant);
    REQUIRE((verdict == GATE_OK) == (grant != NULL) && verdict < GATE_VERDICTS);
    if (verdict != GATE_OK)
        return;
    check_ok(w, &t, broker, age, flip >= 3 * sizeof bytes);
    note_begun(w, &t, broker, grant);
}

static void end(struct world *w, unsigned which)
{
    if (!w->begun_count)
        return;
    struct begun *b = &w->begun[which % w->begun_count];
    (void)gate_end(w->gate, b->grant, w->now_ms);
    w->running[b->broker][b->number]--;
    *b = w->begun[--w->begun_count];
}

static void share(struct world *w, uint8_t queued)
{
    struct gate_offer offers[BROKERS];
    uint64_t sum = 0, least = 0;
    for (unsigned i = 0; i < BROKERS; i++)
        offers[i] =
            (struct gate_offer){.broker_epoch = FIRST_EPOCH + i, .queued = queued >> 2 * i & 3};
    (void)gate_share(w->gate, offers, BROKERS, w->now_ms);
    for (unsigned i = 0; i < BROKERS; i++) {
        uint32_t running = 0;
        for (unsigned k = 0; k < NUMBERS; k++)
            running += w->running[i][k];
        REQUIRE(w->up[i] || offers[i].offered == 0);
        if (!w->up[i])
            continue;
        REQUIRE(offers[i].running == running && offers[i].offered >= running);
        REQUIRE(offers[i].offered >= 1);
        sum += offers[i].offered;
        least += running ? running : 1;
    }
    REQUIRE(sum <= (least > w->slots ? least : w->slots));
}

static void step(struct world *w, struct span *rest)
{
    uint8_t what = take(rest);
    switch (what & 7) {
    case 0:
        broker_up(w, what >> 3 & (BROKERS - 1));
        break;
    case 1:
        broker_down(w, what >> 3 & (BROKERS - 1));
        break;
    case 2:
        w->now_ms += (uint64_t)take(rest) * 16;
        if (what & 8)
            gate_sweep(w->gate, w->now_ms);
        break;
    case 3:
        end(w, what >> 3);
        break;
    case 4:
        w->slots = what >> 3;
        w->shut = w->slots == 31;
        gate_set_slots(w->gate, w->slots);
        gate_set_shut(w->gate, w->shut);
        break;
    case 5:
        share(w, take(rest));
        break;
    default:
        begin(w, rest);
    }
    REQUIRE(gate_running(w->gate) == w->begun_count);
    REQUIRE(w->shut || w->begun_count + gate_free(w->gate) ==
                           (w->slots > w->begun_count ? w->slots : w->begun_count));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = span_of((const char *)data, size);
    struct world w = {.now_ms = 1024, .slots = 8};
    REQUIRE(gate_create(&w.gate, WORKER, w.slots) == OK);
    while (rest.len)
        step(&w, &rest);
    while (w.begun_count)
        end(&w, 0);
    gate_sweep(w.gate, UINT64_MAX);
    REQUIRE(gate_grants(w.gate) == 0);
    gate_destroy(&w.gate);
    return 0;
}
