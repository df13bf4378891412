/* A strict reader of the Prometheus text format 0.0.4, for tests: anything not quite right fails
 * the test. */
#ifndef TESTS_METRICS_PROMETHEUS_H
#define TESTS_METRICS_PROMETHEUS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/span.h"

enum { PROM_MAX = 4096, PROM_LABELS = 8, PROM_TEXT = 512 };

struct prom_sample {
    char name[128], family[128], type[16];
    unsigned labels;
    char label[PROM_LABELS][64], value[PROM_LABELS][PROM_TEXT];
    double number;
};

struct prom {
    struct prom_sample samples[PROM_MAX];
    unsigned count;
    char families[256][128];
    unsigned family_count;
};

/* Checks: one HELP and one TYPE before a family's samples, families not split, names and label
 * names legal, escapes legal, UTF-8, no sample twice, histogram buckets ascending and complete with
 * _sum and _count, a line feed at the end. */
void prom_parse(struct prom *p, struct span text);
/* The sample of that name whose labels are exactly these: "model=\"gpt-4\",key=\"k\"" without
 * escapes inside. NULL when there is none. */
const struct prom_sample *prom_find(const struct prom *p, const char *name, const char *labels);

#endif
