/* Directories that hold sockets and stores: made by us, or checked before we trust them. Whoever
 * can write there can put a socket of his own in a daemon's place. */
#ifndef COMMON_RUNTIME_OWN_DIR_H
#define COMMON_RUNTIME_OWN_DIR_H

#include <sys/types.h>

#include "common/base/err.h"

enum own_dir_kind {
    OWN_DIR_RUN,  /* sockets: a group of daemons may share it */
    OWN_DIR_STATE /* a store: its owner alone writes there */
};

/* Makes the directory (with those above it, as mkdir -p does) unless it is there, and checks it:
 * no symbolic link; ours, or root's; not writable by others, or by the group where the kind says
 * so. A directory of root's in which nobody can touch what is another's (the sticky bit, as in a
 * container of its own) will do for sockets. *why_out is a text for people when it is refused
 * (ERR_DENIED), or can't be made (ERR_IO). */
enum err own_dir(const char *path, enum own_dir_kind kind, const char **why_out) NODISCARD;
/* Only checks. ERR_NOT_FOUND: it is not there. */
enum err own_dir_check(const char *path, enum own_dir_kind kind, const char **why_out) NODISCARD;

#endif
