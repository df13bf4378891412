/* What the commands of the admin socket share; of interest to nobody else. */
#ifndef SERVICES_AUTH_ADMIN_COMMAND_H
#define SERVICES_AUTH_ADMIN_COMMAND_H

#include "services/auth/admin/admin.h"

struct admin_command {
    const char *name;
    /* As admin_begin. */
    bool (*begin)(struct admin_call *c, struct json request, struct arena *arena);
};

/* The answer is why it is not done; true. */
bool admin_refuse(struct admin_call *c, const char *why);
/* {"ok": true, …: the caller goes on, and closes the object. */
struct json_writer admin_begin_answer(struct admin_call *c);
/* false when the operation is on its way, as admin_begin has it. */
bool admin_submit(struct admin_call *c, const struct store_op *op);
/* Absent or null: 0. False when it is no whole number from 0 to max. */
bool admin_read_count(struct json request, const char *name, uint64_t max, uint64_t *out);

#endif
