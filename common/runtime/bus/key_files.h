/* The keys of one daemon, out of a folder that `tollgate certs` has made:
 *     public.keys      the list: everybody's
 *     edge.secret      a pair: its service's alone */
#ifndef COMMON_RUNTIME_BUS_KEY_FILES_H
#define COMMON_RUNTIME_BUS_KEY_FILES_H

#include "common/runtime/bus/keys.h"

enum { KEY_PATH_BYTES = 512 };

struct bus_keys {
    char folder[KEY_PATH_BYTES];
    char service[SERVICE_BYTES]; /* whose pair it is */
    struct key_pair own;
    struct key_list list;
};

/* error_out, one line or more, says what is wrong: ERR_NOT_FOUND, ERR_DENIED (a secret that others
 * may read), ERR_INVALID, ERR_TOO_BIG, ERR_IO, ERR_NOMEM. Nothing is kept then. */
enum err bus_keys_load(struct bus_keys *out, const char *folder, const char *service,
                       struct buf *error_out) NODISCARD;
/* For a command: its own pair, else the first one that may be read. */
enum err bus_keys_load_any(struct bus_keys *out, const char *folder,
                           struct buf *error_out) NODISCARD;
/* The list again; on failure the one in force stays. */
enum err bus_keys_reload(struct bus_keys *keys, struct buf *error_out) NODISCARD;
/* Wipes the secret. {0} and twice are fine. */
void bus_keys_reset(struct bus_keys *keys);

/* The parts, for who makes such folders. */
enum err key_list_load(const char *folder, struct key_list *out, struct buf *error_out) NODISCARD;
enum err key_pair_load(const char *path, struct key_pair *out, struct buf *error_out) NODISCARD;
/* Written whole or not at all, and synced; mode as given whatever the umask. ERR_IO: errno. */
enum err key_file_write(const char *path, struct span text, unsigned mode) NODISCARD;

#endif
