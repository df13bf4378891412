#include "services/auth/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/log.h"
#include "services/auth/answers.h"
#include "services/auth/changes.h"
#include "services/auth/client.h"
#include "services/auth/keys/pepper.h"

enum {
    TICK_MS = 100,        /* limiter state is at most that old after a crash */
    PROBE_MS = 500,       /* how often a store that failed is tried */
    EDGES_BACK_MS = 1500, /* after a start, edges have said what they used without auth */
    PRUNE_MS = 60000,
    PRUNE_MORE_MS = 50, /* while there is more to prune */
    LIMITS_PER_TICK = 4096,
    DAY_MS = 86400000
};
#define MS_NS ((uint64_t)1000000)

/* ---- what the store answers ---- */

static void note_store(struct auth *a, enum err result)
{
    bool down = result != OK;
    if (down == a->admission.store_down)
        return;
    a->admission.store_down = down;
    if (down)
        log_error(
            "store_down", LSTR("error", err_name(result)),
            LSTR("effect",
                 "nothing is acknowledged, and nothing but leases admits, until it writes again"));
    else
        log_info("store_up");
}

static void acknowledge(void *ctx, const struct store_op *op, enum err result)
{
    struct auth_client *c = op->tag;
    (void)ctx;
    if (!c)
        return;
    if (result == OK && c->peer) {
        struct header h = {.id = op->usage.id, .attempt = (uint8_t)op->usage.attempt};
        enum err e = op->kind == STORE_SETTLE
                         ? bus_send(c->peer, h, MESSAGE_SETTLED, &(struct settled){0})
                         : bus_send(c->peer, h, MESSAGE_RELEASED, &(struct released){0});
        if (e)
            log_debug("acknowledge_failed",
                      LSTR("error", err_name(e))); /* it will be asked again */
    }
    client_unref(c);
}

static void start_prune(struct auth *a, uint64_t delay_ms);

static void on_result(void *ctx, struct store_op *op, enum err result)
{
    struct auth *a = ctx;
    note_store(a, result); /* of the transaction: a read alone takes no store down */
    switch (op->kind) {
    case STORE_SETTLE:
    case STORE_RELEASE:
    case STORE_SLOT_PUT:
        ledger_on_result(&a->ledger, op, result, auth_now(a).now_ns);
        break;
    case STORE_KEY_ADD:
    case STORE_KEY_CHANGE:
    case STORE_KEY_DELETE:
    case STORE_USAGE:
    case STORE_REQUEST:
        if (a->admin)
            admin_on_result(a->admin, op, result ? result : op->read);
        break;
    case STORE_LIMIT_PUT:
        if (result)
            limits_mark_dirty(&a->limits, op->tag);
        break;
    case STORE_PRUNE:
        start_prune(a, result == OK && op->outcome == STORE_NEW ? PRUNE_MORE_MS : PRUNE_MS);
        break;
    case STORE_SLOT_DELETE:
    case STORE_PROBE:
        break;
    }
}

static enum err submit(void *ctx, const struct store_op *op)
{
    struct auth *a = ctx;
    return writer_submit(a->writer, op);
}

/* ---- now and then ---- */

static void save_limits(struct auth *a, struct moment now)
{
    struct store_op op = {.kind = STORE_LIMIT_PUT};
    struct limit *limit;
    for (int i = 0;
         i < LIMITS_PER_TICK && (limit = limits_next_dirty(&a->limits, now.now_ns, &op.limit));
         i++) {
        op.limit.wall_ms = now.wall_ms;
        op.limit.boot_id = span_str(a->boot_id);
        op.tag = limit;
        if (writer_submit(a->writer, &op)) {
            limits_mark_dirty(&a->limits, limit);
            return;
        }
    }
}

static void probe_store(struct auth *a, uint64_t now_ns)
{
    if (!a->admission.store_down || now_ns < a->next_probe_ns)
        return;
    a->next_probe_ns = now_ns + PROBE_MS * MS_NS;
    struct store_op op = {.kind = STORE_PROBE};
    if (writer_submit(a->writer, &op))
        log_debug("probe_skipped"); /* enough waits there to be the probe */
}

static void on_tick(void *ctx)
{
    struct auth *a = ctx;
    struct moment now = auth_now(a);
    if (!a->admission.store_down) {
        save_limits(a, now);
        ledger_tick(&a->ledger, now.now_ns, now.wall_ms);
    }
    probe_store(a, now.now_ns);
    if (a->give_back_ns && now.now_ns >= a->give_back_ns) {
        a->give_back_ns = 0;
        limits_give_back(&a->limits);
    }
    lease_sweep(&a->leases, now.now_ns);
    reservations_sweep(&a->reservations, now.now_ns);
    answers_tick(a);
    loop_timer_start(a->d->loop, &a->tick, TICK_MS, on_tick, a);
}

static void on_prune(void *ctx)
{
    struct auth *a = ctx;
    uint64_t today = auth_now(a).wall_ms / DAY_MS, keep = a->d->config->options.auth_keep_usage;
    struct store_op op = {.kind = STORE_PRUNE, .before_day = today > keep ? today - keep : 0};
    if (keep == 0 || writer_submit(a->writer, &op))
        start_prune(a, PRUNE_MS);
}

static void start_prune(struct auth *a, uint64_t delay_ms)
{
    loop_timer_start(a->d->loop, &a->prune, delay_ms, on_prune, a);
}

/* ---- start and stop ---- */

static enum err on_stored_key(void *ctx, const struct key_attributes *key)
{
    return keys_add(((struct auth *)ctx)->keys, key);
}

static enum err on_stored_limit(void *ctx, const struct limit_saved *saved)
{
    struct auth *a = ctx;
    struct moment now = auth_now(a);
    return limits_restore(&a->limits, saved, now.now_ns, now.wall_ms, span_str(a->boot_id));
}

static enum err on_stored_slot(void *ctx, const struct store_slot *slot)
{
    struct auth *a = ctx;
    struct moment now = auth_now(a);
    return ledger_on_slot(&a->ledger, slot, now.now_ns, now.wall_ms);
}

static enum err on_stored_response(void *ctx, struct span id, struct span key_id, uint64_t made_ms)
{
    struct auth *a = ctx;
    stored_responses_remember(&a->responses, id, key_id, (struct stored_response){0}, made_ms);
    return OK;
}

/* A row that stays behind when this fails goes by its due time. */
static void forget_slot(void *ctx, const struct request_id *id)
{
    struct auth *a = ctx;
    struct store_op op = {.kind = STORE_SLOT_DELETE, .slot.id = *id};
    if (a->writer && writer_submit(a->writer, &op))
        log_debug("slot_not_forgotten");
}

static void note_unconfirmed(void *ctx, const struct request_id *id)
{
    struct auth *a = ctx;
    char text[REQUEST_ID_TEXT];
    request_id_text(id, text);
    metric_add(a->d->metrics, METRIC_SETTLES_UNCONFIRMED, NULL, 1);
    log_warn("settle_unconfirmed", LSTR("request_id", text),
             LSTR("effect", "its key is charged with what was set aside at most"));
}

static void on_charged(void *ctx, const struct key *key)
{
    answers_on_charged(ctx, key);
}

static void on_uncounted(void *ctx, const struct key *key, struct span model, uint64_t tokens)
{
    struct auth *a = ctx;
    admission_charge(&a->admission, key, model, tokens, auth_now(a).now_ns);
}

/* Monotonic times of another boot mean nothing. Without the file every start counts as a new boot.
 */
static void read_boot_id(char out[BOOT_ID_BYTES])
{
    memset(out, 0, BOOT_ID_BYTES);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, BOOT_ID_BYTES - 1) : 0;
    if (fd >= 0)
        (void)close(fd);
    if (n > 0)
        out[strcspn(out, "\n")] = '\0';
    else
        crypto_hex(request_id_new().bytes, 16, out);
}

static enum err open_store(struct auth *a, struct store **out)
{
    const struct config_options *o = &a->d->config->options;
    uint8_t pepper[PEPPER_BYTES], check[SHA256_BYTES];
    if (mkdir(a->d->state_dir, 0700) != 0 && errno != EEXIST)
        log_warn("state_dir", LSTR("path", a->d->state_dir), LSTR("error", strerror(errno)));
    enum err e = pepper_load(o->auth_pepper_file, pepper);
    if (e)
        return e;
    pepper_check(pepper, check);
    e = keys_create(&a->keys, pepper, &a->limits);
    crypto_wipe(pepper, sizeof pepper);
    return e ? e : store_sqlite_open(o->auth_store, span_of(check, sizeof check), out);
}

static void put_together(struct auth *a, struct daemon *d)
{
    a->d = d;
    a->started_ns = auth_now(a).now_ns;
    read_boot_id(a->boot_id);
    limits_init(&a->limits);
    leases_init(&a->leases, &a->limits);
    answers_init(a);
    reservations_init(&a->reservations, &a->limits);
    a->reservations.forget = forget_slot;
    a->reservations.unconfirmed = note_unconfirmed;
    a->reservations.ctx = a;
    prices_load(&a->prices);
}

static void connect_parts(struct auth *a)
{
    a->admission.keys = a->ledger.keys = a->keys;
    a->admission.leases = &a->leases;
    a->ledger.seed = a->leases.seed;
    a->admission.reservations = a->ledger.reservations = &a->reservations;
    a->admission.metrics = a->ledger.metrics = a->d->metrics;
    a->admission.outputs = a->ledger.outputs = &a->outputs;
    a->admission.limits = &a->limits;
    a->admission.slots = &a->slots;
    a->admission.responses = &a->responses;
    a->ledger.prices = &a->prices;
    a->ledger.config = a->d->config;
    a->ledger.submit = submit;
    a->ledger.answer = acknowledge;
    a->ledger.charged = on_charged;
    a->ledger.uncounted = on_uncounted;
    a->ledger.ctx = a;
}

static enum err start_store(struct auth *a)
{
    struct store *store = NULL;
    const struct store_visitor load = {a, on_stored_key, on_stored_limit, on_stored_slot,
                                       on_stored_response};
    enum err e = open_store(a, &store);
    if (e)
        return e;
    connect_parts(a);
    e = store_load(store, &load);
    if (!e)
        e = admission_configure(&a->admission, a->d->config, auth_now(a).now_ns);
    if (!e)
        e = writer_create(&a->writer, a->d->loop, store, on_result, a);
    if (e)
        store_close(&store);
    return e;
}

enum err auth_start(struct auth *a, struct daemon *d)
{
    put_together(a, d);
    enum err e = start_store(a);
    const struct admin_host host = {a, a->keys, submit, changes_on_changed, changes_on_deleted};
    if (!e)
        e = admin_create(&a->admin, d->loop, d->config->options.auth_admin_socket, &host);
    if (e) {
        auth_stop(a);
        return e;
    }
    answers_await_edges(a);
    a->give_back_ns = auth_now(a).now_ns + EDGES_BACK_MS * MS_NS;
    on_tick(a);
    start_prune(a, PRUNE_MS);
    log_info("auth_ready", LU64("keys", keys_count(a->keys)),
             LSTR("store", d->config->options.auth_store));
    return OK;
}

void auth_reload(struct auth *a)
{
    a->ledger.config = a->d->config;
    if (admission_configure(&a->admission, a->d->config, auth_now(a).now_ns))
        log_error("reload_failed", LSTR("error", "out of memory"));
}

void auth_stop(struct auth *a)
{
    if (a->writer) {
        save_limits(a, auth_now(a));
        ledger_book_all(&a->ledger);
    }
    writer_destroy(&a->writer);
    admin_destroy(&a->admin);
    if (a->d) {
        loop_timer_stop(a->d->loop, &a->tick);
        loop_timer_stop(a->d->loop, &a->prune);
    }
    ledger_free(&a->ledger);
    answers_free(a);
    admission_free(&a->admission);
    reservations_free(&a->reservations);
    stored_responses_free(&a->responses);
    leases_free(&a->leases);
    keys_destroy(&a->keys);
    limits_free(&a->limits);
    prices_free(&a->prices);
}
