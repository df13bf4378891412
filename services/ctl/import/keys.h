/* Keys of a LiteLLM store, as its API or psql gives them, into a running suite. */
#ifndef SERVICES_CTL_IMPORT_KEYS_H
#define SERVICES_CTL_IMPORT_KEYS_H

#include "services/ctl/import/report.h"
#include "services/ctl/paths.h"

/* `path`: JSON, an array of rows of LiteLLM_VerificationToken, or {"keys": [...]}. Each row becomes
 * a key that the same secret opens: LiteLLM keeps its SHA-256, and so does auth, under the pepper.
 * The exit code; −1 when all went well. */
int import_keys(struct suite_paths *paths, const char *path, struct report *r);

#endif
