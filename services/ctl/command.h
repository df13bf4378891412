/* One subcommand of `tollgate`: a row of the dispatch table in main.c, one file each. */
#ifndef SERVICES_CTL_COMMAND_H
#define SERVICES_CTL_COMMAND_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum exit_code { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CONFIG = 78 /* EX_CONFIG */ };

/* An option: a flag when `value` is NULL, else one that takes a value. A NULL name ends a list. */
struct arg {
    const char *name;
    const char *metavar; /* "FILE"; NULL for a flag */
    const char *help;
    const char **value;
    bool *given;
};

enum { ARGS_MAX = 24, POSITIONALS_MAX = 8 };

struct command {
    const char *name;    /* "keys create" */
    const char *summary; /* one line, for the list */
    const char *usage;   /* what follows the name: "[OPTION]... NAME" */
    const char *more;    /* paragraphs below the options; may be NULL */
    /* argv[0] is the command's own word. */
    int (*run)(const struct command *self, int argc, char **argv);
};

struct positionals {
    const char *items[POSITIONALS_MAX];
    size_t count;
};

/* Fills the options; --help prints the command's help. Returns −1 to go on, else the exit code. */
int args_parse(const struct command *c, const struct arg *args, int argc, char **argv,
               struct positionals *rest);
/* "tollgate NAME: message" and a hint, on stderr; EXIT_USAGE. */
int usage_error(const struct command *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "tollgate: message" on stderr; EXIT_FAILED. */
int failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Finds argv[1] in a table that a NULL name ends, and runs it. `name` is what the table belongs to
 * ("tollgate keys"). */
int dispatch(const char *name, const struct command *table, const char *more, int argc,
             char **argv);

extern const struct command command_up, command_keys, command_usage, command_status, command_check,
    command_models, command_health, command_restart, command_certs, command_request, command_import;

#endif
