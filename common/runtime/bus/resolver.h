/* Names of hosts into addresses, in a thread of its own: whoever asks a name server may wait for
 * seconds, and a loop, or ZeroMQ's thread with every link on it, must not. Knows nothing of links.
 */
#ifndef COMMON_RUNTIME_BUS_RESOLVER_H
#define COMMON_RUNTIME_BUS_RESOLVER_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/runtime/loop.h"

enum { RESOLVER_ADDRESS_BYTES = 256 };

struct resolver;
struct resolver_query; /* one that has not been answered */

/* Blocks, in the resolver's thread: the address of `host` in numbers. ERR_NOT_FOUND: the name is
 * none; ERR_AGAIN: nobody could say. */
typedef enum err (*resolver_lookup)(const char *host, char *out, size_t size);
/* e as of resolver_lookup; address: "tcp://192.0.2.1:5571" (IPv6 in brackets), NULL unless OK. */
typedef void (*resolver_fn)(void *ctx, enum err e, const char *address);

/* "tcp://" with a name in place of numbers. */
bool resolver_is_needed(const char *address);
/* "tcp://" with an address in numbers and a port. */
bool resolver_is_numeric(const char *address);

/* The thread begins with the first query. lookup: NULL = the system's; tests have their own. */
enum err resolver_create(struct resolver **out, struct loop *loop,
                         resolver_lookup lookup) NODISCARD;
/* Does not wait for a name server; queries end unanswered. Takes NULL, nulls. */
void resolver_destroy(struct resolver **resolver);

/* Answers from the loop, never before it returns. In turn: one name at a time. ERR_AGAIN when too
 * many wait already. The query is its caller's until fn is called. */
enum err resolver_ask(struct resolver *resolver, const char *address, resolver_fn fn, void *ctx,
                      struct resolver_query **out) NODISCARD;
/* fn is not called. Takes NULL, nulls; not after resolver_destroy. */
void resolver_forget(struct resolver_query **query);

#endif
