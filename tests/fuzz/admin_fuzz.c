/* Lines of any bytes on auth's admin socket: each gets one line of JSON with "ok", no key's text is
 * in an answer but that of key.create, and what is submitted has what the store needs. */
#include <ctype.h>

#include "fuzz/fuzz.h"
#include "services/auth/admin/admin.h"
#include "services/auth/keys/pepper.h"

struct host {
    struct keys *keys;
    struct store_op op;
    struct arena arena;
    enum err result;
};

static enum err submit(void *ctx, const struct store_op *op)
{
    struct host *h = ctx;
    struct span *views[] = {&h->op.key.id,     &h->op.key.name,         &h->op.key.hint,
                            &h->op.key.models, &h->op.key.model_limits, &h->op.key.tags};
    h->op = *op;
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        *views[i] = arena_copy(&h->arena, *views[i]);
    REQUIRE(op->kind == STORE_KEY_ADD || op->kind == STORE_KEY_CHANGE ||
            op->kind == STORE_KEY_DELETE || op->kind == STORE_USAGE);
    if (op->kind == STORE_KEY_ADD)
        REQUIRE(op->key.id.len && op->key.name.len && op->key.created_ms);
    if (op->kind == STORE_USAGE) {
        REQUIRE(op->answer != NULL);
        buf_append_str(op->answer, "[]");
    }
    return OK;
}

static enum err on_changed(void *ctx, struct key *key, const struct key_attributes *change,
                           unsigned fields)
{
    struct host *h = ctx;
    return keys_change(h->keys, key, change, fields, 0);
}

static void on_deleted(void *ctx, struct key *key)
{
    struct host *h = ctx;
    keys_delete(h->keys, &key, 1);
}

/* Is a key's whole text in there? Its beginning may stand anywhere: a pattern may be "sk-*". */
static bool holds_secret(struct span text)
{
    for (size_t at; (at = span_find_span(text, SPAN("sk-"))) < text.len;) {
        size_t n = 0;
        text = span_skip(text, at + 3);
        while (n < text.len && isxdigit((unsigned char)text.data[n]))
            n++;
        if (n >= 64)
            return true;
    }
    return false;
}

static void run(struct host *h, const struct admin_host *host, struct span line)
{
    struct buf answer = {0};
    struct json_doc doc = {0};
    bool ok = false;
    struct admin_call call = {.host = host, .wall_ms = 1790000000000, .answer = &answer, .tag = h};
    if (!admin_begin(&call, line))
        admin_finish(&call, &h->op, h->result);
    admin_call_reset(&call);
    REQUIRE(json_parse(&doc, buf_span(&answer), JSON_DEPTH_CLIENT) == OK);
    REQUIRE(json_bool(json_get(json_root(&doc), "ok"), &ok));
    REQUIRE(span_find(buf_span(&answer), '\n') == answer.len);
    if (json_type(json_get(json_root(&doc), "secret")) == JSON_NONE)
        REQUIRE(!holds_secret(buf_span(&answer)));
    json_doc_free(&doc);
    buf_free(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t pepper[PEPPER_BYTES] = {3};
    struct span rest = span_of(data, size);
    struct limits limits;
    struct host h = {0};
    const struct admin_host host = {&h, NULL, submit, on_changed, on_deleted};
    struct admin_host with_keys = host;
    arena_init(&h.arena, 0);
    limits_init(&limits);
    REQUIRE(keys_create(&h.keys, pepper, &limits) == OK);
    with_keys.keys = h.keys;
    for (int lines = 0; rest.len && lines < 16; lines++) {
        struct span line = span_cut(&rest, '\n');
        h.result = line.len % 7 == 3 ? ERR_IO : OK;
        run(&h, &with_keys, line);
    }
    keys_destroy(&h.keys);
    limits_free(&limits);
    arena_free(&h.arena);
    return 0;
}
