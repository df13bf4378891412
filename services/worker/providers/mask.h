/* An upstream's message made fit for a client: bounded, valid UTF-8, no secrets. */
#ifndef SERVICES_WORKER_PROVIDERS_MASK_H
#define SERVICES_WORKER_PROVIDERS_MASK_H

#include "common/base/arena.h"
#include "common/base/secret.h"

enum { MASK_MAX_BYTES = 1024 };

/* The message in the arena: cut at 1 kB between characters; keys ("sk-…", "r8_…", bearer tokens)
 * and organisation and project ids keep their first letters, the rest is "***". SPAN_NONE when the
 * arena is full. */
struct span mask_message(struct span message, struct arena *arena);

/* Without that secret (a whole "Name: value" line of a head, or its value's last word), which an
 * upstream may repeat. */
struct span mask_secret(struct span message, const struct secret *secret, struct arena *arena);

#endif
