/* Token counts that were never reported, guessed from bytes. */
#ifndef SERVICES_WORKER_NEUTRAL_ESTIMATE_H
#define SERVICES_WORKER_NEUTRAL_ESTIMATE_H

#include "services/worker/neutral/neutral.h"

/* Tokens that so many bytes of text are taken for: bytes / 4, rounded up. */
uint64_t estimate_tokens(uint64_t bytes);

/* Fills what was not reported: input and output by the guesses given, the details with 0. True when
 * it had to guess. */
bool usage_complete(struct usage *u, uint64_t input_guess, uint64_t output_guess);

#endif
