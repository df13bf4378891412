/* The configuration file as a tree with line numbers; complaints carry file, line, place and
 * suggestion. The only user of libyaml. Everything lives in the arena. */
#ifndef COMMON_RUNTIME_CONFIG_YAML_H
#define COMMON_RUNTIME_CONFIG_YAML_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/runtime/config/config.h"

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml {
    enum yaml_kind kind;
    unsigned line;    /* from 1 */
    const char *text; /* YAML_TEXT */
    bool quoted;      /* written in quotes: a string whatever it looks like */
    const char *key;  /* when it is a member of a map */
    unsigned key_line;
    struct yaml *first; /* children, in order */
    struct yaml *next;
};

struct yaml_reader {
    const char *path; /* for messages */
    struct arena *arena;
    struct buf *errors;
    unsigned error_count;
};

/* NULL, with a complaint, when the file can't be read, is no YAML, is nested over 16 levels, or
 * doubles a key. An empty file is an empty map. */
struct yaml *yaml_read_file(struct yaml_reader *r, const char *path);
/* "file:12: where: what"; `line` 0 leaves the number out. */
void yaml_complain(struct yaml_reader *r, unsigned line, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
struct yaml *yaml_member(const struct yaml *map, const char *key);
/* Complains about every member whose key is not in the NULL-ended list, with the nearest one as a
 * suggestion. */
void yaml_check_keys(struct yaml_reader *r, const struct yaml *map, const char *where,
                     const char *const *keys);
/* The node as JSON text in the arena: unquoted numbers, booleans and null stay what they are. */
const char *yaml_to_json(struct yaml_reader *r, const struct yaml *node);

#endif
