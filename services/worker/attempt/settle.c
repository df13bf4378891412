#include "services/worker/attempt/settle.h"

#include <stdlib.h>

#include "common/runtime/spool.h"
#include "proto/message_copy.h"

struct settles {
    struct outbox *outbox;
    struct spool spool;
    struct settles_of who;
    bool spools;
    uint32_t max;
    settle_send send;
    void *ctx;
};

static struct outbox_key key_of(const struct request_id *id, uint8_t attempt)
{
    struct outbox_key key = {.attempt = attempt};
    memcpy(key.id, id->bytes, sizeof key.id);
    return key;
}

static enum err send_item(void *ctx, const struct outbox_key *key, const void *payload)
{
    const struct settles *s = ctx;
    struct header h = {.attempt = key->attempt};
    memcpy(h.id.bytes, key->id, sizeof key->id);
    return s->send(s->ctx, h, payload);
}

enum err settles_create(struct settles **out, uint32_t max, settle_send send, void *ctx)
{
    *out = NULL;
    struct settles *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    *s = (struct settles){.max = max, .send = send, .ctx = ctx};
    struct outbox_spec spec = {.max = (size_t)max * 2,
                               .resend_ms = SETTLE_RESEND_MS,
                               .batch = SETTLE_BATCH,
                               .send = send_item,
                               .ctx = s};
    enum err e = outbox_create(&s->outbox, &spec);
    if (e) {
        free(s);
        return e;
    }
    *out = s;
    return OK;
}

void settles_destroy(struct settles **settles)
{
    if (!*settles)
        return;
    outbox_destroy(&(*settles)->outbox);
    free(*settles);
    *settles = NULL;
}

/* Another worker will send it. */
static void on_keep(void *ctx, void *message)
{
    const struct settles *s = ctx;
    struct settle *m = message;
    if (!m->worker.len)
        m->worker = span_str(s->who.worker);
}

/* auth takes no other's. */
static bool on_return(void *ctx, const void *message)
{
    const struct settles *s = ctx;
    const struct settle *m = message;
    return span_is(m->provider, s->who.provider);
}

void settles_spool(struct settles *s, const struct settles_of *who)
{
    s->who = *who;
    const struct spool_spec spec = {.state_dir = who->state_dir,
                                    .role = "worker",
                                    .provider = who->provider,
                                    .epoch = who->epoch,
                                    .type = MESSAGE_SETTLE,
                                    .outbox = s->outbox,
                                    .most_pending = s->max / 2,
                                    .on_keep = on_keep,
                                    .on_return = on_return,
                                    .ctx = s};
    spool_init(&s->spool, &spec);
    s->spools = true;
}

void settles_keep(struct settles *s)
{
    if (s->spools)
        spool_keep(&s->spool);
}

enum err settles_add(struct settles *s, const struct request_id *id, uint8_t attempt,
                     const struct settle *m, uint64_t now_ms)
{
    struct outbox_key key = key_of(id, attempt);
    return outbox_add(s->outbox, &key, message_item(MESSAGE_SETTLE, m), now_ms);
}

bool settles_done(struct settles *s, const struct request_id *id, uint8_t attempt)
{
    struct outbox_key key = key_of(id, attempt);
    return outbox_acknowledge(s->outbox, &key);
}

void settles_tick(struct settles *s, uint64_t now_ms)
{
    if (s->spools)
        spool_tick(&s->spool);
    outbox_tick(s->outbox, now_ms);
}

void settles_due_now(struct settles *s)
{
    spool_look_again(&s->spool);
    outbox_due_now(s->outbox);
}

uint32_t settles_pending(const struct settles *s)
{
    return (uint32_t)outbox_pending(s->outbox);
}

bool settles_full(const struct settles *s)
{
    return settles_pending(s) >= s->max;
}
