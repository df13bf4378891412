/* LiteLLM files of any bytes: each is refused with a complaint, or becomes a configuration that our
 * own check accepts, the same one each time. */
#include "common/runtime/config/config.h"
#include "fuzz/fuzz.h"
#include "services/ctl/import/import.h"

static enum err convert(struct span text, struct buf *out, struct buf *report)
{
    struct buf errors = {0};
    struct import im;
    import_init(&im);
    enum err e = import_read_text(&im, "in.yaml", text, &errors);
    REQUIRE(!e || (e == ERR_INVALID && errors.len > 0));
    if (!e) {
        e = import_write(&im, out, &errors);
        REQUIRE(!e);
        report_text(&im.report, report);
    }
    import_free(&im);
    buf_free(&errors);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of(data, size);
    struct buf first = {0}, second = {0}, report = {0};
    if (size <= 65536 && convert(text, &first, &report) == OK) {
        REQUIRE(convert(text, &second, &report) == OK);
        REQUIRE(span_equals(buf_span(&first), buf_span(&second)));
    }
    buf_free(&first);
    buf_free(&second);
    buf_free(&report);
    return 0;
}
