#include "services/edge/context.h"

struct request_id edge_new_id(struct edge *e)
{
    if (e->ids_left == 0) {
        crypto_random(e->ids, sizeof e->ids);
        e->ids_left = EDGE_ID_STOCK;
    }
    struct request_id id = e->ids[--e->ids_left];
    request_id_set_time(&id, clock_wall_ms(loop_clock(e->d->loop)));
    return id;
}

bool edge_broker_is_usable(const struct bus_peer *broker)
{
    return bus_peer_up(broker) && bus_peer_user(broker) == NULL;
}

bool edge_has_broker(const struct edge *e)
{
    for (size_t i = 0; i < e->d->broker_count; i++)
        if (edge_broker_is_usable(e->d->brokers[i]))
            return true;
    return false;
}

bool edge_allows_address(const struct edge *e, struct span address)
{
    return cidr_list_matches(&e->metrics_allow, address);
}
