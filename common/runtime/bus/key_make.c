/* A new pair by czmq's certificates. In a file of its own, because it alone needs czmq: a daemon
 * makes no keys, and so does not load it and the eight libraries behind it. */
#include "common/runtime/bus/keys.h"

#include <czmq.h>

enum err key_pair_make(struct key_pair *out)
{
    zcert_t *made = zcert_new();
    if (!made)
        return ERR_UNSUPPORTED;
    snprintf(out->public_key, sizeof out->public_key, "%s", zcert_public_txt(made));
    snprintf(out->secret_key, sizeof out->secret_key, "%s", zcert_secret_txt(made));
    zcert_destroy(&made);
    return OK;
}
