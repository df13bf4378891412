/* What the providers' tests share: a conversion without a pipeline around it, its events as text,
 * JSON compared by meaning. */
#ifndef TESTS_UNIT_SERVICES_WORKER_PROVIDERS_TEST_RIG_H
#define TESTS_UNIT_SERVICES_WORKER_PROVIDERS_TEST_RIG_H

#include "services/worker/neutral/api_ops.h"
#include "services/worker/neutral/provider.h"

struct rig {
    struct arena arena;
    struct json_doc body_doc, doc;
    struct neutral_request request;
    struct conversion pc;
    struct api_error fault;
    struct buf log; /* one event a line */
    unsigned ends;  /* END and ERROR events */
    struct model_row row;
    const struct provider *provider;
};

/* A conversion of `provider` for `model`, its row from share/models.json; compat: OpenAI's own. */
void rig_init(struct rig *r, const struct provider *provider, const char *model);
void rig_free(struct rig *r);
/* Reads the client's body and builds the upstream's. */
enum err rig_build(struct rig *r, enum api api, struct span body);
/* rig_build, then fails the test unless it is refused with this class; the param is left in
 * r->fault. */
void rig_build_refused(struct rig *r, enum api api, const char *body, unsigned error_class);
/* The built body's member by path "messages.0.role"; as compact text in a static buffer; "" when
 * absent. */
const char *rig_member(const struct rig *r, const char *path);
/* Feeds a stream cut at `cut` (SIZE_MAX: byte by byte), then its end. */
enum err rig_stream(struct rig *r, struct span text, size_t cut);
enum err rig_answer(struct rig *r, const char *body);
/* The events so far; NUL-terminated. */
const char *rig_events(struct rig *r);
/* Each way of cutting `stream` gives exactly these events. A fresh conversion each time. */
void rig_assert_stream(const struct provider *provider, const char *model, enum api api,
                       const char *client_body, struct span stream, const char *events);
void rig_assert_answer(const struct provider *provider, const char *model, enum api api,
                       const char *client_body, const char *answer, const char *events);
/* Fails unless both are the same JSON: key order free, numbers by value where the text differs. */
void assert_json_same(struct span got, struct span expected);
/* A whole file under tests/fixtures/; freed by the caller. Skips nothing: fails when it is not
 * there. */
struct span rig_fixture(const char *path);
/* The table of share/models.json, loaded once per program. */
const struct model_table *rig_table(void);
void rig_table_free(void);

#endif
