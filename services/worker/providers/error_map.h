/* Inside of providers/: an upstream's error, in whatever shape, as one of our classes
 * (docs/wire.md, Requests). */
#ifndef SERVICES_WORKER_PROVIDERS_ERROR_MAP_H
#define SERVICES_WORKER_PROVIDERS_ERROR_MAP_H

#include "services/worker/neutral/provider.h"

/* What the body says; bytes in the arena, empty where it does not. */
struct upstream_error {
    struct span message;
    struct span type;
    struct span code;         /* a string, or the digits of a number */
    struct span detail;       /* error.details.error_code */
    struct span details_json; /* error.details, an object of moderate size without secrets */
    struct span param;
    bool is_json;
};

/* Every known shape: {"error":{…}}, {"error":"text"}, {"message":…}, {"detail":"text" or [{loc,
 * msg}]}, {"title":…},
 * {"object":"error",…}. */
void error_read(struct conversion *pc, struct span body, struct upstream_error *out);
/* The class for a status (200: the words decide) and what the body says. */
unsigned error_classify(unsigned status, const struct upstream_error *e);
/* provider.map_error for all of them. */
void error_map(struct conversion *pc, unsigned status, const struct upstream_headers *headers,
               struct span body, struct fault *fault_out);

#endif
