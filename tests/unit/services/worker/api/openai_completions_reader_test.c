#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "unit/services/worker/api/test_api.h"

struct row {
    const char *body; /* ' for " */
    const char *expect;
};

#define P "0 user plain (text text=hi)\nprompt hi\n"

static const struct row rows[] = {
    {"{'prompt':'hi'}", P},
    {"{'model':'m','prompt':['hi']}", P},
    {"{'prompt':['hi','you']}", "0 user plain (text text=hi)\nprompt hi\nprompt you\n"},
    {"{'prompt':'hi','max_tokens':7,'temperature':0.50,'top_p':1,'stop':'\\n\\n','seed':1,'user':'"
     "u','echo':true,"
     "'frequency_penalty':1,'presence_penalty':1,'stream':true,'stream_options':{'include_usage':"
     "true}}",
     "set max_out=7 temperature=0.50 top_p=1 frequency_penalty=1 presence_penalty=1 seed=1 "
     "stop=\\n\\n user=u echo stream "
     "want_usage\n" P},
    {"{'prompt':'hi','suffix':'','best_of':1,'n':1,'logprobs':null}", P},
    {"{'prompt':'hi','logit_bias':{}}", P "extra logit_bias={}\n"},
    {"{}", "INVALID_VALUE prompt"},
    {"{'prompt':null}", "INVALID_VALUE prompt"},
    {"{'prompt':[]}", "INVALID_VALUE prompt"},
    {"{'prompt':5}", "INVALID_VALUE prompt"},
    {"{'prompt':['a',{}]}", "INVALID_VALUE prompt[1]"},
    /* H119 */
    {"{'prompt':[1,2,3]}", "UNSUPPORTED_PARAMETER prompt"},
    {"{'prompt':[[1,2],[3]]}", "UNSUPPORTED_PARAMETER prompt"},
    {"{'prompt':'hi','suffix':'x'}", "UNSUPPORTED_PARAMETER suffix"},
    {"{'prompt':'hi','suffix':5}", "INVALID_VALUE suffix"},
    {"{'prompt':'hi','n':2}", "UNSUPPORTED_PARAMETER n"},
    {"{'prompt':'hi','best_of':2}", "UNSUPPORTED_PARAMETER best_of"},
    {"{'prompt':'hi','best_of':21}", "INVALID_VALUE best_of"},
    {"{'prompt':'hi','logprobs':0}", "UNSUPPORTED_PARAMETER logprobs"},
    {"{'prompt':'hi','logprobs':true}", "INVALID_VALUE logprobs"},
    {"{'prompt':'hi','max_tokens':0}", "INVALID_VALUE max_tokens"},
    {"{'prompt':'hi','seed':0.5}", "INVALID_VALUE seed"},
    {"{'prompt':'a','n':1,'n':1}", "INVALID_VALUE n"},
    {"[]", "INVALID_VALUE "},
};

static void every_member_has_its_place_or_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *got = test_read(&api_openai_completions, rows[i].body);
        assert_string_equal(got, rows[i].expect);
        free(got);
    }
}

static void a_full_arena_is_said_and_never_a_crash(void **state)
{
    (void)state;
    test_read_bounded(&api_openai_completions, "{'prompt':['a','b'],'stop':['x'],'foo':1}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_has_its_place_or_is_refused),
        cmocka_unit_test(a_full_arena_is_said_and_never_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
