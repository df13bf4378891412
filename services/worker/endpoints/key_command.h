/* A provider's key from a command, so that any secret manager works: `api_key_exec` is its argument
 * list. No shell, an empty environment, nothing but its standard output is read. */
#ifndef SERVICES_WORKER_ENDPOINTS_KEY_COMMAND_H
#define SERVICES_WORKER_ENDPOINTS_KEY_COMMAND_H

#include "common/base/secret.h"
#include "common/runtime/config/config.h"

enum { KEY_COMMAND_MS = 10000 };

/* Runs it, at most KEY_COMMAND_MS long, and takes its trimmed output as the key. Blocks: at a
 * start, and beside the loop at a reload. On failure *why_out says what is wrong (static), and
 * ERR_DENIED: others than root and this user could change what is run. */
enum err key_command_run(const struct config_list *command, struct secret **out,
                         const char **why_out) NODISCARD;

#endif
