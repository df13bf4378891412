/* Cancellations that came before their request. Each is remembered until its deadline; bounded,
 * the oldest is forgotten first. Pure. */
#ifndef SERVICES_BROKER_CANCELS_H
#define SERVICES_BROKER_CANCELS_H

#include "proto/header.h"

struct cancels;

enum err cancels_create(struct cancels **out, uint32_t max) NODISCARD;
void cancels_destroy(struct cancels **cancels);
/* Forgotten silently without memory: the request then runs for nobody until its deadline. */
void cancels_add(struct cancels *c, const struct request_id *id, uint64_t until_us,
                 uint64_t now_us);
/* true, and forgotten, when this id has been cancelled. */
bool cancels_take(struct cancels *c, const struct request_id *id, uint64_t now_us);
uint32_t cancels_count(const struct cancels *c);

#endif
