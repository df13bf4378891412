/* Keys, as auth describes them, for people. */
#ifndef SERVICES_CTL_KEYS_PRINT_H
#define SERVICES_CTL_KEYS_PRINT_H

#include "common/base/json.h"

void keys_print_one(struct json key);
/* A table; the exit code. */
int keys_print_all(struct json keys);

#endif
