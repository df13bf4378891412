#include "services/ctl/command.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>

static void print_help(const struct command *c, const struct arg *args)
{
    printf("Usage: tollgate %s %s\n%s\n\n", c->name, c->usage, c->summary);
    for (; args && args->name; args++) {
        char left[64];
        (void)snprintf(left, sizeof left, "--%s%s%s", args->name, args->metavar ? " " : "",
                       args->metavar ? args->metavar : "");
        printf("  %-26s %s\n", left, args->help);
    }
    printf("  %-26s %s\n", "--help", "this text");
    if (c->more)
        printf("\n%s\n", c->more);
}

int args_parse(const struct command *c, const struct arg *args, int argc, char **argv,
               struct positionals *rest)
{
    struct option longs[ARGS_MAX + 2] = {{"help", no_argument, NULL, 'h'}};
    int n = 0, got;
    for (; args && args[n].name && n < ARGS_MAX; n++)
        longs[n + 1] = (struct option){
            args[n].name, args[n].value ? required_argument : no_argument, NULL, n + 256};
    opterr = 1;
    optind = 0; /* start afresh: the table of commands may have looked at it */
    while ((got = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (got == 'h') {
            print_help(c, args);
            return EXIT_DONE;
        }
        if (got == '?') {
            (void)fprintf(stderr, "Try 'tollgate %s --help'.\n", c->name);
            return EXIT_USAGE;
        }
        const struct arg *arg = &args[got - 256];
        if (arg->value)
            *arg->value = optarg;
        if (arg->given)
            *arg->given = true;
    }
    *rest = (struct positionals){0};
    for (; optind < argc; optind++) {
        if (rest->count == POSITIONALS_MAX)
            return usage_error(c, "too many arguments");
        rest->items[rest->count++] = argv[optind];
    }
    return -1;
}

int usage_error(const struct command *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "tollgate %s: ", c->name);
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\nTry 'tollgate %s --help'.\n", c->name);
    va_end(args);
    return EXIT_USAGE;
}

int failure(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "tollgate: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    return EXIT_FAILED;
}

static void print_commands(FILE *to, const char *name, const struct command *table,
                           const char *more)
{
    (void)fprintf(to, "Usage: %s COMMAND [OPTION]...\n\n", name);
    for (; table->name; table++) {
        const char *word = strrchr(table->name, ' ');
        (void)fprintf(to, "  %-10s %s\n", word ? word + 1 : table->name, table->summary);
    }
    (void)fprintf(to, "\n'%s COMMAND --help' says more.\n%s", name, more ? more : "");
}

int dispatch(const char *name, const struct command *table, const char *more, int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stderr, name, table, more);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_commands(stdout, name, table, more);
        return EXIT_DONE;
    }
    for (const struct command *c = table; c->name; c++) {
        const char *word = strrchr(c->name, ' ');
        if (strcmp(word ? word + 1 : c->name, argv[1]) == 0)
            return c->run(c, argc - 1, argv + 1);
    }
    (void)fprintf(stderr, "%s: unknown command '%s'\n", name, argv[1]);
    print_commands(stderr, name, table, more);
    return EXIT_USAGE;
}
