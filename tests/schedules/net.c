#include "schedules/trial.h"

#include <stdlib.h>

#include "proto/message_copy.h"

enum { GOODBYE = 250 }; /* beyond all messages */

static const char *const names[256] = {
#define MESSAGE(number, NAME, name) [number] = #NAME,
#define FIELD(name, type, field)
#define END(name)
#include "proto/messages.def"
#undef MESSAGE
#undef FIELD
#undef END
    [GOODBYE] = "GOODBYE"};

const char *message_name(unsigned type)
{
    return type < 256 && names[type] ? names[type] : "?";
}

/* ---- who is linked with whom ---- */

struct trial_link *link_eb(struct trial *t, unsigned edge, unsigned broker)
{
    return &t->links[edge * BROKERS + broker];
}

struct trial_link *link_wb(struct trial *t, unsigned worker, unsigned broker)
{
    return &t->links[EDGES * BROKERS + worker * BROKERS + broker];
}

struct trial_link *link_ew(struct trial *t, unsigned edge, unsigned worker)
{
    return &t->links[(EDGES + WORKERS) * BROKERS + edge * WORKERS + worker];
}

static uint32_t index_of(const struct trial *t, const struct trial_link *l)
{
    return (uint32_t)(l - t->links);
}

void net_init(struct trial *t)
{
    for (unsigned b = 0; b < BROKERS; b++) {
        for (unsigned e = 0; e < EDGES; e++)
            *link_eb(t, e, b) = (struct trial_link){
                .ends = {t->edges[e].party, t->brokers[b].party}, .control = true};
        for (unsigned w = 0; w < WORKERS; w++)
            *link_wb(t, w, b) = (struct trial_link){
                .ends = {t->workers[w].party, t->brokers[b].party}, .control = true};
    }
    for (unsigned e = 0; e < EDGES; e++)
        for (unsigned w = 0; w < WORKERS; w++)
            *link_ew(t, e, w) =
                (struct trial_link){.ends = {t->edges[e].party, t->workers[w].party}};
}

static bool has_end(const struct trial_link *l, const struct party *p)
{
    return l->ends[0] == p || l->ends[1] == p;
}

/* ---- packets ---- */

void packet_free(struct packet *p)
{
    if (p)
        free(p->body);
    free(p);
}

static void post(struct trial *t, struct trial_link *l, unsigned from, struct header h,
                 unsigned type, const void *m, uint64_t at_us)
{
    struct packet *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    *p = (struct packet){.link = l,
                         .link_life = l->life,
                         .to = !from,
                         .type = type,
                         .header = h,
                         .body = m ? message_copy(type, m) : NULL};
    schedule(t, at_us, l->ends[!from], E_PACKET, 0, 0, p);
}

bool net_send(struct trial *t, struct trial_link *l, unsigned from, struct header h, unsigned type,
              const void *m)
{
    bool garbles = l->control && t->now_us < t->p.faults_until_us && type != MESSAGE_WELCOME &&
                   type != GOODBYE;
    const struct party *to = l->ends[!from];
    uint32_t n;
    if (!l->open || !l->sees[from])
        return false;
    h.type = (uint8_t)type;
    if (garbles && per_mille(t, t->p.loss)) {
        SAY(t, l->ends[from], "%s to %s is lost", message_name(type), to->name);
        t->tally->losses++;
        return true;
    }
    n = garbles && per_mille(t, t->p.doubling) ? 2 : 1;
    while (n--) {
        uint64_t at = t->now_us + between(t, 20, t->p.delay_us) + to->lag_us;
        if (garbles && per_mille(t, t->p.reordering))
            at += between(t, 0, 300 * MS);
        else
            at = l->last_us[from] = at > l->last_us[from] ? at : l->last_us[from];
        post(t, l, from, h, type, m, at);
    }
    return true;
}

static void hear(struct trial *t, struct party *p, const struct packet *packet)
{
    if (p->kind == PARTY_BROKER)
        broker_hear(t, &t->brokers[p->index], packet);
    else if (p->kind == PARTY_EDGE)
        edge_hear(t, &t->edges[p->index], packet);
    else
        worker_hear(t, &t->workers[p->index], packet);
}

/* ---- up and down ---- */

static void tell_up(struct trial *t, struct trial_link *l, unsigned side)
{
    struct party *p = l->ends[side];
    l->sees[side] = true;
    SAY(t, p, "sees %s", l->ends[!side]->name);
    if (p->kind == PARTY_BROKER)
        broker_peer_up(t, &t->brokers[p->index], l);
    else if (p->kind == PARTY_EDGE)
        edge_peer_up(t, &t->edges[p->index], l);
    else
        worker_peer_up(t, &t->workers[p->index], l);
}

static void tell_down(struct trial *t, struct trial_link *l, unsigned side, bool stopped)
{
    struct party *p = l->ends[side];
    l->sees[side] = false;
    SAY(t, p, "%s %s", stopped ? "hears the goodbye of" : "has lost", l->ends[!side]->name);
    if (p->kind == PARTY_BROKER)
        broker_peer_down(t, &t->brokers[p->index], l);
    else if (p->kind == PARTY_EDGE)
        edge_peer_down(t, &t->edges[p->index], l, stopped);
    else
        worker_peer_down(t, &t->workers[p->index], l);
}

void net_deliver(struct trial *t, struct packet *p)
{
    struct trial_link *l = p->link;
    bool arrives = l->open && l->life == p->link_life;
    if (arrives && p->type == MESSAGE_WELCOME) {
        tell_up(t, l, p->to);
    } else if (arrives && p->type == GOODBYE) {
        l->open = false;
        l->life++;
        if (l->sees[p->to])
            tell_down(t, l, p->to, true);
        schedule(t, t->now_us + between(t, 5 * MS, 200 * MS), NULL, E_OPEN, index_of(t, l), 0,
                 NULL);
    } else if (arrives && l->sees[p->to]) {
        hear(t, l->ends[p->to], p);
    }
    packet_free(p);
}

/* Most losses are seen at once, some only when nothing is heard any more. */
void net_lose(struct trial *t, struct trial_link *l)
{
    bool at_once = per_mille(t, 700);
    uint64_t last = 0;
    if (!l->open)
        return;
    l->open = false;
    l->life++;
    for (unsigned side = 0; side < 2; side++) {
        uint64_t after = at_once ? between(t, 100, 5 * MS) : between(t, 100 * MS, 1500 * MS);
        if (!l->sees[side] || !l->ends[side]->alive)
            continue;
        schedule(t, t->now_us + after, l->ends[side], E_SEES_DOWN, index_of(t, l), side, NULL);
        last = after > last ? after : last;
    }
    fault(t, t->now_us + last + 200 * MS);
    schedule(t, t->now_us + last + between(t, 5 * MS, 200 * MS), NULL, E_OPEN, index_of(t, l), 0,
             NULL);
}

void net_sees_down(struct trial *t, struct trial_link *l, unsigned side)
{
    if (!l->open && l->sees[side])
        tell_down(t, l, side, false);
}

void net_open(struct trial *t, struct trial_link *l)
{
    if (l->open || !l->ends[0]->alive || !l->ends[1]->alive)
        return; /* a boot tries again */
    if (l->sees[0] || l->sees[1] || t->now_us < l->apart_until_us || l->ends[1]->draining) {
        schedule(t, t->now_us + 50 * MS, NULL, E_OPEN, index_of(t, l), 0, NULL);
        return;
    }
    l->open = true;
    l->closing = 0;
    l->opens++;
    l->last_us[0] = l->last_us[1] = t->now_us;
    tell_up(t, l, 1);
    (void)net_send(t, l, 1, (struct header){0}, MESSAGE_WELCOME, NULL);
}

void net_goodbye(struct trial *t, struct party *p)
{
    for (struct trial_link *l = t->links; l < t->links + LINKS; l++)
        if (has_end(l, p) && l->open) {
            unsigned side = l->ends[1] == p;
            (void)net_send(t, l, side, (struct header){0}, GOODBYE, NULL);
            l->sees[side] = false;
            l->closing = side + 1;
        }
}

/* What it sent with a goodbye still arrives; a link without one is lost. */
void net_party_died(struct trial *t, struct party *p)
{
    for (struct trial_link *l = t->links; l < t->links + LINKS; l++) {
        unsigned side = l->ends[1] == p;
        if (!has_end(l, p))
            continue;
        l->sees[side] = false;
        if (l->closing != side + 1)
            net_lose(t, l);
    }
}

void net_party_up(struct trial *t, struct party *p)
{
    for (struct trial_link *l = t->links; l < t->links + LINKS; l++)
        if (has_end(l, p)) {
            /* A goodbye that has not arrived by now never will. */
            if (l->open)
                net_lose(t, l);
            schedule(t, t->now_us + between(t, 1 * MS, 60 * MS), NULL, E_OPEN, index_of(t, l), 0,
                     NULL);
        }
}
