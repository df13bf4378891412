/* tollgate keys create|update|rotate: what sets something of a key. */
#ifndef SERVICES_CTL_KEYS_EDIT_H
#define SERVICES_CTL_KEYS_EDIT_H

#include "services/ctl/command.h"

int keys_create(const struct command *self, int argc, char **argv);
int keys_update(const struct command *self, int argc, char **argv);
int keys_rotate(const struct command *self, int argc, char **argv);

#endif
