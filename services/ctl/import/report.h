/* What became of each setting of an imported file: three lists, with the place of each. */
#ifndef SERVICES_CTL_IMPORT_REPORT_H
#define SERVICES_CTL_IMPORT_REPORT_H

#include "common/base/arena.h"
#include "common/base/buf.h"

enum fate { FATE_CARRIED, FATE_CHANGED, FATE_LEFT, FATES };

/* Strings live as long as the report's arena. */
struct import_place {
    const char *file;
    unsigned line;
    const char *path; /* "model_list[0].litellm_params.rpm" */
};

struct fate_entry {
    enum fate fate;
    struct import_place at;
    const char *note; /* what differs, or why not */
};

struct report {
    struct arena *arena;
    struct fate_entry *entries;
    size_t count, cap;
    bool failed; /* without memory */
};

void report_free(struct report *r);
/* No value of the file may be in a note: it may be a secret. */
void report_add(struct report *r, enum fate fate, struct import_place at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
size_t report_count(const struct report *r, enum fate fate);
/* In the order of the file. */
void report_text(struct report *r, struct buf *out);
void report_json(struct report *r, struct buf *out);

#endif
