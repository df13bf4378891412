#include "common/runtime/bus/keys.h"

#include <stdio.h>
#include <stdlib.h>

#include <zmq.h>

#include "common/base/crypto.h"

#define WORKER "worker-"

/* ---- services ---- */

static bool is_provider_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '_' || c == '-' || c == '.';
        if (!fine)
            return false;
    }
    return name.len > 0 && name.len < SERVICE_BYTES - sizeof WORKER;
}

bool service_is_known(struct span service)
{
    static const char *const roles[] = {"edge", "auth", "broker", "metrics", "ctl"};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (span_is(service, roles[i]))
            return true;
    return span_starts(service, WORKER) && is_provider_name(span_skip(service, sizeof WORKER - 1));
}

void service_of(const char *role, const char *provider, char out[SERVICE_BYTES])
{
    bool worker = strcmp(role, "worker") == 0;
    (void)snprintf(out, SERVICE_BYTES, "%s%s%s", role, worker ? "-" : "",
                   worker && provider ? provider : "");
}

struct span service_role(struct span service)
{
    return span_starts(service, WORKER) ? span_first(service, sizeof WORKER - 2) : service;
}

struct span service_provider(struct span service)
{
    return span_starts(service, WORKER) ? span_skip(service, sizeof WORKER - 1) : SPAN_NONE;
}

/* ---- keys ---- */

/* A NUL-terminated copy; false unless it is 32 bytes in Z85. */
static bool read_key(struct span text, char out[KEY_TEXT])
{
    uint8_t binary[KEY_BINARY];
    if (text.len != KEY_TEXT - 1 || memchr(text.data, '\0', text.len))
        return false;
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    bool fine = zmq_z85_decode(binary, out) != NULL;
    crypto_wipe(binary, sizeof binary);
    return fine;
}

/* ---- the list ---- */

static const struct listed_key *find_from(const struct key_list *list, const char *service,
                                          size_t *at)
{
    for (; *at < list->count; ++*at)
        if (strcmp(list->items[*at].service, service) == 0)
            return &list->items[*at];
    return NULL;
}

const struct listed_key *key_list_of(const struct key_list *list, const char *service, size_t n)
{
    const struct listed_key *found = NULL;
    for (size_t at = 0; (found = find_from(list, service, &at)) && n > 0; at++)
        n--;
    return found;
}

size_t key_list_count(const struct key_list *list, const char *service)
{
    size_t count = 0;
    for (size_t at = 0; find_from(list, service, &at); at++)
        count++;
    return count;
}

const struct listed_key *key_list_find(const struct key_list *list, struct span key)
{
    for (size_t i = 0; i < list->count; i++)
        if (span_is(key, list->items[i].key))
            return &list->items[i];
    return NULL;
}

enum err key_list_add(struct key_list *list, struct span service, struct span key)
{
    struct listed_key entry = {0};
    if (!service_is_known(service) || !read_key(key, entry.key))
        return ERR_INVALID;
    (void)snprintf(entry.service, sizeof entry.service, "%.*s", SPAN_ARG(service));
    if (key_list_find(list, key))
        return ERR_EXISTS;
    if (list->count >= KEY_LIST_MAX || key_list_count(list, entry.service) >= SERVICE_KEYS_MAX)
        return ERR_TOO_BIG;
    struct listed_key *items =
        reallocarray(list->items, list->count + 1, sizeof *items); /* a list is read seldom */
    if (!items)
        return ERR_NOMEM;
    items[list->count++] = entry;
    list->items = items;
    return OK;
}

void key_list_remove(struct key_list *list, struct span key)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (!span_is(key, list->items[i].key))
            list->items[kept++] = list->items[i];
    list->count = kept;
}

void key_list_free(struct key_list *list)
{
    free(list->items);
    *list = (struct key_list){0};
}

static struct span take_word(struct span *rest)
{
    *rest = span_trim(*rest);
    size_t n = 0;
    while (n < rest->len && rest->data[n] != ' ' && rest->data[n] != '\t')
        n++;
    struct span word = span_first(*rest, n);
    *rest = span_trim(span_skip(*rest, n));
    return word;
}

/* NULL = a good line, or none. */
static const char *read_line(struct key_list *list, struct span line, enum err *err_out)
{
    struct span service = take_word(&line), key = take_word(&line);
    *err_out = OK;
    if (!service.len || service.data[0] == '#')
        return NULL;
    if (!service_is_known(service))
        return "no service: edge, auth, broker, metrics, ctl or worker-PROVIDER";
    if (line.len)
        return "a service and its key are all that a line has";
    *err_out = key_list_add(list, service, key);
    switch ((int)*err_out) {
    case OK:
        return NULL;
    case ERR_EXISTS:
        return "the key stands here twice";
    case ERR_TOO_BIG:
        return "the service has two keys already, or the list is too long";
    case ERR_NOMEM:
        return "out of memory";
    default:
        return "no key: 40 characters of Z85";
    }
}

enum err key_list_read(struct span text, const char *name, struct key_list *out,
                       struct buf *errors_out)
{
    unsigned number = 0;
    bool bad = false, nomem = false;
    *out = (struct key_list){0};
    while (text.len) {
        enum err e;
        struct span line = span_cut(&text, '\n');
        const char *problem = read_line(out, line, &e);
        number++;
        nomem |= e == ERR_NOMEM;
        bad |= problem != NULL;
        if (problem)
            buf_printf(errors_out, "%s:%u: %s\n", name, number, problem);
    }
    if (bad)
        key_list_free(out);
    return nomem ? ERR_NOMEM : bad ? ERR_INVALID : OK;
}

void key_list_write(const struct key_list *list, struct buf *out)
{
    buf_append_str(out, "# Tollgate: who may take part in the bus, by public key (CURVE, Z85). "
                        "Made by `tollgate certs`;\n"
                        "# daemons read it at their start and on SIGHUP. A service that changes "
                        "its key has two.\n");
    for (size_t i = 0; i < list->count; i++)
        buf_printf(out, "%-24s %s\n", list->items[i].service, list->items[i].key);
}

/* ---- pairs ---- */

void key_pair_wipe(struct key_pair *pair)
{
    crypto_wipe(pair, sizeof *pair);
}

/* `name = "value"` */
static bool read_value(struct span line, const char *name, char out[KEY_TEXT])
{
    struct span rest = line;
    struct span key = span_trim(span_cut(&rest, '='));
    rest = span_trim(rest);
    bool quoted = rest.len >= 2 && rest.data[0] == '"' && rest.data[rest.len - 1] == '"';
    return quoted && span_is(key, name) &&
           read_key(span_first(span_skip(rest, 1), rest.len - 2), out);
}

enum err key_pair_read(struct span text, struct key_pair *out)
{
    char derived[KEY_TEXT];
    bool public = false, secret = false;
    *out = (struct key_pair){0};
    while (text.len) {
        struct span line = span_cut(&text, '\n');
        public = read_value(line, "public-key", out->public_key) || public;
        secret = read_value(line, "secret-key", out->secret_key) || secret;
    }
    if (public && secret && zmq_curve_public(derived, out->secret_key) == 0 &&
        strcmp(derived, out->public_key) == 0)
        return OK;
    key_pair_wipe(out);
    return ERR_INVALID;
}

void key_pair_write(const struct key_pair *pair, const char *service, struct buf *out)
{
    buf_printf(out,
               "#   Tollgate's bus: the key of %s (ZeroMQ CURVE Certificate).\n"
               "#   DO NOT PROVIDE THIS FILE TO OTHERS: who has it is %s.\n\n"
               "metadata\n    name = \"%s\"\ncurve\n    public-key = \"%s\"\n    secret-key = "
               "\"%s\"\n",
               service, service, service, pair->public_key, pair->secret_key);
}
