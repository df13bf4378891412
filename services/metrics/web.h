/* The aggregator's own port: GET /metrics, /status, /health. */
#ifndef SERVICES_METRICS_WEB_H
#define SERVICES_METRICS_WEB_H

#include "common/http/http.h"
#include "services/metrics/aggregate.h"

/* `a` is borrowed for as long as the server lives. */
enum err web_create(struct http_server **out, struct loop *loop, const char *address, uint16_t port,
                    struct aggregate *a) NODISCARD;

#endif
