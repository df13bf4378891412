#include "services/auth/ledger/held.h"

#include <stdlib.h>

static void append(struct held *h, struct held_release *r)
{
    r->before = h->last;
    r->after = NULL;
    *(h->last ? &h->last->after : &h->first) = r;
    h->last = r;
}

static void unlist(struct held *h, struct held_release *r)
{
    if (r->booking)
        return;
    *(r->before ? &r->before->after : &h->first) = r->after;
    *(r->after ? &r->after->before : &h->last) = r->before;
    r->before = r->after = NULL;
}

/* What a RELEASE has to say in words. */
enum { TEXTS = 6 };

static void texts_of(struct store_usage *u, struct span *out[TEXTS])
{
    out[0] = &u->key_id;
    out[1] = &u->key_name;
    out[2] = &u->model;
    out[3] = &u->provider;
    out[4] = &u->end_user;
    out[5] = &u->tags;
}

static void own_texts(struct held_release *r)
{
    struct span *texts[TEXTS];
    char *at = r->text;
    texts_of(&r->op.usage, texts);
    for (size_t i = 0; i < TEXTS; i++) {
        if (texts[i]->len)
            memcpy(at, texts[i]->data, texts[i]->len);
        *texts[i] = span_of(at, texts[i]->len);
        at += texts[i]->len;
    }
}

struct held_release *held_add(struct held *h, const struct store_op *op, uint64_t due_ns)
{
    const struct store_usage *u = &op->usage;
    size_t bytes = u->key_id.len + u->key_name.len + u->model.len + u->provider.len +
                   u->end_user.len + u->tags.len;
    struct held_release *r = malloc(sizeof *r + bytes);
    if (!r)
        return NULL;
    *r = (struct held_release){.due_ns = due_ns, .op = *op};
    r->op.history = r->op.history_class = SPAN_NONE; /* stored already */
    own_texts(r);
    if (table_add(&h->table, &r->node, request_id_hash(&u->id))) {
        free(r);
        return NULL;
    }
    append(h, r);
    return r;
}

struct held_release *held_find(const struct held *h, const struct request_id *id)
{
    for (struct table_node *n = table_first(&h->table, request_id_hash(id)); n; n = table_next(n)) {
        struct held_release *r = TABLE_OWNER(n, struct held_release, node);
        if (request_id_equals(&r->op.usage.id, id))
            return r;
    }
    return NULL;
}

void held_book(struct held *h, struct held_release *r)
{
    unlist(h, r);
    r->booking = true;
}

void held_retry(struct held *h, struct held_release *r, uint64_t due_ns)
{
    unlist(h, r);
    r->booking = false;
    r->due_ns = due_ns;
    append(h, r);
}

void held_drop(struct held *h, struct held_release *r)
{
    unlist(h, r);
    table_remove(&h->table, &r->node);
    free(r);
}

static void free_node(void *ctx, struct table_node *node)
{
    (void)ctx;
    free(TABLE_OWNER(node, struct held_release, node));
}

void held_free(struct held *h)
{
    size_t cursor = 0;
    table_sweep(&h->table, &cursor, h->table.size, free_node, NULL);
    table_free(&h->table);
    *h = (struct held){0};
}
