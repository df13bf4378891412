/* The configuration file as a tree with line numbers; complaints carry file, line, place and
 * suggestion. The only user of libyaml. Everything lives in the arena. */
#ifndef COMMON_RUNTIME_CONFIG_YAML_H
#define COMMON_RUNTIME_CONFIG_YAML_H

#include "common/base/arena.h"
#include "common/base/buf.h"

enum {
    YAML_MAX_BYTES = 4 << 20,
    YAML_MAX_DEPTH = 16,
    YAML_MAX_NODES = 100000,   /* values in the file, those behind an alias counted each time */
    YAML_MAX_KEYS = 10000,     /* of one map */
    YAML_MAX_ANCHORS = 256,    /* names that aliases refer to */
    YAML_MAX_COMPLAINTS = 100, /* further ones are counted, not written */
};

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml {
    enum yaml_kind kind;
    unsigned line;    /* from 1 */
    const char *text; /* YAML_TEXT */
    bool quoted;      /* written in quotes: a string whatever it looks like */
    const char *key;  /* when it is a member of a map */
    unsigned key_line;
    struct yaml *first; /* children, in order; an alias shares those of its anchor */
    struct yaml *next;
    unsigned nodes; /* this one and all below */
    unsigned depth; /* levels below this one */
};

struct yaml_reader {
    const char *path; /* for messages */
    struct arena *arena;
    struct buf *errors;
    struct buf *warnings;
    unsigned error_count, warning_count;
};

/* NULL, with a complaint, when the text is no YAML, is larger than the bounds above, or doubles a
 * key. An empty text is an empty map. */
struct yaml *yaml_read(struct yaml_reader *r, struct span text);
/* "file:12: where: what"; `line` 0 leaves the number out. */
void yaml_complain(struct yaml_reader *r, unsigned line, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for what may be meant as it stands. */
void yaml_warn(struct yaml_reader *r, unsigned line, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
struct yaml *yaml_member(const struct yaml *map, const char *key);
/* The node as JSON text in the arena: unquoted numbers, booleans and null stay what they are.
 * NULL, with a complaint, when it does not fit. */
const char *yaml_to_json(struct yaml_reader *r, const struct yaml *node);

#endif
