/* CURVE on the sockets: our own pair, and the keys of the servers that links lead to. */
#include "common/runtime/bus/bus_internal.h"

#include <stdio.h>

#define ZAP_DOMAIN "tollgate"

enum err bus_arm_server(const struct bus *bus, void *handle)
{
    const struct bus_keys *keys = bus->spec.keys;
    if (!keys)
        return OK;
    /* Our guard is asked about everybody: it is there before the binding, and until after it. */
    bool fine = bus_set_int(handle, ZMQ_CURVE_SERVER, 1) &&
                bus_set_text(handle, ZMQ_CURVE_SECRETKEY, keys->own.secret_key) &&
                bus_set_text(handle, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN);
    return fine ? OK : ERR_UNSUPPORTED;
}

enum err bus_arm_link(const struct bus_peer *link, void *handle)
{
    const struct bus_keys *keys = link->bus->spec.keys;
    if (!keys)
        return OK;
    bool fine = bus_set_text(handle, ZMQ_CURVE_SERVERKEY, link->key) &&
                bus_set_text(handle, ZMQ_CURVE_PUBLICKEY, keys->own.public_key) &&
                bus_set_text(handle, ZMQ_CURVE_SECRETKEY, keys->own.secret_key);
    return fine ? OK : ERR_UNSUPPORTED;
}

/* Only one of a service's two keys is in use: they are tried in turn. */
enum err bus_choose_key(struct bus_peer *link)
{
    const struct bus_keys *keys = link->bus->spec.keys;
    if (!keys || link->key_given)
        return OK;
    size_t count = key_list_count(&keys->list, link->role);
    const struct listed_key *entry =
        count ? key_list_of(&keys->list, link->role, link->key_turn++ % count) : NULL;
    if (!entry)
        return ERR_NOT_FOUND;
    memcpy(link->key, entry->key, sizeof link->key);
    return OK;
}

/* ZeroMQ itself does not try again once it was refused. */
bool bus_should_try_anew(const struct bus_peer *link, uint64_t now_us)
{
    const struct bus_keys *keys = link->bus->spec.keys;
    if (!keys || link->up || !link->connected)
        return false;
    bool others = !link->key_given && key_list_count(&keys->list, link->role) > 1;
    return now_us > link->connected_us + (others ? OTHER_KEY_US : SAME_KEY_US);
}

/* The key of a peer is that of the role and provider it says it has. A command may come with any
 * key that it can read: it has nothing to say but questions. */
bool bus_key_fits(const struct bus *bus, const char *key, const struct hello *hello)
{
    if (!bus->spec.keys)
        return true;
    const struct listed_key *entry = key_list_find(&bus->spec.keys->list, span_str(key));
    if (!entry)
        return false;
    struct span service = span_str(entry->service);
    return span_is(hello->role, "ctl") || (span_equals(service_role(service), hello->role) &&
                                           span_equals(service_provider(service), hello->provider));
}
