/* Who may connect and who may say what; what was refused is counted, and logged now and then. */
#include "common/runtime/bus/bus_internal.h"

#include "common/base/log.h"

const char *bus_refusal_name(enum bus_refusal why)
{
    static const char *const names[BUS_REFUSALS] = {"stranger", "key", "role", "message"};
    return names[why];
}

uint64_t bus_refused(const struct bus *bus, enum bus_refusal why)
{
    return bus->refused[why];
}

bool bus_note_refusal(struct bus *bus, enum bus_refusal why)
{
    uint64_t now = loop_now_us(bus->loop), *logged = &bus->refusal_logged_us[why];
    bool due = !*logged || now >= *logged + REFUSAL_LOG_US;
    bus->refused[why]++;
    if (due)
        *logged = now;
    return due;
}

void bus_refuse_message(struct bus_peer *from, enum message_type type, const char *why)
{
    const struct message_info *info = message_info(type);
    if (bus_note_refusal(from->bus, BUS_REFUSED_MESSAGE))
        log_warn("message_refused", LSTR("type", info ? info->name : ""),
                 LSTR("peer_role", from->role), LSTR("peer", from->name), LSTR("why", why),
                 LU64("refused", from->bus->refused[BUS_REFUSED_MESSAGE]));
}

bool bus_may_say(struct bus_peer *from, enum message_type type)
{
    const char *const *senders = from->bus->spec.senders;
    const char *sender = senders ? senders[type] : BUS_ANYBODY;
    if (sender && (strcmp(sender, BUS_ANYBODY) == 0 || strcmp(sender, from->role) == 0))
        return true;
    bus_refuse_message(from, type, "a peer of this role does not send it");
    return false;
}

bool bus_may_call(const struct bus *bus, struct span role)
{
    struct span rest = span_str(bus->spec.callers);
    if (!bus->spec.callers)
        return true;
    while (rest.len)
        if (span_equals(span_cut(&rest, ' '), role))
            return true;
    return false;
}
