#include "services/edge/request/history.h"

#include "proto/reason.h"

enum { NAME_BYTES = 64, MODEL_BYTES = 96, WORDS_BYTES = 200 };

struct attempt_note {
    struct attempt_note *next;
    struct span provider, model, route, worker, code, param, provider_request_id;
    unsigned number, error_class, reason, upstream_status, endpoint;
    bool sent, endpoint_known;
    uint64_t waited_ms, took_ms;
};

/* ---- noting ---- */

static struct span keep(struct edge_request *r, struct span text, size_t most)
{
    return arena_copy(&r->arena, span_first(text, most));
}

/* Codes, parameters and ids as providers make them; anything else may be more than that. */
static struct span keep_word(struct edge_request *r, struct span word)
{
    for (size_t i = 0; i < word.len; i++) {
        char c = word.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !(c && strchr("-_.:/[]", c)))
            return SPAN_NONE;
    }
    return keep(r, word, NAME_BYTES);
}

/* Behind the others; in place of the last one where there are too many. */
static void append(struct edge_request *r, struct attempt_note *note)
{
    struct attempt_note **at = &r->history;
    unsigned count = 0;
    for (; *at && count < HISTORY_ATTEMPTS - 1; at = &(*at)->next)
        count++;
    *at = note;
}

void history_note(struct edge_request *r, const struct fail *failed)
{
    if (!r->grant || (!failed && !r->history))
        return;
    struct attempt_note *note = ARENA_NEW(&r->arena, struct attempt_note);
    if (!note)
        return;
    const struct grant *g = &r->grant->m;
    uint64_t now = edge_now_ms(r->edge);
    *note = (struct attempt_note){.provider = keep(r, g->provider, NAME_BYTES),
                                  .model = keep(r, g->target_model, MODEL_BYTES),
                                  .route = keep(r, g->route, MODEL_BYTES),
                                  .worker = keep(r, r->worker, NAME_BYTES),
                                  .number = r->attempt,
                                  .waited_ms = r->sent_ms - r->waits_since_ms,
                                  .took_ms = now - r->sent_ms};
    if (failed) {
        note->error_class = failed->error_class;
        note->reason = failed->reason;
        note->upstream_status = failed->upstream_status;
        note->endpoint = failed->endpoint;
        note->endpoint_known = failed->endpoint != UINT32_MAX;
        note->sent = failed->sent;
        note->code = keep_word(r, failed->code);
        note->param = keep_word(r, failed->param);
        note->provider_request_id = keep_word(r, failed->provider_request_id);
    }
    append(r, note);
}

void history_reason(struct edge_request *r, struct span message)
{
    bool of_upstream = span_equals(message, r->failure.message);
    r->said = of_upstream ? SPAN_NONE : keep(r, message, WORDS_BYTES);
}

/* ---- writing ---- */

static void put_text(struct json_writer *w, const char *name, struct span text)
{
    if (!text.len)
        return;
    jw_key(w, name);
    jw_string(w, text);
}

static void put_number(struct json_writer *w, const char *name, uint64_t number)
{
    jw_key(w, name);
    jw_u64(w, number);
}

static void put_class(struct json_writer *w, unsigned error_class)
{
    if (error_class != ERROR_NONE)
        put_text(w, "class", span_str(error_info(error_class)->name));
}

static void put_attempt(struct json_writer *w, const struct attempt_note *note)
{
    jw_object(w);
    put_number(w, "attempt", note->number);
    put_text(w, "provider", note->provider);
    put_text(w, "model", note->model);
    put_text(w, "route", note->route);
    put_text(w, "worker", note->worker);
    if (note->endpoint_known)
        put_number(w, "endpoint", note->endpoint);
    put_class(w, note->error_class);
    put_text(w, "reason", span_str(reason_word(note->reason)));
    if (note->upstream_status)
        put_number(w, "upstream_status", note->upstream_status);
    put_text(w, "code", note->code);
    put_text(w, "param", note->param);
    put_text(w, "provider_request_id", note->provider_request_id);
    if (note->endpoint_known) {
        jw_key(w, "sent");
        jw_bool(w, note->sent);
    }
    put_number(w, "waited_ms", note->waited_ms);
    put_number(w, "took_ms", note->took_ms);
    jw_object_end(w);
}

void history_write(const struct edge_request *r, const struct request_outcome *o, struct buf *out)
{
    struct json_writer w = {.out = out};
    if (o->error_class == ERROR_NONE && !r->history)
        return;
    jw_object(&w);
    put_number(&w, "status", o->status);
    put_class(&w, o->error_class);
    put_text(&w, "message", r->said);
    put_text(&w, "model", span_first(r->model, MODEL_BYTES));
    put_number(&w, "started_ms", r->started_wall_ms);
    put_number(&w, "took_ms", (loop_now_us(r->edge->d->loop) - r->started_us) / 1000);
    if (r->waited_in_vain)
        put_number(&w, "waited_ms", edge_now_ms(r->edge) - r->waits_since_ms);
    jw_key(&w, "attempts");
    jw_array(&w);
    for (const struct attempt_note *note = r->history; note; note = note->next)
        put_attempt(&w, note);
    jw_array_end(&w);
    jw_object_end(&w);
}
