/* Shared by the tests of auth. */
#ifndef TESTS_AUTH_SUPPORT_H
#define TESTS_AUTH_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/runtime/config/config.h"
#include "services/auth/keys/keys.h"

#define SECOND ((uint64_t)1000000000)
#define START (1000 * SECOND) /* where fake monotonic time begins */

/* A fresh folder, removed by test_folder_remove. */
void test_folder(char out[64]);
void test_folder_remove(const char *folder);
/* A configuration from YAML text; the test fails when it has errors. */
struct config *test_config(const char *yaml);
/* Adds a key with these attributes; its digest goes to digest_out. */
struct key *test_key(struct keys *keys, struct key_attributes a, uint8_t digest_out[SHA256_BYTES]);

#endif
