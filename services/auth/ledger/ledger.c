#include "services/auth/ledger/ledger.h"

#include "common/base/log.h"
#include "proto/api.h"
#include "services/auth/ledger/history.h"
#include "proto/labels.h"
#include "services/auth/ledger/possible.h"

#define MS_NS ((uint64_t)1000000)
/* How long a report waits for the RELEASE that says what was set aside for it. */
#define REPORT_WAIT_NS (10 * GCRA_SECOND)
/* Before booking is tried again when the store refused it. */
#define BOOK_RETRY_NS GCRA_SECOND
/* RELEASEs held at most: beyond, the oldest are booked at the next tick. */
enum { UNCOUNTED_ALONE = 2 }; /* release.uncounted: nothing else tells of it */
enum { HELD_MAX = 100000, SLOTS_PER_TICK = 4096, LONGEST_SLOT_MS = 3600000 };

static uint64_t grace_ns(const struct ledger *l)
{
    return l->config->options.auth_release_grace * MS_NS;
}

static uint64_t worker_hash(const struct ledger *l, struct span name)
{
    return table_hash(l->seed, name);
}

static void name_workers(const struct ledger *l, struct reservation *reservation,
                         struct span workers)
{
    while (workers.len) {
        const char *comma = memchr(workers.data, ',', workers.len);
        size_t n = comma ? (size_t)(comma - workers.data) : workers.len;
        if (n)
            reservation_name_worker(reservation, worker_hash(l, span_first(workers, n)));
        workers = span_of(workers.data + n + (comma != NULL), workers.len - n - (comma != NULL));
    }
}

static void bound(struct store_usage *usage)
{
    if (possible_usage(usage))
        log_warn("usage_bounded", LHEX("request", usage->id.bytes, sizeof usage->id.bytes),
                 LSPAN("provider", usage->provider), LSPAN("model", usage->model));
}

static void answer(const struct ledger *l, const struct store_op *op, enum err result)
{
    if (l->answer)
        l->answer(l->ctx, op, result);
}

/* Those of the key, then the request's own; `room` is where they are joined. Whatever a peer says
 * is cut to its bounds. */
static struct span all_tags(const struct ledger *l, struct span key_id, struct span tags,
                            char room[TAGS_TEXT_MAX])
{
    struct span of_key = keys_tags(l->keys, key_id);
    struct tag_list all = {0};
    if (!of_key.len && !tags.len)
        return SPAN_NONE;
    const char *why = tag_list_add(&all, of_key, TAGS_OF_ROW_MAX);
    if (!why)
        why = tag_list_add(&all, tags, TAGS_OF_ROW_MAX);
    if (why)
        log_warn("tags_cut", LSTR("why", why), LSPAN("key_id", key_id));
    return span_of(room, tag_list_write(&all, room));
}

static uint32_t cost_source_of(const struct settle *m)
{
    return m->cost_source <= COST_UNPRICED ? m->cost_source : COST_COMPUTED;
}

enum err ledger_on_settle(struct ledger *l, const struct header *h, const struct settle *m,
                          struct span worker, uint64_t now_ns, uint64_t wall_ms, void *tag)
{
    (void)now_ns;
    if (m->cost_source == COST_UNPRICED)
        prices_tell_missing(l->prices, m->provider,
                            m->upstream_model.len ? m->upstream_model : m->model);
    char tags[TAGS_TEXT_MAX];
    struct store_op op = {.kind = STORE_SETTLE, .tag = tag, .worker = worker_hash(l, worker)};
    op.usage = (struct store_usage){.id = h->id,
                                    .attempt = h->attempt,
                                    .key_id = m->key_id,
                                    .key_name = m->key_name,
                                    .model = m->model,
                                    .provider = m->provider,
                                    .upstream_model = m->upstream_model,
                                    .upstream_id = m->upstream_id,
                                    .api = m->api,
                                    .status = m->status,
                                    .stream = m->stream,
                                    .estimated = m->estimated,
                                    .input_tokens = m->input_tokens,
                                    .cached_tokens = m->cached_tokens,
                                    .cache_write_tokens = m->cache_write_tokens,
                                    .output_tokens = m->output_tokens,
                                    .reasoning_tokens = m->reasoning_tokens,
                                    .cost_nano = m->cost_nano,
                                    .cache_write_1h_tokens = m->cache_write_1h_tokens,
                                    .tool_calls = m->tool_calls,
                                    .service_tier = m->service_tier,
                                    .cost_source = cost_source_of(m),
                                    .end_user = span_first(m->end_user, END_USER_MAX_BYTES),
                                    .tags = all_tags(l, m->key_id, m->tags, tags),
                                    .started_ms = m->started_ms ? m->started_ms : wall_ms,
                                    .first_ms = m->first_ms,
                                    .duration_ms = m->duration_ms};
    op.of_response = m->of_response;
    bound(&op.usage);
    return l->submit(l->ctx, &op);
}

/* What the row says if no worker ever reports: the input as estimated, the output as delivered. */
static void estimate(const struct ledger *l, const struct header *h, const struct release *m,
                     uint64_t wall_ms, const struct key *key, char tags[TAGS_TEXT_MAX],
                     struct store_usage *out)
{
    struct span model = m->answered.len ? m->answered : m->model;
    *out = (struct store_usage){.id = h->id,
                                .attempt = h->attempt,
                                .key_id = m->key_id,
                                .key_name = m->key_name.len || !key ? m->key_name : key->is.name,
                                .model = model,
                                .provider = m->provider,
                                .api = m->api,
                                .status = m->status,
                                .stream = m->stream,
                                .estimated = true,
                                .end_user = span_first(m->end_user, END_USER_MAX_BYTES),
                                .tags = all_tags(l, m->key_id, m->tags, tags),
                                .started_ms = m->started_ms ? m->started_ms : wall_ms,
                                .duration_ms = m->duration_ms};
    if (!m->settles)
        return; /* no worker saw it: no tokens, only its status */
    out->input_tokens = m->input_tokens;
    out->output_tokens = m->output_tokens;
    out->cost_nano = prices_cost_nano(l->prices, l->config, model, m->provider, m->input_tokens,
                                      m->output_tokens);
    bool used = m->input_tokens || m->output_tokens;
    if (used && !prices_know(l->prices, l->config, m->model, m->provider))
        out->cost_source = COST_UNPRICED;
}

/* The request no longer runs: frees its slot. Its tokens are corrected when the store has said what
 * is known of it: only then is it sure that this is not said twice. */
static void let_go(struct ledger *l, const struct header *h, const struct release *m,
                   struct key *key, uint64_t now_ns)
{
    if (!key)
        return;
    struct reservation *reservation = reservation_find(l->reservations, &h->id);
    if (reservation && reservation->released)
        return; /* sent again */
    if (m->uncounted == UNCOUNTED_ALONE && l->uncounted)
        l->uncounted(l->ctx, key, m->model, m->reserved_tokens);
    if (!reservation && key->tokens)
        reservation =
            reservation_add(l->reservations, &h->id, key, now_ns + grace_ns(l) + REPORT_WAIT_NS);
    if (!reservation)
        return;
    if (reservation->charged_tokens == 0)
        reservation->charged_tokens = m->reserved_tokens;
    reservation->released = true;
    name_workers(l, reservation, m->workers);
    reservation_free_slot(l->reservations, reservation);
    if (reservation->settled)
        reservation_finish(l->reservations, reservation, now_ns);
    else
        reservation->due_ns = now_ns + grace_ns(l) + REPORT_WAIT_NS;
}

enum err ledger_on_release(struct ledger *l, const struct header *h, const struct release *m,
                           uint64_t now_ns, uint64_t wall_ms, void *tag)
{
    struct key *key = keys_find_id(l->keys, m->key_id);
    struct store_op op = {.kind = STORE_RELEASE, .settles = m->settles, .tag = tag};
    struct held_release *held = held_find(&l->held, &h->id);
    if (held) { /* sent again: whoever sent it last is answered */
        answer(l, &held->op, ERR_AGAIN);
        held->op.tag = tag;
        return OK;
    }
    char tags[TAGS_TEXT_MAX];
    estimate(l, h, m, wall_ms, key, tags, &op.usage);
    bound(&op.usage);
    history_take(m->history, &op);
    enum err e = l->submit(l->ctx, &op);
    if (!e)
        let_go(l, h, m, key, now_ns);
    return e;
}

void ledger_on_abandoned(struct ledger *l, const struct header *h, uint64_t now_ns)
{
    struct reservation *reservation = reservation_find(l->reservations, &h->id);
    if (reservation)
        reservation_finish(l->reservations, reservation, now_ns);
}

static void count_row(const struct ledger *l, bool estimated)
{
    metric_add(l->metrics, METRIC_LEDGER_ROWS,
               METRIC_LABELS(estimated ? SPAN("true") : SPAN("false")), 1);
}

static void let_held_go(struct ledger *l, struct held_release *held)
{
    answer(l, &held->op, OK);
    held_drop(&l->held, held);
}

/* What a stored response has used is known: its key gets back, or pays, the difference. */
static void on_corrected(struct ledger *l, const struct store_op *op, uint64_t now_ns)
{
    const struct key *key = keys_find_id(l->keys, op->usage.key_id);
    if (op->outcome != STORE_NEW || !key || !key->tokens)
        return;
    struct limit_set only = {{key->tokens}, 1};
    uint64_t now = op->usage.input_tokens + op->usage.output_tokens, before = op->tokens_before;
    limit_set_charge(l->reservations->limits, &only, now_ns, 0, now > before ? now - before : 0);
    limit_set_refund(l->reservations->limits, &only, 0, before > now ? before - now : 0);
}

/* The report is durable: what waited for it is done. */
static void on_reported(struct ledger *l, const struct store_op *op, uint64_t now_ns)
{
    struct held_release *held = held_find(&l->held, &op->usage.id);
    if (held && held->op.usage.attempt <= op->usage.attempt)
        let_held_go(l, held);
    if (op->outcome != STORE_NEW)
        return;
    count_row(l, op->usage.estimated);
    if (l->outputs && !op->usage.estimated && api_info(op->usage.api)->generates)
        outputs_learn(l->outputs, op->usage.model, op->usage.output_tokens);
    struct reservation *reservation = reservation_find(l->reservations, &op->usage.id);
    struct key *key = reservation ? reservation->key : keys_find_id(l->keys, op->usage.key_id);
    if (!reservation && key && key->tokens)
        reservation = reservation_add(l->reservations, &op->usage.id, key, now_ns + REPORT_WAIT_NS);
    if (!reservation)
        return;
    reservation_report(reservation, op->worker, op->usage.input_tokens + op->usage.output_tokens);
    if (!reservation->released)
        return;
    reservation_finish(l->reservations, reservation, now_ns);
    if (l->charged && key)
        l->charged(l->ctx, key);
}

/* Durable, booked or reported: nothing waits any more. */
static void on_released(struct ledger *l, const struct store_op *op, uint64_t now_ns)
{
    if (op->outcome == STORE_NEW)
        count_row(l, true);
    struct reservation *reservation = reservation_find(l->reservations, &op->usage.id);
    if (!reservation || !reservation->released)
        return;
    if (op->outcome == STORE_NEW) {
        reservation->actual_tokens = op->usage.input_tokens + op->usage.output_tokens;
        reservation_finish(l->reservations, reservation, now_ns);
    } else { /* reported before this life of auth, or by a later attempt: corrected then */
        reservation_drop(l->reservations, reservation);
    }
}

static void hold(struct ledger *l, const struct store_op *op, uint64_t now_ns)
{
    struct held_release *held = held_find(&l->held, &op->usage.id);
    if (held || !held_add(&l->held, op, now_ns + grace_ns(l))) {
        answer(l, op, held ? ERR_EXISTS : ERR_NOMEM); /* it comes again */
        return;
    }
    struct reservation *reservation = reservation_find(l->reservations, &op->usage.id);
    if (reservation)
        reservation->held = true;
}

static void on_release_result(struct ledger *l, const struct store_op *op, enum err result,
                              uint64_t now_ns)
{
    struct held_release *held = held_find(&l->held, &op->usage.id);
    bool booking = held && held->booking && !op->tag;
    if (result == OK && op->outcome == STORE_WAITING) {
        hold(l, op, now_ns);
        return;
    }
    if (result == OK)
        on_released(l, op, now_ns);
    if (booking && result)
        held_retry(&l->held, held, now_ns + BOOK_RETRY_NS);
    else if (booking)
        let_held_go(l, held);
    else
        answer(l, op, result);
}

void ledger_on_result(struct ledger *l, const struct store_op *op, enum err result, uint64_t now_ns)
{
    if (op->kind == STORE_SLOT_PUT && result)
        reservation_not_stored(l->reservations, &op->slot.id);
    if (op->kind == STORE_RELEASE)
        on_release_result(l, op, result, now_ns);
    if (op->kind != STORE_SETTLE)
        return;
    if (result == OK && op->of_response)
        on_corrected(l, op, now_ns);
    else if (result == OK)
        on_reported(l, op, now_ns);
    answer(l, op, result);
}

enum err ledger_on_slot(struct ledger *l, const struct store_slot *slot, uint64_t now_ns,
                        uint64_t wall_ms)
{
    struct key *key = keys_find_id(l->keys, slot->key_id);
    if (!key || !key->is.concurrent || slot->due_wall_ms <= wall_ms)
        return OK; /* nothing it could hold any more; the row goes when its request ends, or with
                      the key */
    uint64_t left_ms = slot->due_wall_ms - wall_ms;
    struct reservation *reservation =
        reservation_add(l->reservations, &slot->id, key,
                        now_ns + (left_ms < LONGEST_SLOT_MS ? left_ms : LONGEST_SLOT_MS) * MS_NS);
    if (!reservation)
        return ERR_NOMEM;
    reservation->owner = slot->owner;
    reservation->charged_tokens = slot->charged_tokens;
    reservation_take_slot(l->reservations, reservation, now_ns, true);
    reservations_owner_gone(l->reservations, slot->owner, now_ns); /* until it comes back */
    return OK;
}

static void store_slots(struct ledger *l, uint64_t now_ns, uint64_t wall_ms)
{
    struct reservation *reservation;
    for (int i = 0;
         i < SLOTS_PER_TICK && (reservation = reservation_next_to_store(l->reservations, now_ns));
         i++) {
        struct store_op op = {.kind = STORE_SLOT_PUT};
        uint64_t left_ns = reservation->due_ns > now_ns ? reservation->due_ns - now_ns : 0;
        op.slot =
            (struct store_slot){.id = reservation->id,
                                .key_id = reservation->key ? reservation->key->is.id : SPAN_NONE,
                                .owner = reservation->owner,
                                .due_wall_ms = wall_ms + left_ns / MS_NS,
                                .charged_tokens = reservation->charged_tokens};
        if (l->submit(l->ctx, &op)) {
            reservation_not_stored(l->reservations, &reservation->id);
            return;
        }
    }
}

/* As a request that no SETTLE comes for: the store makes a row, unless there is one. */
static enum err book(struct ledger *l, struct held_release *held)
{
    struct store_op op = held->op;
    op.settles = false;
    op.tag = NULL; /* `held` keeps it */
    enum err e = l->submit(l->ctx, &op);
    if (!e)
        held_book(&l->held, held);
    return e;
}

void ledger_tick(struct ledger *l, uint64_t now_ns, uint64_t wall_ms)
{
    struct held_release *held;
    store_slots(l, now_ns, wall_ms);
    for (size_t over = l->held.table.count > HELD_MAX ? l->held.table.count - HELD_MAX : 0;
         (held = l->held.first) && (over || now_ns >= held->due_ns); over -= over > 0) {
        if (book(l, held))
            return;
    }
}

void ledger_book_all(struct ledger *l)
{
    while (l->held.first && book(l, l->held.first) == OK)
        ;
}

static void unanswered(void *ctx, struct table_node *node)
{
    struct ledger *l = ctx;
    struct held_release *held = TABLE_OWNER(node, struct held_release, node);
    answer(l, &held->op, ERR_CLOSED);
    held_drop(&l->held, held);
}

void ledger_free(struct ledger *l)
{
    size_t cursor = 0;
    table_sweep(&l->held.table, &cursor, l->held.table.size, unanswered, l);
    held_free(&l->held);
}
