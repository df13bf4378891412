/* tollgate: the command. Starts a suite on one host, and asks a running one. It never opens the
 * store: it asks auth over the admin socket. */
#include <stdio.h>
#include <string.h>

#include "services/ctl/command.h"

static int version(const struct command *self, int argc, char **argv)
{
    struct positionals rest;
    int code = args_parse(self, NULL, argc, argv, &rest);
    if (code >= 0)
        return code;
    printf("tollgate %s\n", TOLLGATE_VERSION);
    return EXIT_DONE;
}

static const char epilogue[] =
    "\nExit codes: 0 done, 1 failed, 2 wrong usage, 78 bad configuration.\n";

int main(int argc, char **argv)
{
    const struct command table[] = {
        command_up,
        command_keys,
        command_usage,
        command_request,
        command_status,
        command_restart,
        command_health,
        command_check,
        command_models,
        command_import,
        command_certs,
        {"version", "Say which version this is.", "", NULL, version},
        {0},
    };
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("tollgate %s\n", TOLLGATE_VERSION);
        return EXIT_DONE;
    }
    int code = dispatch("tollgate", table, epilogue, argc, argv);
    if (fflush(stdout) != 0 && code == EXIT_DONE)
        return failure("cannot write the answer");
    return code;
}
