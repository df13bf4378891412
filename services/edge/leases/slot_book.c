#include "services/edge/leases/slot_book.h"

#include <stdlib.h>
#include <string.h>

/* A digest is random already, and only those of valid keys are in the table. */
static unsigned hash_of(const uint8_t *digest)
{
    unsigned h;
    memcpy(&h, digest, sizeof h);
    return h;
}

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, hash_out) ((hash_out) = hash_of((const uint8_t *)(key)))
#include <uthash.h>

enum {
    IDLE_MS = 60000, /* before a key with nothing held is forgotten */
    VISITS = 64      /* keys that one tick looks at, and an eighth of all */
};

struct leased_slots {
    UT_hash_handle hh;
    uint8_t key[SHA256_BYTES];
    uint64_t given, returned;
    uint64_t until; /* auth wants that many returned */
    uint32_t used;
    uint64_t expires_ms;
};

struct slot_book {
    struct leased_slots *by_key;
    struct leased_slots *next; /* to be looked at by the next tick */
    /* The counts of a key that is new, or forgotten, begin here: no lower than they ever were. */
    uint64_t floor;
    size_t max_keys;
    slot_book_send send;
    void *ctx;
};

enum err slot_book_create(struct slot_book **out, size_t max_keys, slot_book_send send, void *ctx)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->max_keys = max_keys;
    (*out)->send = send;
    (*out)->ctx = ctx;
    return OK;
}

static void raise_to(uint64_t *count, uint64_t to)
{
    if (*count < to)
        *count = to;
}

static void drop(struct slot_book *b, struct leased_slots *s)
{
    raise_to(&b->floor, s->returned);
    if (b->next == s)
        b->next = s->hh.next;
    HASH_DEL(b->by_key, s);
    free(s);
}

void slot_book_destroy(struct slot_book **book)
{
    if (!*book)
        return;
    while ((*book)->by_key)
        drop(*book, (*book)->by_key);
    free(*book);
    *book = NULL;
}

static struct leased_slots *find(const struct slot_book *b, const uint8_t key[SHA256_BYTES])
{
    struct leased_slots *s = NULL;
    if (b->by_key)
        HASH_FIND(hh, b->by_key, key, SHA256_BYTES, s);
    return s;
}

static struct leased_slots *find_or_make(struct slot_book *b, const uint8_t key[SHA256_BYTES])
{
    struct leased_slots *s = find(b, key);
    if (s || HASH_COUNT(b->by_key) >= b->max_keys)
        return s;
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    memcpy(s->key, key, SHA256_BYTES);
    s->given = s->returned = s->until = b->floor;
    HASH_ADD(hh, b->by_key, key, SHA256_BYTES, s);
    if (s->hh.tbl)
        return s;
    free(s);
    return NULL;
}

static uint64_t free_of(const struct leased_slots *s)
{
    return s->given - s->returned - s->used;
}

static void tell(const struct slot_book *b, const struct leased_slots *s)
{
    b->send(b->ctx, s->key, s->given, s->returned);
}

/* Returns free ones: all of an expired lease, else as far as they are wanted back. */
static bool give_back(struct leased_slots *s, uint64_t now_ms)
{
    uint64_t wanted = s->until > s->returned ? s->until - s->returned : 0;
    if (now_ms >= s->expires_ms)
        wanted = free_of(s);
    uint64_t n = wanted < free_of(s) ? wanted : free_of(s);
    s->returned += n;
    return n > 0;
}

/* Of a key without a place here nothing is held. */
static void hold_nothing(struct slot_book *b, const uint8_t key[SHA256_BYTES], uint64_t given)
{
    raise_to(&b->floor, given);
    b->send(b->ctx, key, given, given);
}

bool slot_book_given(struct slot_book *b, const uint8_t key[SHA256_BYTES], uint64_t given,
                     uint32_t valid_ms, uint64_t now_ms)
{
    struct leased_slots *s = find_or_make(b, key);
    if (!s) {
        hold_nothing(b, key, given);
        return false;
    }
    raise_to(&s->given, given);
    s->expires_ms = now_ms + valid_ms;
    return true;
}

struct leased_slots *slot_book_take(struct slot_book *b, const uint8_t key[SHA256_BYTES],
                                    bool expired, uint64_t now_ms)
{
    struct leased_slots *s = find(b, key);
    if (!s || free_of(s) == 0 || (!expired && now_ms >= s->expires_ms))
        return NULL;
    s->used++;
    return s;
}

void slot_book_leave(struct slot_book *b, struct leased_slots **slots, uint64_t now_ms)
{
    struct leased_slots *s = *slots;
    *slots = NULL;
    if (!s)
        return;
    s->used--;
    if (give_back(s, now_ms))
        tell(b, s);
}

void slot_book_back(struct slot_book *b, const uint8_t key[SHA256_BYTES], uint64_t given,
                    uint64_t until, uint64_t now_ms)
{
    struct leased_slots *s = find(b, key);
    if (!s) {
        hold_nothing(b, key, given);
        return;
    }
    raise_to(&s->given, given);
    raise_to(&s->until, until < given ? until : given);
    (void)give_back(s, now_ms);
    tell(b, s);
}

static void end_lease(struct slot_book *b, struct leased_slots *s)
{
    s->expires_ms = 0;
    if (give_back(s, 0))
        tell(b, s);
}

void slot_book_end(struct slot_book *b, const uint8_t key[SHA256_BYTES])
{
    struct leased_slots *s = find(b, key);
    if (s)
        end_lease(b, s);
}

void slot_book_end_all(struct slot_book *b)
{
    for (struct leased_slots *s = b->by_key; s; s = s->hh.next)
        end_lease(b, s);
}

void slot_book_tick(struct slot_book *b, uint64_t now_ms)
{
    size_t keys = HASH_COUNT(b->by_key);
    size_t visits = VISITS + keys / 8 < keys ? VISITS + keys / 8 : keys;
    for (; visits > 0 && b->by_key; visits--) {
        struct leased_slots *s = b->next ? b->next : b->by_key;
        b->next = s->hh.next;
        if (now_ms < s->expires_ms)
            continue;
        if (give_back(s, now_ms))
            tell(b, s);
        if (s->given == s->returned && now_ms >= s->expires_ms + IDLE_MS)
            drop(b, s);
    }
}

void slot_book_tell_all(struct slot_book *b)
{
    for (const struct leased_slots *s = b->by_key; s; s = s->hh.next) {
        if (s->given > s->returned)
            tell(b, s);
    }
}

struct slot_counts slot_book_counts(const struct slot_book *b, const uint8_t key[SHA256_BYTES])
{
    const struct leased_slots *s = find(b, key);
    return s ? (struct slot_counts){s->given, s->returned, s->used}
             : (struct slot_counts){b->floor, b->floor, 0};
}

size_t slot_book_keys(const struct slot_book *b)
{
    return HASH_COUNT(b->by_key);
}
