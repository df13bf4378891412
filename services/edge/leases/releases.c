#include "services/edge/leases/releases.h"

#include <stdlib.h>

#include "common/runtime/spool.h"
#include "proto/message_copy.h"

struct releases {
    struct outbox *outbox;
    struct spool spool;
    bool spools;
    release_send send;
    release_gather gather;
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
    const struct releases *l = ctx;
    struct header h = {.attempt = key->attempt};
    memcpy(h.id.bytes, key->id, sizeof h.id.bytes);
    return l->send(l->ctx, h, payload);
}

enum err releases_create(struct releases **out, size_t max_pending, release_send send,
                         release_gather gather, void *ctx)
{
    *out = NULL;
    struct releases *l = calloc(1, sizeof *l);
    if (!l)
        return ERR_NOMEM;
    *l = (struct releases){.send = send, .gather = gather, .ctx = ctx};
    struct outbox_spec spec = {.max = max_pending,
                               .drops_oldest = true,
                               .resend_ms = RELEASE_RESEND_MS,
                               .batch = RELEASE_BATCH,
                               .send = send_item,
                               .ctx = l};
    enum err e = outbox_create(&l->outbox, &spec);
    if (e) {
        free(l);
        return e;
    }
    *out = l;
    return OK;
}

void releases_destroy(struct releases **releases)
{
    if (!*releases)
        return;
    outbox_destroy(&(*releases)->outbox);
    free(*releases);
    *releases = NULL;
}

/* The leases of this life of the edge end with it. */
static void on_keep(void *ctx, void *message)
{
    struct release *r = message;
    (void)ctx;
    if (r->uncounted)
        r->uncounted = RELEASE_TOLD_ALONE;
}

void releases_spool(struct releases *l, const char *state_dir, uint64_t epoch)
{
    const struct spool_spec spec = {.state_dir = state_dir,
                                    .role = "edge",
                                    .epoch = epoch,
                                    .type = MESSAGE_RELEASE,
                                    .outbox = l->outbox,
                                    .most_pending = RELEASE_MAX_PENDING / 2,
                                    .on_keep = on_keep};
    spool_init(&l->spool, &spec);
    l->spools = true;
}

void releases_keep(struct releases *l)
{
    if (l->spools)
        spool_keep(&l->spool);
}

void releases_add(struct releases *l, const struct request_id *id, uint8_t attempt,
                  const struct release *r, bool urgent, uint64_t now_ms)
{
    struct outbox_key key = key_of(id, attempt);
    /* counted as dropped */
    enum err ignored = outbox_add_later(l->outbox, &key, message_item(MESSAGE_RELEASE, r));
    (void)ignored;
    if (urgent)
        outbox_tick(l->outbox, now_ms);
    else
        l->gather(l->ctx);
}

void releases_ack(struct releases *l, const struct request_id *id, uint8_t attempt)
{
    struct outbox_key key = key_of(id, attempt);
    (void)outbox_acknowledge(l->outbox, &key);
}

void releases_tick(struct releases *l, uint64_t now_ms)
{
    if (l->spools)
        spool_tick(&l->spool);
    outbox_tick(l->outbox, now_ms);
}

void releases_due_now(struct releases *l)
{
    spool_look_again(&l->spool);
    outbox_due_now(l->outbox);
}

size_t releases_pending(const struct releases *l)
{
    return outbox_pending(l->outbox);
}

uint64_t releases_dropped(const struct releases *l)
{
    return outbox_dropped(l->outbox);
}
