/* Inside of api/: what the two OpenAI readers and writers share, and their parts. */
#ifndef SERVICES_WORKER_API_OPENAI_H
#define SERVICES_WORKER_API_OPENAI_H

#include "services/worker/api/read.h"
#include "services/worker/neutral/api_ops.h"

/* member_fns; `into` is the request. */
enum err openai_read_messages(struct reader *r, const struct where *at, struct json v, void *into);
enum err openai_read_tools(struct reader *r, const struct where *at, struct json v, void *into);
enum err openai_read_tool_choice(struct reader *r, const struct where *at, struct json v,
                                 void *into);
enum err openai_read_functions(struct reader *r, const struct where *at, struct json v, void *into);
enum err openai_read_function_call(struct reader *r, const struct where *at, struct json v,
                                   void *into);
/* "integer ≥ 1": max_tokens, max_completion_tokens. */
enum err openai_read_max_out(struct reader *r, const struct where *at, struct json v, void *into);
enum err openai_read_parallel(struct reader *r, const struct where *at, struct json v, void *into);
/* "text", "json_object", "json_schema". */
enum err openai_read_format_type(struct reader *r, const struct where *at, struct json v,
                                 void *into);
enum err openai_read_n(struct reader *r, const struct where *at, struct json v, void *into);
enum err openai_read_stream_options(struct reader *r, const struct where *at, struct json v,
                                    void *into);

/* A message's content: a string or an array of parts. */
enum err openai_read_content(struct reader *r, const struct where *at, struct json v,
                             enum role role, struct part_list *parts, bool *plain);
/* A user's part that is a URL (image_url) or a file; `from` is the URL's json text. */
enum err openai_read_image_part(struct reader *r, const struct where *at, struct json v,
                                struct part_list *parts);
enum err openai_read_file_part(struct reader *r, const struct where *at, struct json v,
                               struct part_list *parts);

/* An image or a document by its URL, http, https or data; a file as a data URL or bare base64.
 * `part` becomes what it is. */
enum err openai_set_url(struct reader *r, const struct where *at, struct span url_text,
                        struct part *part);
enum err openai_set_file(struct reader *r, const struct where *at, struct span data_text,
                         struct part *part);

extern const char *const openai_never_twice[];

enum err openai_chat_read(struct json body, struct arena *arena, struct neutral_request *out,
                          struct api_error *fault_out);
struct answer_writer *openai_chat_writer_create(const struct answer_options *options);
void openai_chat_write(struct answer_writer *w, const struct neutral_event *e);

enum err openai_completions_read(struct json body, struct arena *arena, struct neutral_request *out,
                                 struct api_error *fault_out);
struct answer_writer *openai_completions_writer_create(const struct answer_options *options);
void openai_completions_write(struct answer_writer *w, const struct neutral_event *e);

#endif
