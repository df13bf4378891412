/* The stages that tests/bench/micro counts instructions of: pure functions of the product, on fixed
 * input. */
#pragma once
#include "common/base/span.h"

struct micro_stage {
    const char *name;
    void (*prepare)(void); /* once, before the loop; NULL = nothing to do */
    void (*once)(void);
};

/* Each list ends with a stage without a name. */
extern const struct micro_stage micro_text_stages[]; /* JSON, events, heads, messages on the bus */
extern const struct micro_stage micro_decision_stages[]; /* limits, routes */
extern const struct micro_stage
    micro_pipeline_stages[]; /* whole requests through a worker's pipeline */

/* Ends the program: a stage that fails measures nothing. */
#define MICRO_REQUIRE(condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            micro_fail(#condition);                                                                \
    } while (0)
_Noreturn void micro_fail(const char *what);

/* An OpenAI chat request of about that many bytes: a few messages, and numbers. Owned by the
 * caller, never freed. */
struct span micro_chat_body(size_t bytes, bool stream);
/* The same as an Anthropic request. */
struct span micro_messages_body(size_t bytes, bool stream);
