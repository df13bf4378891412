/* What the contract suite stands on: files, JSON compared as tests/fixtures/golden/README.md says,
 * and an upstream that answers what a pipeline asks for. */
#ifndef CONTRACT_TEST_SUPPORT_H
#define CONTRACT_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "unit/services/worker/pipeline_driver.h"

/* ---- files ---- */

/* The whole file, NUL-terminated behind its length; data NULL when there is none. Freed with
 * free((char *)data). */
struct span file_read(const char *path_format, ...) __attribute__((format(printf, 1, 2)));
void file_free(struct span file);
bool file_exists(const char *path_format, ...) __attribute__((format(printf, 1, 2)));
/* Paths of all regular files below a folder that end in `suffix`, sorted; freed with
 * file_list_free. */
struct file_list {
    char **paths;
    size_t count;
};
void file_list_add(struct file_list *list, const char *folder, const char *suffix);
void file_list_free(struct file_list *list);

#define GOLDEN SOURCE_DIR "/tests/fixtures/golden"
/* Recordings that are not part of this repository; tests that need them skip where they are
 * missing. */
#define RECORDED SOURCE_DIR "/../shared/reference/fixtures"

/* The project's own table of models, loaded once. */
const struct model_table *test_models(void);

/* ---- comparing ---- */

/* Members whose value is compared by number, not by text, or not at all. */
enum { COMPARE_MASK_INPUT_TOKENS = 1 };

/* Fails the test, saying where they differ. "*" in `expected` matches anything; created and
 * request_id are masked. */
void expect_json(struct span actual, struct span expected, const char *what, unsigned flags);
/* Streams, event by event; comments are ignored; neighbouring partial_json deltas of one block are
 * joined. */
void expect_stream(struct span actual, struct span expected, const char *what, unsigned flags);
/* A stream in short, in order, for tests to compare:
 * OpenAI:    role content=… refusal=… think=… blocks=[…] tool0(id,name)=args finish=stop
 * usage=3/4/cached DONE error=code (choice 1 and on: "#1:content=…") Anthropic: start ping +0text
 * +1tool_use(id,name) text=… think=… sig=… json=… -0 delta=end_turn(3/4) stop error=type Texts are
 * json text. Freed with buf_free. */
struct buf stream_digest(struct span stream, bool anthropic);
/* A value inside a JSON text, by a path like "choices.0.message.content"; its raw text must be
 * `raw`. */
void expect_at(struct span json, const char *path, const char *raw);
/* … there is no such value. */
void expect_nothing_at(struct span json, const char *path);

/* ---- driving ---- */

/* How an answer's bytes are cut: whole; one by one; in two at `cut`. */
enum cut_kind { CUT_NONE, CUT_BYTES, CUT_TWO };
struct cut {
    enum cut_kind kind;
    size_t at;
};

/* For a client protocol and a provider, with the model table and the usual paths. */
void contract_init(struct driver *d, enum api api, const struct provider *provider,
                   const char *model);
/* The upstream has no /v1/responses: the request is translated. */
void contract_chat_only(struct driver *d);
/* Starts, or fails the test with the fault's words. */
void contract_start(struct driver *d, const char *body);
void contract_feed(struct driver *d, size_t sent, struct span bytes, struct cut cut);
/* A 200 with a stream, then the end of the connection; what the edge would add in-band is added to
 * the output. */
void contract_stream(struct driver *d, size_t sent, struct span bytes, struct cut cut);
/* A JSON answer. */
void contract_answer(struct driver *d, size_t sent, unsigned status, struct span body);
/* The output of a finished pipeline, or the body of its error. */
struct span contract_output(struct driver *d);
/* The request's body as sent. */
struct span contract_sent(const struct driver *d, size_t sent);

#endif
