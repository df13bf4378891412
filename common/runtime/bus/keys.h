/* Keys of the bus (CURVE): whose each public key is, and one service's own pair, as texts. Files
 * are key_files.h's.
 *
 * A service is what shares a pair: all replicas of a role, of a worker's provider. "edge", "auth",
 * "broker", "metrics", "ctl" (the tollgate command), "worker-openai".
 *
 *     # the list: everybody's                  # a pair: that service's alone, as czmq writes it
 *     edge  rq:rM>}U?@Lns47E1%kR.o@n%Fcmms...  curve
 *     worker-openai  Yne@$w-vo<fVvi]a<NY6T...      public-key = "rq:rM>}U?@Lns47E1%kR.o@n..."
 *                                                  secret-key = "D:)Q[IlAW!ahhC2ac:9*A}h:p..."
 */
#ifndef COMMON_RUNTIME_BUS_KEYS_H
#define COMMON_RUNTIME_BUS_KEYS_H

#include "common/base/buf.h"

enum {
    KEY_TEXT = 41, /* Z85, and its NUL */
    KEY_BINARY = 32,
    SERVICE_BYTES = 80,
    SERVICE_KEYS_MAX = 2, /* the one in use, and the one before or after it */
    KEY_LIST_MAX = 2048,
    KEY_FILE_BYTES = 512 * 1024
};

struct listed_key {
    char service[SERVICE_BYTES];
    char key[KEY_TEXT];
};

/* {0} is empty. */
struct key_list {
    struct listed_key *items; /* owned */
    size_t count;
};

struct key_pair {
    char public_key[KEY_TEXT];
    char secret_key[KEY_TEXT];
};

/* ---- services ---- */

bool service_is_known(struct span service);
/* "worker-openai" of "worker" and "openai"; role and provider of it. */
void service_of(const char *role, const char *provider, char out[SERVICE_BYTES]);
struct span service_role(struct span service);
struct span service_provider(struct span service); /* empty unless a worker's */

/* ---- the list ---- */

/* ERR_INVALID: errors_out has a line per problem ("NAME:3: …"); ERR_NOMEM. Of an error nothing is
 * kept. */
enum err key_list_read(struct span text, const char *name, struct key_list *out,
                       struct buf *errors_out) NODISCARD;
void key_list_write(const struct key_list *list, struct buf *out);
/* ERR_TOO_BIG: the service has two already, or the list is full; ERR_EXISTS; ERR_INVALID;
 * ERR_NOMEM. */
enum err key_list_add(struct key_list *list, struct span service, struct span key) NODISCARD;
void key_list_remove(struct key_list *list, struct span key);
void key_list_free(struct key_list *list);
/* Whose it is; NULL = nobody's. */
const struct listed_key *key_list_find(const struct key_list *list, struct span key);
/* The n-th key of a service; NULL behind the last. */
const struct listed_key *key_list_of(const struct key_list *list, const char *service, size_t n);
size_t key_list_count(const struct key_list *list, const char *service);

/* ---- pairs ---- */

/* A new one. ERR_UNSUPPORTED: libzmq was built without CURVE. */
enum err key_pair_make(struct key_pair *out) NODISCARD;
/* ERR_INVALID: not both keys, or they do not belong together. */
enum err key_pair_read(struct span text, struct key_pair *out) NODISCARD;
void key_pair_write(const struct key_pair *pair, const char *service, struct buf *out);
void key_pair_wipe(struct key_pair *pair);

#endif
