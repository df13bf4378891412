#include "common/runtime/spool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/runtime/own_dir.h"
#include "proto/codec.h"
#include "proto/message_copy.h"

enum { RECORDS_PER_TICK = 512 };

/* A file's name: what is no letter or digit of a provider's name is a hyphen there. */
static void name_owner(struct spool *s)
{
    const char *provider = s->spec.provider;
    (void)snprintf(s->owner, sizeof s->owner, "%s%s%s", s->spec.role, provider ? "-" : "",
                   provider ? provider : "");
    for (char *at = s->owner; *at; at++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", *at))
            *at = '-';
    }
}

void spool_init(struct spool *s, const struct spool_spec *spec)
{
    *s = (struct spool){.spec = *spec};
    (void)snprintf(s->dir, sizeof s->dir, "%s/spool", spec->state_dir);
    name_owner(s);
}

void spool_look_again(struct spool *s)
{
    s->looked = false;
}

/* ---- what was kept ---- */

static enum err restore(struct spool *s, struct span record)
{
    struct header h;
    union message_body body = {0};
    enum err e = header_read(record, &h);
    if (!e && h.type != s->spec.type)
        e = ERR_INVALID;
    if (!e)
        e = codec_decode(h.type, span_of(record.data + HEADER_BYTES, record.len - HEADER_BYTES),
                         &body);
    if (!e && s->spec.on_return && !s->spec.on_return(s->spec.ctx, &body))
        e = ERR_DENIED;
    if (e) {
        log_error("spool_record_lost", LSTR("owner", s->owner), LSTR("why", err_name(e)));
        return OK;
    }
    struct outbox_key key = {.attempt = h.attempt};
    memcpy(key.id, h.id.bytes, sizeof key.id);
    return outbox_restore(s->spec.outbox, &key, message_item(h.type, &body));
}

static void read_some(struct spool *s)
{
    struct span record;
    for (unsigned i = 0; i < RECORDS_PER_TICK && !s->read; i++) {
        enum err e = spool_reader_next(s->reader, &record);
        if (e == ERR_INVALID)
            log_error("spool_broken", LSTR("owner", s->owner),
                      LSTR("effect", "what lies behind is lost; the file is kept beside"));
        s->read = e != OK;
        if (!e && restore(s, record) != OK) { /* no memory: the file stays for another time */
            spool_reader_close(&s->reader);
            s->looked = true;
            return;
        }
        if (outbox_pending(s->spec.outbox) > s->spec.most_pending)
            return;
    }
}

static void open_next(struct spool *s)
{
    s->read = false;
    s->looked = spool_reader_open(&s->reader, s->dir, s->owner) != OK;
    if (s->reader)
        log_info("spool_read", LSTR("dir", s->dir), LSTR("owner", s->owner));
}

void spool_tick(struct spool *s)
{
    const char *why;
    if (s->looked)
        return;
    if (!s->reader) {
        s->looked = own_dir_check(s->dir, OWN_DIR_STATE, &why) != OK;
        if (!s->looked)
            open_next(s);
    }
    if (s->reader && !s->read && outbox_pending(s->spec.outbox) <= s->spec.most_pending)
        read_some(s);
    if (s->reader && s->read && outbox_restored(s->spec.outbox) == 0)
        spool_reader_remove(&s->reader);
}

/* ---- what is to be kept ---- */

struct keeping {
    struct spool *spool;
    struct spool_writer *writer;
    struct buf frame;
    size_t kept, all;
    enum err failed;
    int why;
};

static enum err keep(struct keeping *k, const struct outbox_key *key, const void *payload)
{
    const struct spool_spec *spec = &k->spool->spec;
    union message_body body;
    struct header h = {.type = (uint8_t)spec->type, .attempt = key->attempt};
    memcpy(h.id.bytes, key->id, sizeof key->id);
    memcpy(&body, payload, message_info(spec->type)->size);
    if (spec->on_keep)
        spec->on_keep(spec->ctx, &body);
    size_t n = codec_size(spec->type, &body);
    buf_clear(&k->frame);
    char *at = buf_reserve(&k->frame, n);
    if (!at)
        return ERR_NOMEM;
    codec_encode(&h, &body, at);
    return spool_writer_add(k->writer, span_of(at, n));
}

static bool keep_one(void *ctx, const struct outbox_key *key, const void *payload)
{
    struct keeping *k = ctx;
    k->all++;
    enum err e = k->failed ? k->failed : keep(k, key, payload);
    k->kept += e == OK;
    if (e && e != ERR_TOO_BIG && !k->failed) {
        k->failed = e;
        k->why = errno;
    }
    return true;
}

static const char *reason(const struct keeping *k)
{
    return k->failed == ERR_IO ? strerror(k->why) : err_name(k->failed);
}

static void write_file(struct keeping *k)
{
    const struct spool *s = k->spool;
    const char *why;
    if (own_dir(s->spec.state_dir, OWN_DIR_STATE, &why) || own_dir(s->dir, OWN_DIR_STATE, &why)) {
        log_error("spool_refused", LSTR("dir", s->dir), LSTR("why", why));
        return;
    }
    k->failed = spool_writer_open(&k->writer, s->dir, s->owner, s->spec.epoch);
    k->why = errno;
    if (!k->failed) {
        outbox_each_own(s->spec.outbox, keep_one, k);
        enum err e = spool_writer_finish(&k->writer);
        if (e) {
            k->why = errno;
            k->failed = e;
            k->kept = 0;
        }
    }
    buf_free(&k->frame);
}

void spool_keep(struct spool *s)
{
    struct keeping k = {.spool = s};
    size_t owed = outbox_pending(s->spec.outbox) - outbox_restored(s->spec.outbox);
    spool_reader_close(&s->reader); /* whose messages are still there, in its file */
    s->looked = true;
    if (owed == 0)
        return;
    write_file(&k);
    if (k.kept)
        log_info("spool_kept", LSTR("dir", s->dir), LSTR("owner", s->owner), LU64("count", k.kept));
    if (k.kept < owed)
        log_error("spool_lost", LSTR("dir", s->dir), LU64("count", owed - k.kept),
                  LSTR("why", k.failed ? reason(&k) : "refused"));
}
