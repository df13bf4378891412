/* What every fuzz target defines; see CMakeLists.txt. A broken property aborts. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(property)                                                                          \
    do {                                                                                           \
        if (!(property))                                                                           \
            abort();                                                                               \
    } while (0)

#endif
