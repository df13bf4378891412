/* Inside of the synthesis of streams: what its files share. */
#ifndef SERVICES_WORKER_PIPELINE_SYNTHESIZE_INTERNAL_H
#define SERVICES_WORKER_PIPELINE_SYNTHESIZE_INTERNAL_H

#include "common/base/json.h"

/* A value without white space: an event's data has one line. */
void synthesize_put_compact(struct json_writer *w, struct json v);
/* All members of an object but those of these names. */
void synthesize_copy_members(struct json_writer *w, struct json object, const char *const *except,
                             size_t except_count);
/* `name` NULL: an event without one. */
void synthesize_begin_event(struct json_writer *w, const char *name);
void synthesize_end_event(struct json_writer *w);

/* A whole response as its stream. */
enum err synthesize_response(struct json_writer *w, struct json body, bool with_usage) NODISCARD;

#endif
