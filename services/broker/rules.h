/* The broker's options as the pure modules want them: in microseconds, gathered by module. */
#ifndef SERVICES_BROKER_RULES_H
#define SERVICES_BROKER_RULES_H

#include "services/broker/core.h"

struct core_rules rules_from(const struct config_options *o);

#endif
