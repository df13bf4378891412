#include "common/runtime/trust.h"

#include "common/base/log.h"

static enum err say(enum err e, struct buf *error)
{
    struct span lines = buf_span(error);
    while (e && lines.len)
        log_error("bad_bus_keys", LSPAN("problem", span_cut(&lines, '\n')));
    buf_free(error);
    return e;
}

enum err trust_open(struct trust *t, const struct config_options *o, const char *role,
                    const char *provider)
{
    char service[SERVICE_BYTES];
    struct buf error = {0};
    *t = (struct trust){.keyed = *o->bus_certs != '\0'};
    service_of(role, provider, service);
    return t->keyed ? say(bus_keys_load(&t->keys, o->bus_certs, service, &error), &error) : OK;
}

enum err trust_open_command(struct trust *t, const char *certs)
{
    struct buf error = {0};
    *t = (struct trust){.keyed = *certs != '\0'};
    return t->keyed ? say(bus_keys_load_any(&t->keys, certs, &error), &error) : OK;
}

void trust_close(struct trust *t)
{
    bus_keys_reset(&t->keys);
}

const struct bus_keys *trust_keys(const struct trust *t)
{
    return t->keyed ? &t->keys : NULL;
}

void trust_reload(struct trust *t, struct bus *bus)
{
    struct buf error = {0};
    if (!t->keyed)
        return;
    if (say(bus_keys_reload(&t->keys, &error), &error) == OK)
        bus_keys_changed(bus);
    else
        log_error("bus_keys_refused", LSTR("keeping", "the list in force"));
}

bool trust_is_local(const char *address)
{
    if (strncmp(address, "tcp://", 6) != 0)
        return true;
    const char *host = address + 6;
    if (strncmp(host, "127.", 4) == 0) /* in numbers, for a name may begin so too */
        return host[strspn(host, "0123456789.")] == ':';
    return strncmp(host, "[::1]:", 6) == 0 || strncmp(host, "localhost:", 10) == 0;
}

enum err trust_check(const struct trust *t, const struct config_options *o, const char *address)
{
    if (t->keyed || o->bus_plaintext || trust_is_local(address))
        return OK;
    log_error("plaintext_bus", LSTR("address", address),
              LSTR("why", "it leads beyond this machine, and without keys who reaches the bus "
                          "reads prompts and writes bills"),
              LSTR("hint", "make keys with 'tollgate certs create DIR' and set bus.certs; or set "
                           "bus.plaintext where the network is private"));
    return ERR_DENIED;
}
