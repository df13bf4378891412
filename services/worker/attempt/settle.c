#include "services/worker/attempt/settle.h"

#include <stdlib.h>

#include "common/base/outbox.h"
#include "proto/message_copy.h"

struct settles {
    struct outbox *outbox;
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

enum err settles_add(struct settles *s, const struct request_id *id, uint8_t attempt,
                     const struct settle *m, uint64_t now_ms)
{
    struct outbox_key key = key_of(id, attempt);
    struct outbox_item *item =
        outbox_item_create(sizeof *m + message_text_bytes(MESSAGE_SETTLE, m));
    if (item) {
        struct settle *copy = outbox_item_payload(item);
        *copy = *m;
        (void)message_own_text(MESSAGE_SETTLE, copy, (char *)(copy + 1));
    }
    return outbox_add(s->outbox, &key, item, now_ms);
}

bool settles_done(struct settles *s, const struct request_id *id, uint8_t attempt)
{
    struct outbox_key key = key_of(id, attempt);
    return outbox_acknowledge(s->outbox, &key);
}

void settles_tick(struct settles *s, uint64_t now_ms)
{
    outbox_tick(s->outbox, now_ms);
}

void settles_due_now(struct settles *s)
{
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
