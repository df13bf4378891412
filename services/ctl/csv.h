/* Rows of JSON objects as CSV (RFC 4180): the first row's members are the columns. */
#ifndef SERVICES_CTL_CSV_H
#define SERVICES_CTL_CSV_H

#include "common/base/json.h"

/* To standard output; nothing at all for no rows. The exit code. */
int csv_print(struct json rows);

#endif
