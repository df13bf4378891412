/* The tables options.def and entries.def, as data: what keys a file may hold, of which type, within
 * which bounds. */
#ifndef COMMON_RUNTIME_CONFIG_OPTION_H
#define COMMON_RUNTIME_CONFIG_OPTION_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/runtime/config/config.h"

enum option_type {
    OPTION_BOOL,
    OPTION_U32,
    OPTION_U64,
    OPTION_SIZE,
    OPTION_MS,
    OPTION_STR,
    OPTION_LIST,
    OPTION_RATE,
    OPTION_PRICE,
    OPTION_NUMBER,
    OPTION_MAP,
    OPTION_MAPS,
    OPTION_JSON,
    OPTION_TYPES
};

enum option_when { OPTION_START, OPTION_RELOAD };

/* A form that a text must have. */
struct option_check {
    const char *expects; /* "an address such as …" */
    bool (*fits)(const char *text);
};

struct option_limits {
    const char *least, *most; /* as in the file; of a LIST or MAP: how many; NULL = no bound */
    bool off;                 /* 0 is allowed too, and switches something off */
    const char *const *words; /* NULL-ended; NULL = any */
    const struct option_check *check;
    bool variables; /* ${NAME} in it is taken from the worker's environment */
};

struct option_row {
    const char *group, *name;
    enum option_type type;
    size_t offset;   /* in the group's struct; OPTION_UNSTORED */
    const char *def; /* NULL = none; "=…" is for people to read */
    struct option_limits limits;
    enum option_when when;
    const char *help;
};

#define OPTION_UNSTORED SIZE_MAX

struct option_group {
    const char *name;
    const char *path; /* "edge", "models.NAME.price"; "" at the top */
    bool is_section;  /* of options.def: read into struct config_options */
    const char *help;
};

/* All groups in the order of the tables; ends with a NULL name. */
extern const struct option_group option_groups[];
/* All rows, those of a group next to each other; ends with a NULL name. */
extern const struct option_row option_rows[];
enum { OPTION_GROUP_MAX = 64 }; /* rows of one group at most */

/* The first row of a group; go on while the group is the same. NULL: no such group. */
const struct option_row *option_first(const char *group);
/* The row behind this one, in the same group; NULL at its end. */
const struct option_row *option_next(const struct option_row *row);
/* Whether it names a section of options.def. */
bool option_is_section(const char *name);
/* The keys of a group (of "root": the sections' names too), NULL-ended, into out, which has room
 * for OPTION_GROUP_MAX + 1. */
void option_names(const char *group, const char **out);

/* Whether the text is of a scalar row's type; into `at` when that is not NULL. */
bool option_parse(const struct option_row *row, const char *text, void *at);
/* What is wrong with a text of the right type, appended to why; nothing when it is fine. */
void option_check_limits(const struct option_row *row, const char *text, struct buf *why);
/* Whether so many items or members are too few or too many: as above. */
void option_check_count(const struct option_row *row, size_t count, struct buf *why);
/* Type and limits of a PASSED row's value, as above. */
void option_check_json(const struct option_row *row, const char *json, struct arena *arena,
                       struct buf *why);
/* "a whole number": what a value of the type looks like. */
const char *option_type_text(enum option_type type);
/* "1 to 65535, or 0", "error, warn, info, debug": appends nothing when all is allowed. */
void option_put_limits(const struct option_row *row, struct buf *out);

/* The forms that CHECKED and EACH name. */
extern const struct option_check option_check_given, option_check_bus_address,
    option_check_bus_address_or_none, option_check_told_address_or_none, option_check_address_range,
    option_check_socket_path, option_check_processors, option_check_forwarded_header;

#endif
