#include "services/worker/neutral/answer_error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void an_error_is_known_in_every_shape(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_error;
    } cases[] = {
        {"{\"error\":{\"message\":\"x\"}}", true},
        {"{\"error\":\"x\"}", true},
        {"{\"error\":true}", true},
        {"{\"error\":{\"message\":\"x\"},\"choices\":[]}", true},
        {"{\"object\":\"error\",\"message\":\"x\"}", true},
        {"{\"type\":\"error\",\"error\":{\"type\":\"x\"}}", true},
        {"{\"type\":\"error\",\"code\":\"x\",\"message\":\"m\"}", true},
        {"{\"detail\":\"Not Found\"}", true},
        {"{\"detail\":[{\"msg\":\"x\"}]}", true},
        {"{\"message\":\"x\"}", true},
        {"{\"error\":null,\"choices\":[]}", false},
        {"{\"error\":\"\"}", false},
        {"{\"error\":false}", false},
        {"{\"error\":{}}", false},
        {"{\"choices\":[],\"message\":\"x\"}", false},
        {"{\"choices\":[],\"detail\":\"x\"}", false},
        {"{\"type\":\"message_start\",\"message\":{\"id\":\"x\"}}", false},
        {"{\"object\":\"response\",\"error\":null}", false},
        {"{\"object\":\"list\",\"data\":[]}", false},
        {"{}", false},
        {"[]", false},
        {"null", false},
        {"\"error\"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_doc doc = {0};
        assert_int_equal(json_parse(&doc, span_str(cases[i].text), JSON_DEPTH_UPSTREAM), OK);
        if (answer_is_error(json_root(&doc)) != cases[i].is_error)
            fail_msg("%s", cases[i].text);
        json_doc_free(&doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_known_in_every_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
