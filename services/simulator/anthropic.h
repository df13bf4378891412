/* Inside of the simulator: what its Anthropic files share. */
#ifndef SERVICES_SIMULATOR_ANTHROPIC_H
#define SERVICES_SIMULATOR_ANTHROPIC_H

#include "services/simulator/answer.h"

/* `code` becomes error.details.error_code; "" = no details. */
void anthropic_error_detailed(struct ask *ask, unsigned status, const char *type,
                              const char *message, const char *code);
/* true when the faults ask for an error: it is composed. */
bool anthropic_fault(struct ask *ask);
void anthropic_write_unary(struct ask *ask, const struct sim_answer *a);
void anthropic_write_stream(struct ask *ask, const struct sim_answer *a);

/* ---- anthropic_check.c ---- */
/* Always false: the refusal is composed. */
bool anthropic_refuse(struct ask *ask, const char *message);
/* What messages and count_tokens have in common. false: it was refused. */
bool anthropic_check(struct ask *ask);
bool anthropic_check_numbers(struct ask *ask, int64_t max_tokens);
unsigned anthropic_count_results(struct json content);

/* The answer's blocks, an array. */
void anthropic_write_content(struct ask *ask, struct json_writer *w, const struct sim_answer *a);
struct span anthropic_message_id(struct ask *ask);

/* ---- anthropic_threads.c ---- */
/* A request that continues a kept conversation becomes the whole one. false: it was refused. */
bool anthropic_thread_resume(struct ask *ask);
/* Keeps the conversation, answer included, when the request asked for it. */
void anthropic_thread_keep(struct ask *ask, const struct sim_answer *a);

#endif
