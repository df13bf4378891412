#include "schedules/trial.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- chance and time ---- */

static uint64_t next_random(struct trial *t)
{
    uint64_t z = (t->rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t roll(struct trial *t, uint64_t below)
{
    return below ? next_random(t) % below : 0;
}

bool per_mille(struct trial *t, uint32_t chance)
{
    return chance && roll(t, 1000) < chance;
}

uint64_t between(struct trial *t, uint64_t least, uint64_t most)
{
    return least + roll(t, most - least + 1);
}

uint64_t local_us(const struct trial *t, const struct party *p)
{
    return t->now_us + p->offset_us;
}

uint64_t local_ms(const struct trial *t, const struct party *p)
{
    return local_us(t, p) / MS;
}

void fault(struct trial *t, uint64_t until_us)
{
    if (until_us > t->last_fault_us)
        t->last_fault_us = until_us;
    t->tally->faults++;
}

/* ---- what is told ---- */

__attribute__((format(printf, 3, 0))) static void
keep_line(struct trial *t, const struct party *who, const char *format, va_list args)
{
    char *line = t->lines[t->line_count++ % TRACE_LINES];
    int n = snprintf(line, 240, "%10.6f %-9s ", (double)t->now_us / S, who ? who->name : "");
    (void)vsnprintf(line + n, 240 - (size_t)n, format, args);
}

void say(struct trial *t, const struct party *who, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    keep_line(t, who, format, args);
    va_end(args);
}

void broke(struct trial *t, const char *format, ...)
{
    va_list args;
    if (t->broken)
        return;
    t->broken = true;
    va_start(args, format);
    (void)vsnprintf(t->why, sizeof t->why, format, args);
    va_end(args);
    SAY(t, NULL, "BROKEN: %s", t->why);
}

/* ---- what is expected of grants ---- */

struct expected *expect(struct trial *t, struct table *table, uint64_t broker_epoch,
                        uint64_t number)
{
    uint64_t at = (broker_epoch ^ number) * 0x9e3779b97f4a7c15u >> 40;
    for (;; at++) {
        struct expected *e = &table->items[at % TABLE];
        if (e->used && e->broker_epoch == broker_epoch && e->number == number)
            return e;
        if (e->used)
            continue;
        if (++table->count == TABLE)
            broke(t, "a schedule is too long for its table of grants");
        *e = (struct expected){.used = true, .broker_epoch = broker_epoch, .number = number};
        return e;
    }
}

/* ---- events ---- */

static bool sooner(const struct event *a, const struct event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void put(struct trial *t, struct event e)
{
    if (t->heap_count == t->heap_cap) {
        t->heap_cap = t->heap_cap ? t->heap_cap * 2 : 256;
        t->heap = realloc(t->heap, t->heap_cap * sizeof *t->heap);
        if (!t->heap)
            abort();
    }
    size_t i = t->heap_count++;
    while (i && sooner(&e, &t->heap[(i - 1) / 2])) {
        t->heap[i] = t->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->heap[i] = e;
}

static struct event take(struct trial *t)
{
    struct event first = t->heap[0], last = t->heap[--t->heap_count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < t->heap_count) {
        if (child + 1 < t->heap_count && sooner(&t->heap[child + 1], &t->heap[child]))
            child++;
        if (!sooner(&t->heap[child], &last))
            break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = last;
    return first;
}

void schedule(struct trial *t, uint64_t at_us, struct party *who, enum event_kind kind, uint32_t a,
              uint64_t n, struct packet *packet)
{
    struct event e = {.at_us = at_us,
                      .order = t->order++,
                      .who = who,
                      .life = who ? who->life : 0,
                      .kind = kind,
                      .a = a,
                      .n = n,
                      .packet = packet};
    put(t, e);
}

static void happen_to_worker(struct trial *t, const struct event *e)
{
    struct t_worker *w = &t->workers[e->who->index];
    if (e->kind == E_WORKER_TICK)
        worker_tick(t, w);
    else if (e->kind == E_WORKER_GONE)
        worker_gone(t, w);
    else if (e->kind == E_ATTEMPT_HEAD)
        worker_attempt_head(t, w, e->a, e->n);
    else
        worker_attempt_end(t, w, e->a, e->n);
}

static void happen_to_broker(struct trial *t, const struct event *e)
{
    struct t_broker *b = &t->brokers[e->who->index];
    if (e->kind == E_BROKER_TICK)
        broker_tick(t, b);
    else if (e->kind == E_BROKER_PONG)
        broker_pong(t, b);
    else {
        net_goodbye(t, b->party);
        party_crash(t, b->party, between(t, 10 * MS, 3 * S));
    }
}

static void happen_to_edge(struct trial *t, const struct event *e)
{
    struct t_edge *edge = &t->edges[e->who->index];
    if (e->kind == E_EDGE_TURN)
        edge->turn_us = UINT64_MAX;
    else if (e->kind == E_WAITED)
        edge_waited(t, &t->requests[e->a], e->n);
    else
        edge_stop(t, &t->requests[e->a], e->kind == E_DEADLINE ? OUT_LATE : OUT_LEFT);
    edge_turn(t, edge);
}

static void happen(struct trial *t, const struct event *e)
{
    switch (e->kind) {
    case E_PACKET:
        net_deliver(t, e->packet);
        break;
    case E_SEES_DOWN:
        net_sees_down(t, &t->links[e->a], (unsigned)e->n);
        break;
    case E_OPEN:
        net_open(t, &t->links[e->a]);
        break;
    case E_EDGE_TURN:
    case E_WAITED:
    case E_DEADLINE:
    case E_LEAVE:
        happen_to_edge(t, e);
        break;
    case E_BROKER_TICK:
    case E_BROKER_PONG:
    case E_BROKER_GONE:
        happen_to_broker(t, e);
        break;
    case E_WORKER_TICK:
    case E_WORKER_GONE:
    case E_ATTEMPT_HEAD:
    case E_ATTEMPT_END:
        happen_to_worker(t, e);
        break;
    case E_ARRIVE:
        faults_arrive(t);
        break;
    case E_FAULT:
        faults_next(t);
        break;
    case E_START:
        party_boot(t, &t->parties[e->a]);
        break;
    case E_CHECK:
        checks_look(t);
        break;
    }
}

/* The next event that concerns somebody who lives; a party that stands still hears of it later. */
static void step(struct trial *t)
{
    struct event e = take(t);
    t->now_us = e.at_us;
    if (e.who && (!e.who->alive || e.who->life != e.life)) {
        packet_free(e.packet);
        return;
    }
    if (e.who && e.who->stalled_until_us > t->now_us) {
        e.at_us = e.who->stalled_until_us;
        put(t, e);
        return;
    }
    t->tally->events++;
    happen(t, &e);
}

/* ---- life ---- */

static void begin(struct trial *t)
{
    static const char *const names[] = {"broker", "edge", "worker"};
    static const unsigned counts[] = {BROKERS, EDGES, WORKERS};
    struct party *p = t->parties;
    for (unsigned kind = 0; kind < 3; kind++)
        for (unsigned i = 0; i < counts[kind]; i++, p++) {
            p->kind = (enum party_kind)kind;
            p->index = i;
            p->offset_us = roll(t, 1000000) * S;
            (void)snprintf(p->name, sizeof p->name, "%s-%u", names[kind], i + 1);
            if (kind == PARTY_BROKER)
                t->brokers[i].party = p;
            else if (kind == PARTY_EDGE)
                t->edges[i].party = p;
            else
                t->workers[i].party = p;
        }
    net_init(t);
    for (p = t->parties; p < t->parties + PARTIES; p++)
        party_boot(t, p);
    faults_plan(t);
}

static void clean(struct trial *t)
{
    for (unsigned i = 0; i < EDGES; i++)
        if (t->edges[i].party->alive)
            edge_end(t, &t->edges[i]);
    for (unsigned i = 0; i < BROKERS; i++)
        broker_end(&t->brokers[i]);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_end(&t->workers[i]);
    while (t->heap_count)
        packet_free(t->heap[--t->heap_count].packet);
    for (unsigned i = 0; i < EDGES; i++)
        buf_free(&t->edges[i].scratch);
}

bool trial_run(struct trial *t, uint64_t seed, struct config *config, struct tally *tally,
               char (*lines)[240])
{
    struct event *heap = t->heap;
    size_t cap = t->heap_cap;
    memset(t, 0, sizeof *t);
    t->heap = heap;
    t->heap_cap = cap;
    t->seed = seed;
    t->rng = seed * 0x9e3779b97f4a7c15u + 1;
    t->now_us = S;
    t->config = config;
    t->tally = tally;
    t->lines = lines;
    t->trace = lines != NULL;
    begin(t);
    while (!t->broken && !t->done && t->heap_count)
        step(t);
    clean(t);
    return !t->broken;
}
