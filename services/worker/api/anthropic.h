/* Inside of api/: the parts of the Anthropic messages protocol. */
#ifndef SERVICES_WORKER_API_ANTHROPIC_H
#define SERVICES_WORKER_API_ANTHROPIC_H

#include "services/worker/api/read.h"
#include "services/worker/neutral/api_ops.h"

/* member_fns; `into` is the request. */
enum err anthropic_read_messages(struct reader *r, const struct where *at, struct json v,
                                 void *into);
enum err anthropic_read_system(struct reader *r, const struct where *at, struct json v, void *into);
enum err anthropic_read_tools(struct reader *r, const struct where *at, struct json v, void *into);
enum err anthropic_read_tool_choice(struct reader *r, const struct where *at, struct json v,
                                    void *into);

/* One content block → one part (sometimes more: a document's pictures) at the list's end.
 * member_fn; `into` is a struct part_list. */
enum err anthropic_read_block(struct reader *r, const struct where *at, struct json v, void *into);
/* A string or an array of blocks. */
enum err anthropic_read_content(struct reader *r, const struct where *at, struct json v,
                                struct part_list *parts, bool *plain);

enum err anthropic_messages_read(struct json body, struct arena *arena, struct neutral_request *out,
                                 struct api_error *fault_out);
struct answer_writer *anthropic_messages_writer_create(const struct answer_options *options);
void anthropic_messages_write(struct answer_writer *w, const struct neutral_event *e);

#endif
