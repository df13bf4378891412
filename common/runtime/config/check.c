/* The forms that texts of the configuration must have, by the names that options.def and
 * entries.def use. */
#include <arpa/inet.h>
#include <sched.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/runtime/bus/resolver.h"
#include "common/runtime/config/option.h"
#include "common/runtime/config/value.h"

static bool is_given(const char *text)
{
    return *text != '\0';
}

const struct option_check option_check_given = {"a text that is not empty", is_given};

/* tcp://host:port, where a star may stand for any of both when it is bound. */
static bool is_tcp_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    uint32_t port;
    if (!colon || colon == text)
        return false;
    return strcmp(colon + 1, "*") == 0 ||
           (value_u32(colon + 1, &port) && port > 0 && port <= UINT16_MAX);
}

static bool is_bus_address(const char *text)
{
    if (strncmp(text, "ipc://", 6) == 0)
        return text[6] != '\0';
    return strncmp(text, "tcp://", 6) == 0 && is_tcp_address(text + 6);
}

static bool is_bus_address_or_none(const char *text)
{
    return !*text || is_bus_address(text);
}

static bool is_told_address_or_none(const char *text)
{
    return !*text || strncmp(text, "ipc:///", 7) == 0 || resolver_is_numeric(text);
}

const struct option_check option_check_told_address_or_none = {
    "an address in numbers such as tcp://192.0.2.1:5571", is_told_address_or_none};
const struct option_check option_check_bus_address = {
    "an address such as ipc:///run/tollgate/auth or tcp://host:5571", is_bus_address};
const struct option_check option_check_bus_address_or_none = {
    "an address such as ipc:///run/tollgate/auth or tcp://host:5571", is_bus_address_or_none};

static bool is_address_range(const char *text)
{
    char address[INET6_ADDRSTRLEN];
    struct span rest = span_str(text);
    struct span head = span_cut(&rest, '/');
    uint64_t bits = 0;
    struct in6_addr at;
    if (head.len >= sizeof address || (head.len < strlen(text) && !span_to_u64(rest, &bits)))
        return false;
    memcpy(address, head.data, head.len);
    address[head.len] = '\0';
    return (inet_pton(AF_INET, address, &at) == 1 && bits <= 32) ||
           (inet_pton(AF_INET6, address, &at) == 1 && bits <= 128);
}

const struct option_check option_check_address_range = {
    "an address or a range such as 10.0.0.0/8 or fc00::/7", is_address_range};

static bool is_socket_path(const char *text)
{
    return *text && strlen(text) < sizeof((struct sockaddr_un *)0)->sun_path;
}

const struct option_check option_check_socket_path = {"a path of 107 bytes at most",
                                                      is_socket_path};

/* "0,2-3", all of them here. */
static bool are_processors(const char *text)
{
    long count = sysconf(_SC_NPROCESSORS_CONF);
    struct span rest = span_str(text);
    while (rest.len) {
        struct span item = span_cut(&rest, ',');
        struct span low = span_cut(&item, '-');
        uint64_t from, to;
        if (!span_to_u64(low, &from))
            return false;
        to = from;
        if ((item.len && !span_to_u64(item, &to)) || to < from || to >= CPU_SETSIZE ||
            (count > 0 && to >= (uint64_t)count))
            return false;
    }
    return true;
}

const struct option_check option_check_processors = {
    "processors of this machine, such as 0,2-3 (the first is 0)", are_processors};
