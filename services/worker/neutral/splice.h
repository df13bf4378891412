/* Edits of a JSON text by byte range: what is not named stays byte for byte, white space, order and
 * number text included (docs/wire.md, Pass-through). Collect edits, then write. */
#ifndef SERVICES_WORKER_NEUTRAL_SPLICE_H
#define SERVICES_WORKER_NEUTRAL_SPLICE_H

#include "common/base/buf.h"
#include "common/base/json.h"

enum { SPLICE_MAX_EDITS = 64 };

struct splice_edit {
    size_t at;
    size_t removed_bytes;
    struct span put;      /* borrowed until splice_write */
    const char *put_name; /* a member to add: its name goes before `put` */
    bool comma;           /* … behind a comma */
    uint32_t owner;       /* tape index of the object whose members change */
    int members;          /* by how many */
};

struct splice {
    struct span text;
    struct splice_edit edits[SPLICE_MAX_EDITS];
    size_t count;
    bool failed; /* more edits than fit */
};

/* `text` is what the edited values were parsed from; borrowed. */
void splice_init(struct splice *s, struct span text);
/* Puts other bytes in a value's place. */
void splice_replace(struct splice *s, struct json value, struct span put);
/* Puts another name (no escape needed) on every member called `name`. */
void splice_rename(struct splice *s, struct json object, const char *name, const char *new_name);
/* Takes out every member with one of these names, with its comma; once per object, before members
 * are added. */
void splice_remove(struct splice *s, struct json object, const char *const *names,
                   size_t name_count);
/* A new last member. */
void splice_add(struct splice *s, struct json object, const char *name, struct span json);
/* No edit: the text may be used as it is. */
bool splice_is_empty(const struct splice *s);
/* Appends the edited text. ERR_TOO_BIG when there were too many edits. */
enum err splice_write(struct splice *s, struct buf *out) NODISCARD;

#endif
