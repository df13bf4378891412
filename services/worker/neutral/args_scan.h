/* Watches a tool call's arguments go by, piece by piece, and knows when their JSON value is
 * complete (docs/wire.md, Streams). It reads json text, so that an escaped quote is a quote and "{"
 * may come as
 * "\u007b". */
#ifndef SERVICES_WORKER_NEUTRAL_ARGS_SCAN_H
#define SERVICES_WORKER_NEUTRAL_ARGS_SCAN_H

#include "common/base/span.h"

struct args_scan {
    uint32_t depth;
    bool in_string;
    bool escape;   /* inside a string, behind a backslash */
    bool complete; /* an object or an array has been closed */
};

/* Feeds one piece: whole escapes only, as every piece of json text is. {0} is ready. */
void args_scan_feed(struct args_scan *scan, struct span text);
/* Nothing but white space so far: a call without arguments. */
bool args_is_blank(struct span text);

#endif
