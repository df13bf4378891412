/* The admin socket: a unix stream socket, mode 0600, for processes of the same user (SO_PEERCRED)
 * or root. One JSON object a line, one line back: {"command":"key.create", …} → {"ok":true, …} or
 * {"ok":false,"error":"…"}.
 *
 *   ping                                   {version}
 *   key.create  name, LIMITS, digest, hint {key: {…}, secret: "sk-…"}: the only time it is seen;
 *                                          with the digest (SHA-256, hex) of a secret that exists
 *                                          elsewhere none is made
 *   key.update  key, name, LIMITS          {key: {…}}; what is absent stays, "" and 0 take away
 *   key.rotate  key, overlap_ms            {key: {…}, secret: "sk-…"}
 *   key.list    state, name, tag           {keys: [{…}]}: all that the filters let through
 *   key.show, key.block, key.unblock, key.revoke, key.reset_limits, key.delete
 *               key (id or name)           {key: {…}}
 *   usage       by ["key","model","provider","day","user","tag"], since_day, until_day, key, rows,
 *               limit, model; with rows also since_ms, status ("5xx,429")
 *                                          {usage: [{…}]}
 *   request     id                         {request: {rows: [{…}], history: {…}}}
 * LIMITS: models, model_limits, tags, requests_per_minute, requests_per_hour, tokens_per_minute,
 * concurrent, expires_ms. */
#ifndef SERVICES_AUTH_ADMIN_ADMIN_H
#define SERVICES_AUTH_ADMIN_ADMIN_H

#include "common/base/json.h"
#include "common/runtime/loop.h"
#include "services/auth/ledger/store.h"

struct admin;

/* What it works on. */
struct admin_host {
    void *ctx;
    struct keys *keys;
    enum err (*submit)(void *ctx, const struct store_op *op);
    /* The change is stored: it holds from now on, here and at the edges. */
    enum err (*on_changed)(void *ctx, struct key *key, const struct key_attributes *change,
                           unsigned fields);
    /* The key is no longer stored: forget it, here and at the edges. */
    void (*on_deleted)(void *ctx, struct key *key);
};

enum { ADMIN_LINE_MAX = 65536, ADMIN_CONNECTIONS_MAX = 16, ADMIN_IDLE_MS = 30000 };

/* ERR_IO with the reason logged when the socket cannot be made; a stale one is replaced. */
enum err admin_create(struct admin **out, struct loop *loop, const char *path,
                      const struct admin_host *host) NODISCARD;
void admin_destroy(struct admin **a);
/* An operation on a key, or a USAGE, that this socket submitted, is done. */
void admin_on_result(struct admin *a, struct store_op *op, enum err result);

/* ---- the commands, without the socket ---- */

/* One command in work. `answer` becomes the line to send, without its newline. */
struct admin_call {
    const struct admin_host *host;
    uint64_t wall_ms;
    struct buf *answer;
    struct buf rows;             /* a query's result */
    char secret[KEY_TEXT_BYTES]; /* of a key being created */
    void *tag;                   /* goes into the operation */
};

/* True when the answer is there; false when an operation was submitted: admin_finish completes it.
 */
bool admin_begin(struct admin_call *c, struct span line);
void admin_finish(struct admin_call *c, struct store_op *op, enum err result);
/* Wipes the secret. */
void admin_call_reset(struct admin_call *c);

#endif
