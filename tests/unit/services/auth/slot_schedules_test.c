/* Random schedules over both ends of the leases of slots: auth's admission and the books of two
 * edges, with messages lost, doubled and late, links that break, edges that die and auth that
 * starts again. Never do more requests of the key run than it may run at once, and in the end
 * nothing is held. */
#include "unit/services/auth/test_support.h"

#include <stdio.h>
#include <stdlib.h>

#include "services/auth/waiting.h"
#include "services/edge/leases/slot_book.h"

enum {
    EDGES = 2,
    REQUESTS = 24, /* at once, of one edge */
    PACKETS = 4096,
    CONCURRENT = 8,
    SCHEDULES = 200,
    BUSY_MS = 30000,
    QUIET_MS = 40000,
    PATIENCE_MS = 3000,
    CANCEL_MS = 1200, /* what a dead edge ran is over by then */
    LEASE_MS = 2000,
    START_MS = 2000,
    LINK_MS =
        START_MS - CANCEL_MS - 100 /* links are lost for so long, or back so soon after auth */
};

static const uint8_t pepper[PEPPER_BYTES] = {3};

enum request_stage { STAGE_NONE, STAGE_ASKING, STAGE_RUNNING };

struct sim_request {
    enum request_stage stage;
    uint64_t id, until_ms;
    struct leased_slots *slots;
};

struct sim_edge {
    struct slot_book *book;
    uint64_t epoch;
    uint64_t up_ms; /* when its link comes up; 0 = it is up */
    uint64_t lease_until_ms;
    struct sim_request requests[REQUESTS];
    uint64_t served;
};

/* One message under way; what it says depends on its type. */
struct packet {
    enum message_type type;
    bool to_auth;
    unsigned edge;
    uint64_t due_ms, id, given, until;
    uint32_t slots_ms, lease_ms;
    bool flag; /* has_slot; slots_key; abandoned */
};

struct sim {
    uint64_t seed, now_ms, ids, epochs;
    uint64_t usual_ms; /* most requests take so long at most */
    bool calm;         /* no faults, and nothing new */
    struct config *config;
    struct limits limits;
    struct keys *keys;
    struct key *key;
    uint8_t digest[SHA256_BYTES];
    struct leases leases;
    struct slot_leases slots;
    struct reservations reservations;
    struct admission admission;
    struct waiting waiting;
    uint64_t auth_from_ms; /* 0 = auth is up */
    struct sim_edge edges[EDGES];
    struct packet packets[PACKETS];
    size_t packet_count;
    uint64_t ghosts[EDGES * 64]; /* when what dead edges ran is over */
    size_t ghost_count;
    uint64_t asked, denied;
};

static uint64_t chance(struct sim *s, uint64_t of)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return (s->seed * 0x2545f4914f6cdd1du >> 33) % of;
}

static struct moment moment_of(const struct sim *s)
{
    return (struct moment){s->now_ms * 1000000, 1790000000000 + s->now_ms};
}

/* ---- the net ---- */

static bool link_is_up(const struct sim *s, unsigned edge)
{
    return !s->auth_from_ms && !s->edges[edge].up_ms;
}

static void post(struct sim *s, struct packet p)
{
    if (!link_is_up(s, p.edge) || (!s->calm && chance(s, 40) == 0))
        return;
    unsigned copies = !s->calm && chance(s, 40) == 0 ? 2 : 1;
    for (unsigned i = 0; i < copies; i++) {
        assert_true(s->packet_count < PACKETS);
        p.due_ms = s->now_ms + 1 + chance(s, 6);
        s->packets[s->packet_count++] = p;
    }
}

static void break_link(struct sim *s, unsigned edge, uint64_t for_ms)
{
    struct sim_edge *e = &s->edges[edge];
    size_t kept = 0;
    for (size_t i = 0; i < s->packet_count; i++) {
        if (s->packets[i].edge != edge)
            s->packets[kept++] = s->packets[i];
    }
    s->packet_count = kept;
    e->up_ms = s->now_ms + for_ms;
    if (s->auth_from_ms)
        return;
    slot_leases_edge_gone(&s->slots, e->epoch, moment_of(s).now_ns);
    waiting_drop_edge(&s->waiting, e);
}

/* ---- auth ---- */

static unsigned edge_index(const struct sim *s, const void *edge)
{
    return (unsigned)((const struct sim_edge *)edge - s->edges);
}

static void auth_answers(void *ctx, const void *edge, const struct header *h,
                         const struct authorize *asked, const struct verdict *v)
{
    (void)asked;
    struct sim *s = ctx;
    struct packet p = {.type = v->allowed ? MESSAGE_ALLOW : MESSAGE_DENY,
                       .edge = edge_index(s, edge)};
    memcpy(&p.id, h->id.bytes + 8, sizeof p.id);
    if (v->allowed) {
        p.flag = v->allow.slots_key.len > 0;
        p.given = v->allow.slots_given;
        p.slots_ms = v->allow.slots_ms;
        p.lease_ms = v->allow.lease_ms;
        assert_true(p.flag && p.lease_ms);
    }
    post(s, p);
}

static void auth_asks_back(void *ctx, const void *edge, const struct slots_back *m)
{
    struct sim *s = ctx;
    assert_true(m->until <= m->given);
    post(s, (struct packet){.type = MESSAGE_SLOTS_BACK,
                            .edge = edge_index(s, edge),
                            .given = m->given,
                            .until = m->until});
}

static void auth_begin(struct sim *s)
{
    s->key->in_flight = 0;
    s->key->slot_leases = NULL;
    leases_init(&s->leases, &s->limits);
    slot_leases_init(&s->slots, auth_asks_back, s);
    reservations_init(&s->reservations, &s->limits);
    s->admission = (struct admission){.keys = s->keys,
                                      .limits = &s->limits,
                                      .leases = &s->leases,
                                      .slots = &s->slots,
                                      .reservations = &s->reservations,
                                      .slots_from_ns = (s->now_ms + START_MS) * 1000000};
    assert_int_equal(admission_configure(&s->admission, s->config, 0), OK);
    s->waiting = (struct waiting){.admission = &s->admission, .answer = auth_answers, .ctx = s};
}

static void auth_end(struct sim *s)
{
    waiting_free(&s->waiting);
    admission_free(&s->admission);
    reservations_free(&s->reservations);
    slot_leases_free(&s->slots);
    leases_free(&s->leases);
}

static struct header header_of(uint64_t id)
{
    struct header h = {.deadline_ms = 600000};
    memcpy(h.id.bytes + 8, &id, sizeof id);
    return h;
}

static void auth_gets(struct sim *s, const struct packet *p)
{
    struct sim_edge *e = &s->edges[p->edge];
    struct header h = header_of(p->id);
    struct slot_party party = {e, e->epoch, s->key, span_of(s->digest, SHA256_BYTES)};
    if (p->type == MESSAGE_AUTHORIZE) {
        struct asker who = {.edge = e, .edges = EDGES, .epoch = e->epoch};
        struct authorize ask = {.key_digest = span_of(s->digest, SHA256_BYTES),
                                .model = SPAN("m"),
                                .has_slot = p->flag,
                                .slots_given = p->given,
                                .slots_returned = p->until};
        waiting_on_authorize(&s->waiting, &who, &h, &ask, moment_of(s));
        return;
    }
    if (p->type == MESSAGE_SLOTS_HELD)
        slot_lease_told(&s->slots, &party, p->given, p->until, moment_of(s).now_ns);
    struct reservation *r = reservation_find(&s->reservations, &h.id);
    if (p->type == MESSAGE_RELEASE && p->flag)
        waiting_drop_request(&s->waiting, &h.id);
    if (p->type == MESSAGE_RELEASE && r)
        reservation_drop(&s->reservations, r);
    waiting_serve(&s->waiting, s->key, moment_of(s));
}

static void auth_turn(struct sim *s)
{
    struct moment now = moment_of(s);
    if (s->auth_from_ms == s->now_ms) {
        s->auth_from_ms = 0;
        auth_begin(s);
    }
    if (s->auth_from_ms)
        return;
    if (s->now_ms % 100 == 0)
        slot_leases_sweep(&s->slots, now.now_ns);
    if (s->now_ms % 100 == 0 || now.now_ns >= waiting_due_ns(&s->waiting))
        waiting_tick(&s->waiting, now);
}

static void auth_dies(struct sim *s)
{
    auth_end(s);
    s->auth_from_ms = s->now_ms + 20 + chance(s, 400);
    for (unsigned i = 0; i < EDGES; i++)
        break_link(s, i, s->auth_from_ms - s->now_ms + 1 + chance(s, LINK_MS));
}

/* ---- edges: as services/edge/request/authorize.c ---- */

static void edge_tells(void *ctx, const uint8_t key[SHA256_BYTES], uint64_t given,
                       uint64_t returned);

struct teller {
    struct sim *sim;
    unsigned edge;
};

static void edge_begins(struct sim *s, struct teller *teller)
{
    struct sim_edge *e = &s->edges[teller->edge];
    uint64_t up_ms = e->up_ms, served = e->served;
    *e = (struct sim_edge){.epoch = ++s->epochs, .up_ms = up_ms, .served = served};
    assert_int_equal(slot_book_create(&e->book, 4, edge_tells, teller), OK);
}

static void edge_tells(void *ctx, const uint8_t key[SHA256_BYTES], uint64_t given,
                       uint64_t returned)
{
    const struct teller *t = ctx;
    (void)key;
    post(t->sim, (struct packet){.type = MESSAGE_SLOTS_HELD,
                                 .to_auth = true,
                                 .edge = t->edge,
                                 .given = given,
                                 .until = returned});
}

static void run(struct sim *s, struct sim_edge *e, struct sim_request *r)
{
    uint64_t longest_ms = chance(s, 30) ? s->usual_ms : 20 * s->usual_ms;
    r->stage = STAGE_RUNNING;
    r->until_ms = s->now_ms + 1 + chance(s, longest_ms);
    e->served++;
}

static void edge_asks(struct sim *s, unsigned edge, struct sim_request *r)
{
    struct sim_edge *e = &s->edges[edge];
    if (!r->slots)
        r->slots = slot_book_take(e->book, s->digest, true, s->now_ms);
    struct slot_counts counts = slot_book_counts(e->book, s->digest);
    s->asked++;
    post(s, (struct packet){.type = MESSAGE_AUTHORIZE,
                            .to_auth = true,
                            .edge = edge,
                            .id = r->id,
                            .flag = r->slots != NULL,
                            .given = counts.given,
                            .until = counts.returned});
}

static void edge_starts_one(struct sim *s, unsigned edge)
{
    struct sim_edge *e = &s->edges[edge];
    struct sim_request *r = &e->requests[chance(s, REQUESTS)];
    if (r->stage != STAGE_NONE)
        return;
    *r = (struct sim_request){.id = ++s->ids};
    if (s->now_ms < e->lease_until_ms)
        r->slots = slot_book_take(e->book, s->digest, false, s->now_ms);
    if (r->slots) {
        run(s, e, r);
        return;
    }
    r->stage = STAGE_ASKING;
    r->until_ms = s->now_ms + PATIENCE_MS;
    if (link_is_up(s, edge))
        edge_asks(s, edge, r);
}

static void edge_ends_one(struct sim *s, unsigned edge, struct sim_request *r)
{
    bool abandoned = r->stage == STAGE_ASKING;
    r->stage = STAGE_NONE;
    slot_book_leave(s->edges[edge].book, &r->slots, s->now_ms);
    post(s, (struct packet){.type = MESSAGE_RELEASE,
                            .to_auth = true,
                            .edge = edge,
                            .id = r->id,
                            .flag = abandoned});
}

static void edge_is_allowed(struct sim *s, const struct packet *p, struct sim_request *r)
{
    struct sim_edge *e = &s->edges[p->edge];
    assert_true(slot_book_given(e->book, s->digest, p->given, p->slots_ms, s->now_ms));
    if (!r)
        return;
    if (!r->slots)
        r->slots = slot_book_take(e->book, s->digest, true, s->now_ms);
    if (!r->slots) {
        edge_asks(s, p->edge, r);
        return;
    }
    e->lease_until_ms = s->now_ms + p->lease_ms;
    run(s, e, r);
}

static void edge_gets(struct sim *s, const struct packet *p)
{
    struct sim_edge *e = &s->edges[p->edge];
    struct sim_request *r = NULL;
    for (size_t i = 0; i < REQUESTS; i++) {
        if (e->requests[i].stage == STAGE_ASKING && e->requests[i].id == p->id)
            r = &e->requests[i];
    }
    if (p->type == MESSAGE_SLOTS_BACK) {
        slot_book_back(e->book, s->digest, p->given, p->until, s->now_ms);
    } else if (p->type == MESSAGE_ALLOW) {
        edge_is_allowed(s, p, r);
    } else if (r) {
        s->denied++;
        edge_ends_one(s, p->edge, r);
    }
}

static void edge_turn(struct sim *s, unsigned edge)
{
    struct sim_edge *e = &s->edges[edge];
    for (size_t i = 0; i < REQUESTS; i++) {
        if (e->requests[i].stage != STAGE_NONE && s->now_ms >= e->requests[i].until_ms)
            edge_ends_one(s, edge, &e->requests[i]);
    }
    if (e->up_ms && s->now_ms >= e->up_ms && !s->auth_from_ms) {
        e->up_ms = 0;
        slot_leases_edge_back(&s->slots, e, e->epoch);
        slot_book_tell_all(e->book);
        for (size_t i = 0; i < REQUESTS; i++) {
            if (e->requests[i].stage == STAGE_ASKING)
                edge_asks(s, edge, &e->requests[i]);
        }
    }
    if (s->now_ms % 250 == 0)
        slot_book_tick(e->book, s->now_ms);
}

static void edge_dies(struct sim *s, struct teller *teller)
{
    struct sim_edge *e = &s->edges[teller->edge];
    for (size_t i = 0; i < REQUESTS; i++) {
        if (e->requests[i].stage == STAGE_RUNNING)
            s->ghosts[s->ghost_count++ % (sizeof s->ghosts / sizeof s->ghosts[0])] =
                s->now_ms + CANCEL_MS;
    }
    break_link(s, teller->edge, 50 + chance(s, 500));
    slot_book_destroy(&e->book);
    edge_begins(s, teller);
}

/* ---- all of it ---- */

static unsigned running(const struct sim *s)
{
    unsigned n = 0;
    for (size_t i = 0; i < EDGES; i++) {
        for (size_t j = 0; j < REQUESTS; j++)
            n += s->edges[i].requests[j].stage == STAGE_RUNNING;
    }
    size_t room = sizeof s->ghosts / sizeof s->ghosts[0];
    for (size_t i = 0; i < room && i < s->ghost_count; i++)
        n += s->now_ms < s->ghosts[i];
    return n;
}

static void deliver(struct sim *s)
{
    for (size_t i = 0; i < s->packet_count;) {
        struct packet p = s->packets[i];
        if (s->now_ms < p.due_ms) {
            i++;
            continue;
        }
        s->packets[i] = s->packets[--s->packet_count];
        if (p.to_auth)
            auth_gets(s, &p);
        else
            edge_gets(s, &p);
    }
}

/* One kind of long trouble per schedule: auth starts again, or an edge is cut off for long. */
static void harm(struct sim *s, struct teller *tellers, bool restarts)
{
    if (chance(s, 6000) == 0)
        edge_dies(s, &tellers[chance(s, EDGES)]);
    if (restarts && !s->auth_from_ms && chance(s, 6000) == 0)
        auth_dies(s);
    unsigned edge = (unsigned)chance(s, EDGES);
    if (chance(s, 3000) == 0 && link_is_up(s, edge))
        break_link(s, edge, 1 + chance(s, restarts ? LINK_MS : SLOT_OWNER_GRACE_S * 900));
}

static void step(struct sim *s, struct teller *tellers, bool restarts, uint64_t load)
{
    s->now_ms++;
    if (!s->calm)
        harm(s, tellers, restarts);
    auth_turn(s);
    for (unsigned i = 0; i < EDGES; i++) {
        edge_turn(s, i);
        if (!s->calm && chance(s, load) < 1 + i)
            edge_starts_one(s, i);
    }
    deliver(s);
}

static void begin(struct sim *s, uint64_t seed, struct teller *tellers)
{
    *s = (struct sim){.seed = seed * 0x9e3779b97f4a7c15u + 1, .now_ms = 1000};
    s->config = test_config("providers:\n  openai: { api_keys: [x] }\n"
                            "models:\n  m: { targets: [{provider: openai}] }\n"
                            "auth: { lease: 2s }\n");
    limits_init(&s->limits);
    assert_int_equal(keys_create(&s->keys, pepper, &s->limits), OK);
    s->key = test_key(s->keys, (struct key_attributes){.name = SPAN("a"), .concurrent = CONCURRENT},
                      s->digest);
    auth_begin(s);
    for (unsigned i = 0; i < EDGES; i++) {
        tellers[i] = (struct teller){s, i};
        edge_begins(s, &tellers[i]);
    }
}

static void finish(struct sim *s)
{
    for (unsigned i = 0; i < EDGES; i++)
        slot_book_destroy(&s->edges[i].book);
    auth_end(s);
    keys_destroy(&s->keys);
    limits_free(&s->limits);
    config_destroy(&s->config);
}

static void never_too_many_run_and_no_slot_leaks(void **state)
{
    (void)state;
    static struct sim s;
    struct teller tellers[EDGES];
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
        begin(&s, seed, tellers);
        uint64_t load = 5 + chance(&s, 100); /* requests at one edge come every so many ms */
        s.usual_ms = 5 + chance(&s, 500);
        unsigned most = 0;
        for (int i = 0; i < BUSY_MS; i++) {
            step(&s, tellers, seed % 2, load);
            unsigned n = running(&s);
            most = n > most ? n : most;
            if (n > CONCURRENT)
                print_message("seed %d: %u run at %d ms\n", (int)seed, n, (int)s.now_ms);
            assert_true(n <= CONCURRENT);
        }
        s.calm = true;
        for (int i = 0; i < QUIET_MS; i++)
            step(&s, tellers, false, load);
        if (s.key->in_flight || getenv("VERBOSE"))
            print_message("seed %d: %d and %d served, %d asked, %d denied, most %u, left %u\n",
                          (int)seed, (int)s.edges[0].served, (int)s.edges[1].served, (int)s.asked,
                          (int)s.denied, most, s.key->in_flight);
        assert_true(s.edges[0].served && s.edges[1].served);
        assert_int_equal(running(&s), 0);
        assert_int_equal(s.key->in_flight, 0);
        for (unsigned i = 0; i < EDGES; i++) {
            struct slot_counts counts = slot_book_counts(s.edges[i].book, s.digest);
            assert_int_equal(counts.given, counts.returned);
        }
        finish(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_too_many_run_and_no_slot_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
