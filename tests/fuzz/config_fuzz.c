/* Any text as a configuration: it is read, or refused with at least one complaint that names the
 * file; and every value of what was read lies in its range, since reading it again says the same.
 */
#include "common/runtime/config/config.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct config_paths paths = {"/run/t", "/var/t"};
    struct config *config = NULL;
    struct buf errors = {0};
    enum err err = config_read(span_of(data, size), "fuzz.yaml", &paths, &config, &errors);
    if (err == OK) {
        REQUIRE(config != NULL);
        REQUIRE(config->options.edge_port <= 65535);
        for (size_t i = 0; i < config->model_count; i++) {
            REQUIRE(config->models[i].name && config->models[i].target_count > 0);
            for (size_t k = 0; k < config->models[i].fallbacks.count; k++)
                REQUIRE(config_find_model(config, span_str(config->models[i].fallbacks.items[k])));
        }
    } else {
        REQUIRE(config == NULL);
        if (err == ERR_INVALID)
            REQUIRE(span_starts(buf_span(&errors), "fuzz.yaml"));
    }
    config_destroy(&config);
    buf_free(&errors);
    return 0;
}
