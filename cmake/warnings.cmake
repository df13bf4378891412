# The one list of compiler flags.
add_library(tollgate_flags INTERFACE)
target_compile_options(tollgate_flags INTERFACE
    -std=gnu11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wformat=2 -Wswitch-enum -Wvla -Wundef -Wwrite-strings -Wcast-qual -Werror
    -fstack-protector-strong -fPIE -fno-strict-aliasing -fno-common)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|amd64")
    target_compile_options(tollgate_flags INTERFACE -fcf-protection)
    # said by hand: the C library's start files are not marked, and one unmarked file takes the mark from all
    target_link_options(tollgate_flags INTERFACE -Wl,-z,shstk)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
    target_compile_definitions(tollgate_flags INTERFACE _FORTIFY_SOURCE=2)
endif()
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    # clang-format breaks long literals in tables; that is no missing comma
    target_compile_options(tollgate_flags INTERFACE -Wno-string-concatenation)
endif()
target_compile_definitions(tollgate_flags INTERFACE _GNU_SOURCE TOLLGATE_VERSION="${PROJECT_VERSION}")
target_link_options(tollgate_flags INTERFACE -pie -Wl,-z,relro,-z,now -Wl,--as-needed)

if(TOLLGATE_SANITIZE)
    target_compile_options(tollgate_flags INTERFACE -fsanitize=${TOLLGATE_SANITIZE}
        -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(tollgate_flags INTERFACE -fsanitize=${TOLLGATE_SANITIZE})
endif()
if(TOLLGATE_COVERAGE)
    target_compile_options(tollgate_flags INTERFACE --coverage -O0)
    target_link_options(tollgate_flags INTERFACE --coverage)
endif()
if(TOLLGATE_FUZZ)
    # on the libraries, not only on the targets: or the fuzzer sees no path through them
    target_compile_options(tollgate_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
