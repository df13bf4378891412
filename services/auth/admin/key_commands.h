/* The commands that are about keys. */
#ifndef SERVICES_AUTH_ADMIN_KEY_COMMANDS_H
#define SERVICES_AUTH_ADMIN_KEY_COMMANDS_H

#include "services/auth/admin/command.h"

extern const struct admin_command key_commands[];
extern const size_t key_command_count;
/* The key that `key` names, by id or name; NULL when there is none. */
struct key *admin_named_key(const struct admin_call *c, struct json request, struct arena *arena);
void key_created(struct admin_call *c, const struct store_op *op);
void key_changed(struct admin_call *c, const struct store_op *op);
void key_deleted(struct admin_call *c, const struct store_op *op);

#endif
