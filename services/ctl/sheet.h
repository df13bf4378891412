/* A table for people: cells are gathered, columns get as wide as they need, numbers stand right. */
#ifndef SERVICES_CTL_SHEET_H
#define SERVICES_CTL_SHEET_H

#include <stdio.h>

#include "common/base/arena.h"
#include "common/base/buf.h"

enum { SHEET_COLUMNS_MAX = 16 };

struct sheet {
    struct arena arena;
    struct span *cells; /* row by row, the head first */
    size_t count, cap;
    size_t columns;
    bool right[SHEET_COLUMNS_MAX];
    bool failed;
};

/* heads: "KEY|MODEL|>REQUESTS": `>` makes a column stand right. */
void sheet_init(struct sheet *s, const char *heads);
void sheet_free(struct sheet *s);
void sheet_cell(struct sheet *s, struct span text);
void sheet_str(struct sheet *s, const char *text);
void sheet_u64(struct sheet *s, uint64_t n);
/* Nano-dollars as dollars: "0.001234567". */
void sheet_dollars(struct sheet *s, uint64_t nano);
/* Control bytes are shown as '?'. ERR_NOMEM when cells were lost. */
enum err sheet_write(const struct sheet *s, struct buf *out) NODISCARD;

#endif
