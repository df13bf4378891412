#include "services/metrics/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/json.h"

enum { STATE_VERSION = 2, STATE_DEPTH = 8 };

/* ---- writing ---- */

static void write_buckets(struct json_writer *w, const uint64_t *buckets)
{
    for (unsigned i = 0; buckets && i < METRIC_BUCKETS; i++)
        jw_u64(w, buckets[i]);
}

static void write_series(struct json_writer *w, const struct series *s)
{
    jw_object(w);
    jw_key(w, "name");
    jw_str(w, metric_info(s->id)->name);
    jw_key(w, "labels");
    jw_array(w);
    for (unsigned i = 0; i < s->label_count; i++)
        jw_string(w, s->labels[i]);
    jw_array_end(w);
    jw_key(w, "value");
    jw_i64(w, s->value);
    if (s->buckets) {
        jw_key(w, "buckets");
        jw_array(w);
        write_buckets(w, s->buckets);
        jw_array_end(w);
    }
    jw_object_end(w);
}

static void write_sender(struct json_writer *w, const struct sender *who)
{
    char epoch[24];
    /* A string: readers may take numbers for doubles. */
    (void)snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)who->epoch);
    jw_object(w);
    jw_key(w, "epoch");
    jw_str(w, epoch);
    jw_key(w, "here");
    jw_bool(w, who->here || who->awaited);
    jw_key(w, "totals");
    jw_array(w);
    for (uint32_t i = 0; i < who->count; i++) {
        const struct sender_total *t = &who->totals[i];
        jw_array(w);
        if (t->value || t->buckets)
            jw_i64(w, t->value);
        write_buckets(w, t->buckets);
        jw_array_end(w);
    }
    jw_array_end(w);
    jw_object_end(w);
}

void state_write(const struct series_store *store, const struct senders *senders, struct buf *out)
{
    struct json_writer w = {.out = out};
    jw_object(&w);
    jw_key(&w, "version");
    jw_u64(&w, STATE_VERSION);
    jw_key(&w, "series");
    jw_array(&w);
    for (unsigned id = 0; id < METRIC_ID_COUNT; id++) {
        if (metric_info(id)->kind == METRIC_GAUGE)
            continue;
        for (const struct series *s = store_first(store, (enum metric_id)id); s; s = s->next)
            write_series(&w, s);
    }
    jw_array_end(&w);
    jw_key(&w, "senders");
    jw_array(&w);
    for (const struct sender *who = senders_first(senders); who; who = who->next)
        write_sender(&w, who);
    jw_array_end(&w);
    jw_object_end(&w);
    buf_append_char(out, '\n');
}

/* ---- reading ---- */

static bool read_count(struct json v, uint64_t *out)
{
    int64_t value;
    if (!json_i64(v, &value) || value < 0)
        return false;
    *out = (uint64_t)value;
    return true;
}

/* METRIC_BUCKETS counts, what is left of `i`. */
static bool read_buckets(struct json_iter *i, uint64_t *out)
{
    for (unsigned n = 0; n < METRIC_BUCKETS; n++) {
        if (!json_next(i) || !read_count(i->value, &out[n]))
            return false;
    }
    return !json_next(i);
}

static unsigned id_of(struct json name)
{
    unsigned id = 0;
    while (id < METRIC_ID_COUNT && !json_is(name, metric_info(id)->name))
        id++;
    return id;
}

/* Metrics that this version does not know are left out. */
static enum err read_series(struct series_store *store, struct json v, struct buf *labels)
{
    struct source nobody = {SPAN_NONE, SPAN_NONE};
    uint64_t buckets[METRIC_BUCKETS], value;
    unsigned id = id_of(json_get(v, "name"));
    struct json counts = json_get(v, "buckets");
    struct json_iter i = json_iter(counts), label = json_iter(json_get(v, "labels"));
    if (id == METRIC_ID_COUNT)
        return OK;
    if (metric_info(id)->kind == METRIC_GAUGE || !read_count(json_get(v, "value"), &value) ||
        (!json_absent(counts) && !read_buckets(&i, buckets)))
        return ERR_INVALID;
    buf_clear(labels);
    for (bool first = true; json_next(&label); first = false) {
        if (!first)
            buf_append_char(labels, '\x1f');
        json_text_decode(json_text(label.value), labels);
    }
    return store_apply(store, &nobody, id, buf_span(labels), (int64_t)value,
                       json_absent(counts) ? NULL : buckets);
}

static enum err read_total(struct senders *senders, struct sender *who, uint32_t number,
                           struct json v)
{
    struct sender_total *total;
    struct json_iter i = json_iter(v);
    uint64_t value;
    bool histogram = json_count(v) > 1;
    if (!json_next(&i))
        return OK;
    if (!read_count(i.value, &value))
        return ERR_INVALID;
    enum err e = senders_total(senders, who, number, histogram, &total);
    if (e)
        return e;
    total->value = (int64_t)value;
    return !histogram || read_buckets(&i, total->buckets) ? OK : ERR_INVALID;
}

static enum err read_sender(struct senders *senders, struct json v, uint64_t now_ms)
{
    uint64_t epoch;
    bool here;
    uint32_t number = 0;
    enum err e = OK;
    if (!span_to_u64(json_text(json_get(v, "epoch")), &epoch) ||
        !json_bool(json_get(v, "here"), &here))
        return ERR_INVALID;
    struct sender *who = senders_hear(senders, epoch, now_ms);
    if (!who)
        return ERR_NOMEM;
    struct json_iter i = json_iter(json_get(v, "totals"));
    while (!e && json_next(&i))
        e = read_total(senders, who, ++number, i.value);
    if (here)
        senders_await(senders, who);
    else
        senders_away(senders, epoch);
    return e;
}

static enum err read_root(struct series_store *store, struct senders *senders, struct json root,
                          uint64_t now_ms)
{
    struct json_iter series = json_iter(json_get(root, "series"));
    struct json_iter who = json_iter(json_get(root, "senders"));
    struct buf labels = {0};
    int64_t version;
    enum err e = OK;
    if (!json_i64(json_get(root, "version"), &version) || version != STATE_VERSION)
        return ERR_VERSION;
    while (!e && json_next(&series))
        e = read_series(store, series.value, &labels);
    while (!e && json_next(&who))
        e = read_sender(senders, who.value, now_ms);
    if (!e)
        e = buf_check(&labels);
    buf_free(&labels);
    return e;
}

enum err state_read(struct series_store *store, struct senders *senders, struct span text,
                    uint64_t now_ms)
{
    struct json_doc doc = {0};
    enum err e = json_parse(&doc, text, STATE_DEPTH);
    if (!e)
        e = read_root(store, senders, json_root(&doc), now_ms);
    json_doc_free(&doc);
    return e;
}

/* ---- the file ---- */

static bool write_all(int fd, struct span text)
{
    while (text.len) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno != EINTR)
            return false;
        text = span_skip(text, n > 0 ? (size_t)n : 0);
    }
    return true;
}

enum err state_save(const char *path, struct span text)
{
    char fresh[PATH_MAX];
    if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    /* Not synced: a disk that hangs would hang us, and what a power cut takes is counters only. */
    bool whole = write_all(fd, text);
    int why = errno;
    (void)close(fd);
    if (whole && rename(fresh, path) == 0)
        return OK;
    why = whole ? errno : why;
    (void)unlink(fresh);
    errno = why;
    return ERR_IO;
}

enum err state_load(const char *path, struct buf *out)
{
    enum { STEP = 65536 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    ssize_t n = 1;
    while (n > 0) {
        char *room = buf_reserve(out, STEP);
        n = room ? read(fd, room, STEP) : 0;
        out->len += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    return n < 0 ? ERR_IO : buf_check(out);
}
