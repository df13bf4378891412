#include <stdlib.h>
#include <uthash.h>

#include "services/simulator/sim.h"

enum { MAX_ENTRIES = 200000, KEEP_BODY = 1 << 20, TABLES = 4 };

struct stats_counts {
    uint64_t requests, completed, input, output, cached;
};

struct stats_entry {
    UT_hash_handle hh;
    struct stats_counts counts;
    size_t key_len;
    char key[];
};

struct kept {
    uint64_t number;
    struct buf text; /* a JSON object */
};

struct stats {
    struct stats_entry *tables[TABLES]; /* by route, model, request id, user */
    struct stats_counts total;
    uint64_t departed, faults;
    uint32_t generation;
    struct kept *kept;
    uint32_t keep;
    uint64_t received;
};

static const char *const table_names[TABLES] = {"by_route", "by_model", "by_request_id", "by_user"};

enum err stats_create(struct stats **out, uint32_t keep)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->keep = keep;
    (*out)->kept = keep ? calloc(keep, sizeof(struct kept)) : NULL;
    if (keep && !(*out)->kept) {
        free(*out);
        *out = NULL;
        return ERR_NOMEM;
    }
    return OK;
}

void stats_reset(struct stats *s)
{
    struct stats_entry *e, *next;
    for (int i = 0; i < TABLES; i++) {
        HASH_ITER(hh, s->tables[i], e, next)
        {
            HASH_DEL(s->tables[i], e);
            free(e);
        }
    }
    for (uint32_t i = 0; i < s->keep; i++) {
        buf_free(&s->kept[i].text);
        s->kept[i].number = 0;
    }
    s->total = (struct stats_counts){0};
    s->departed = s->faults = s->received = 0;
    s->generation++;
}

void stats_destroy(struct stats **stats)
{
    if (!*stats)
        return;
    stats_reset(*stats);
    free((*stats)->kept);
    free(*stats);
    *stats = NULL;
}

/* NULL when the table is full: what is new then counts in the total only. */
static struct stats_entry *entry_of(struct stats_entry **table, struct span key)
{
    struct stats_entry *e = NULL;
    if (!key.len)
        return NULL;
    HASH_FIND(hh, *table, key.data, key.len, e);
    if (e || HASH_COUNT(*table) >= MAX_ENTRIES)
        return e;
    e = calloc(1, sizeof *e + key.len);
    if (!e)
        return NULL;
    memcpy(e->key, key.data, key.len);
    e->key_len = key.len;
    HASH_ADD_KEYPTR(hh, *table, e->key, e->key_len, e);
    return e;
}

/* ---- received requests ---- */

struct header_walk {
    struct json_writer *w;
};

static bool is_secret(struct span name)
{
    return span_is_nocase(name, "authorization") || span_is_nocase(name, "x-api-key") ||
           span_is_nocase(name, "cookie");
}

static void write_header(void *ctx, struct span name, struct span value)
{
    struct header_walk *walk = ctx;
    struct buf lower = {0};
    for (size_t i = 0; i < name.len; i++)
        buf_append_char(
            &lower,
            (char)(name.data[i] >= 'A' && name.data[i] <= 'Z' ? name.data[i] + 32 : name.data[i]));
    buf_append_char(&lower, '\0');
    jw_key(walk->w, lower.data ? lower.data : "");
    jw_string(walk->w, is_secret(name) ? SPAN("***") : value);
    buf_free(&lower);
}

static void keep_request(struct stats *s, const struct ask *ask)
{
    if (!s->keep)
        return;
    struct kept *k = &s->kept[s->received % s->keep];
    buf_clear(&k->text);
    k->number = s->received + 1;
    struct json_writer w = {.out = &k->text};
    struct header_walk walk = {&w};
    jw_object(&w);
    jw_key(&w, "number");
    jw_u64(&w, k->number);
    jw_key(&w, "method");
    jw_string(&w, http_method(ask->x));
    jw_key(&w, "path");
    jw_string(&w, http_path(ask->x));
    jw_key(&w, "query");
    jw_string(&w, http_query(ask->x));
    jw_key(&w, "headers");
    jw_object(&w);
    http_each_header(ask->x, write_header, &walk);
    jw_object_end(&w);
    jw_key(&w, "body");
    jw_string(&w, span_first(http_body(ask->x), KEEP_BODY));
    jw_object_end(&w);
}

/* ---- counting ---- */

struct usage_note stats_note(struct stats *s, const struct ask *ask)
{
    const struct reply *r = ask->reply;
    const struct span keys[TABLES] = {span_str(ask->route), ask->model,
                                      http_header(ask->x, "x-request-id"), ask->marker};
    struct usage_note note = {.generation = s->generation,
                              .input = r->input,
                              .output = r->output,
                              .cached = r->cached,
                              .reports =
                                  r->reports_usage && r->status == 200 ? true : r->reports_usage};
    keep_request(s, ask);
    s->received++;
    s->total.requests++;
    for (int i = 0; i < TABLES; i++) {
        struct stats_entry *e = entry_of(&s->tables[i], keys[i]);
        note.entries[i] = e;
        if (e)
            e->counts.requests++;
    }
    return note;
}

static void add(struct stats_counts *e, const struct usage_note *note)
{
    e->completed++;
    if (!note->reports)
        return;
    e->input += note->input;
    e->output += note->output;
    e->cached += note->cached;
}

void stats_book(struct stats *s, const struct usage_note *note)
{
    if (note->generation != s->generation)
        return;
    add(&s->total, note);
    for (int i = 0; i < TABLES; i++) {
        if (note->entries[i])
            add(&((struct stats_entry *)note->entries[i])->counts, note);
    }
}

void stats_fault(struct stats *s)
{
    s->faults++;
}

void stats_departed(struct stats *s)
{
    s->departed++;
}

/* ---- showing ---- */

static void write_counts(struct json_writer *w, const struct stats_counts *e)
{
    jw_key(w, "requests");
    jw_u64(w, e->requests);
    jw_key(w, "completed");
    jw_u64(w, e->completed);
    jw_key(w, "input_tokens");
    jw_u64(w, e->input);
    jw_key(w, "output_tokens");
    jw_u64(w, e->output);
    jw_key(w, "cached_tokens");
    jw_u64(w, e->cached);
}

static void write_table(struct json_writer *w, const char *name, struct stats_entry *table)
{
    struct stats_entry *e, *next;
    jw_key(w, name);
    jw_object(w);
    HASH_ITER(hh, table, e, next)
    {
        struct buf key = {0};
        json_append_text(&key, span_of(e->key, e->key_len));
        jw_key_text(w, buf_span(&key));
        buf_free(&key);
        jw_object(w);
        write_counts(w, &e->counts);
        jw_object_end(w);
    }
    jw_object_end(w);
}

void stats_write(const struct stats *s, struct buf *out)
{
    struct json_writer w = {.out = out};
    jw_object(&w);
    jw_key(&w, "simulated");
    jw_bool(&w, true);
    write_counts(&w, &s->total);
    jw_key(&w, "departed");
    jw_u64(&w, s->departed);
    jw_key(&w, "faults");
    jw_u64(&w, s->faults);
    for (int i = 0; i < TABLES; i++)
        write_table(&w, table_names[i], s->tables[i]);
    jw_object_end(&w);
}

void stats_write_requests(const struct stats *s, struct buf *out)
{
    struct json_writer w = {.out = out};
    jw_array(&w);
    for (uint32_t i = 0; i < s->keep; i++) { /* oldest first */
        const struct kept *k = &s->kept[(s->received + i) % s->keep];
        if (k->number)
            jw_raw(&w, buf_span(&k->text));
    }
    jw_array_end(&w);
}
