/* Responses requests in the neutral form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "services/worker/api/responses.h"
#include "unit/services/worker/api/test_api.h"

struct row {
    const char *body; /* ' for " */
    const char *expect;
};

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *got = test_read(&api_openai_responses, rows[i].body);
        assert_string_equal(got, rows[i].expect);
        free(got);
    }
}

#define CHECK(rows) check((rows), sizeof(rows) / sizeof((rows)[0]))
#define Q "'input':'q'"
#define Q_LINE "0 user plain (text text=q)\n"
#define CALL(id, name)                                                                             \
    "{'type':'function_call','call_id':'" id "','name':'" name "','arguments':'{}'}"
#define OUTPUT(id, text) "{'type':'function_call_output','call_id':'" id "','output':'" text "'}"
#define USER "{'role':'user','content':'q'}"

static void every_setting_has_its_place(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'model':'m'," Q "}", Q_LINE},
        {"{'instructions':'be','max_output_tokens':20,'temperature':1e-7,'top_p':0.90,'stream':"
         "true,"
         "'user':'u','safety_identifier':'s','service_tier':'flex','metadata':{'a':'b'},'store':"
         "true," Q "}",
         "set max_out=20 temperature=1e-7 top_p=0.90 user=s tier=flex stream\n"
         "top (text text=be)\n" Q_LINE},
        {"{'reasoning':{'effort':'high','summary':'auto','mode':'x'},'truncation':'auto'," Q "}",
         "set effort=high\n" Q_LINE "dropped reasoning.mode\ndropped truncation\n"},
        {"{'text':{'format':{'type':'json_schema','name':'n','strict':true,'schema':{'type':"
         "'object'}},'verbosity':'low'}," Q "}",
         "set format=schema name=n schema={\"type\":\"object\"} strict=true\n" Q_LINE
         "dropped text.verbosity\n"},
        {"{'include':['reasoning.encrypted_content','message.output_text.logprobs']," Q "}",
         "set logprobs\n" Q_LINE},
        {"{'prompt_cache_key':'k','background':false,'previous_response_id':null," Q "}",
         Q_LINE "extra prompt_cache_key=\"k\"\n"},
    };
    CHECK(rows);
}

static void items_become_turns(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'input':[{'type':'message','role':'developer','content':[{'type':'input_text','text':"
         "'d'}]}," USER "]}",
         "0 developer (text text=d)\n1 user plain (text text=q)\n"},
        {"{'input':[{'role':'user','content':[{'type':'input_image','image_url':'data:image/"
         "png;base64,AAAA','detail':'low'},{'type':'input_file','filename':'a.pdf','file_data':"
         "'data:application/pdf;base64,AAAA'},{'type':'input_file','file_url':'https://x.test/"
         "a.pdf'}]}]}",
         "0 user (image media=image/png data=AAAA detail=low) (document media=application/pdf "
         "data=AAAA title=a.pdf) (document url=https://x.test/a.pdf)\n"},
        {"{'input':[" USER ",{'type':'reasoning','summary':[{'type':'summary_text','text':'hm'}]},"
         "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'a',"
         "'annotations':[]}]}," CALL("1", "f") "," CALL("2", "g") "," OUTPUT("1", "x") "," OUTPUT(
             "2", "y") "]}",
         "0 user plain (text text=q)\n1 assistant (thinking text=hm) (text text=a) (call id=1 "
         "name=f args={}) (call id=2 name=g args={})\n3 tool plain (result id=1 (text text=x))\n4 "
         "tool plain (result id=2 (text text=y))\n"},
        /* a result stands behind its call, wherever it came */
        {"{'input':[" CALL("1", "f") "," USER "," OUTPUT("1", "x") "]}",
         "0 assistant (call id=1 name=f args={})\n0 tool plain (result id=1 (text text=x))\n1 user "
         "plain (text text=q)\n"},
        /* the last call may wait for its result */
        {"{'input':[" USER "," CALL("1", "f") "]}",
         "0 user plain (text text=q)\n1 assistant (call id=1 name=f args={})\n"},
        {"{'input':[{'role':'assistant','content':'a'},{'role':'assistant','content':'b'}]}",
         "0 assistant plain (text text=a)\n1 assistant plain (text text=b)\n"},
        {"{'input':[{'type':'custom_tool_call','call_id':'1','name':'c','input':'l\\n\\'m'},{'type'"
         ":'custom_tool_call_output','call_id':'1','output':[{'type':'input_text','text':'x'},{"
         "'type':'input_image','image_url':'https://x.test/a.png'}]}]}",
         "0 assistant (call id=1 name=c input={\"input\":\"l\\n\\\"m\"})\n0 tool (result id=1 "
         "(text "
         "text=x) (image url=https://x.test/a.png))\n"},
        {"{'input':[{'type':'local_shell_call','call_id':'1','action':{'type':'exec','command':["
         "'ls']}},{'type':'local_shell_call_output','id':'1','output':'out'},{'type':'shell_call',"
         "'call_id':'2','action':{'commands':['ls']}},{'type':'shell_call_output','call_id':'2',"
         "'output':[{'stdout':'o'}]},{'type':'apply_patch_call','call_id':'3','operation':{'type':"
         "'delete_file','path':'p'}},{'type':'apply_patch_call_output','call_id':'3','status':"
         "'failed','output':'no'}]}",
         "0 assistant (call id=1 name=local_shell "
         "input={\"type\":\"exec\",\"command\":[\"ls\"]})\n0 "
         "tool plain (result id=1 (text text=out))\n2 assistant (call id=2 name=shell "
         "input={\"commands\":[\"ls\"]})\n2 tool (result id=2 (text "
         "text=[{\\\"stdout\\\":\\\"o\\\"}]))\n4 assistant (call id=3 name=apply_patch "
         "input={\"type\":\"delete_file\",\"path\":\"p\"})\n4 tool plain (result id=3 error (text "
         "text=no))\n"},
        {"{'input':[{'type':'web_search_call','id':'w','status':'completed'}," USER "]}",
         "1 user plain (text text=q)\ndropped input.web_search_call\n"},
        {"{'input':[{'type':'reasoning','encrypted_content':'gAAAA'}," USER "]}",
         "0 assistant\n1 user plain (text text=q)\ndropped input.encrypted_content\n"},
    };
    CHECK(rows);
}

static void tools_become_functions(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'tools':[{'type':'function','name':'f','description':'d','parameters':{'type':'object'},"
         "'strict':null}],'tool_choice':{'type':'function','name':'f'},'parallel_tool_calls':"
         "false," Q "}",
         Q_LINE "tool name=f description=d schema={\"type\":\"object\"}\nchoice named name=f "
                "serial\n"},
        {"{'tools':[{'type':'custom','name':'c','description':'d','format':{'type':'grammar',"
         "'syntax':'lark','definition':'start: x'}}]," Q "}",
         Q_LINE
         "tool name=c description=d\\n\\nThe input must follow this grammar (lark):\\nstart: x "
         "schema={\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},"
         "\"required\":"
         "[\"input\"]}\n"},
        {"{'tools':[{'type':'namespace','name':'ns','tools':[{'type':'function','name':'g'}]},{"
         "'type':'function','name':'f'}],'tool_choice':{'type':'allowed_tools','mode':'required',"
         "'tools':[{'type':'function','name':'g','namespace':'ns'}]}," Q "}",
         Q_LINE "tool name=ns__g\nchoice any\n"},
        {"{'tools':[{'type':'web_search','external_web_access':false}]," Q "}",
         Q_LINE "tool server name=web_search "
                "raw={\"type\":\"web_search\",\"external_web_access\":false}\n"},
        {"{'tools':null,'input':[{'type':'additional_tools','role':'developer','tools':[{'type':"
         "'function','name':'f'}]}," USER "],'tool_choice':{'type':'function','name':'f'}}",
         "1 user plain (text text=q)\ntool name=f\nchoice named name=f\n"},
    };
    CHECK(rows);
    char *got = test_read(&api_openai_responses,
                          "{'tools':[{'type':'local_shell'},{'type':'shell'},{'type':'apply_patch'}"
                          "],'tool_choice':{'type':'shell'}," Q "}");
    assert_non_null(strstr(got, "tool name=local_shell description="));
    assert_non_null(strstr(got, "tool name=apply_patch description="));
    assert_non_null(strstr(got, "choice named name=shell"));
    free(got);
}

static void what_cannot_be_is_refused_by_its_place(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{}", "INVALID_VALUE input"},
        {"{'input':7}", "INVALID_VALUE input"},
        {"{'input':[7]}", "INVALID_VALUE input[0]"},
        {"{'input':[" USER ",{'type':'compaction','encrypted_content':'x'}]}",
         "UNSUPPORTED_PARAMETER input[1].type"},
        {"{'input':[{'type':'item_reference','id':'x'}]}", "UNSUPPORTED_PARAMETER input[0]"},
        {"{'input':[" CALL("1", "f") "," USER "]}", "INVALID_VALUE input[0]"},
        {"{'input':[" OUTPUT("1", "x") "]}", "INVALID_VALUE input[0].call_id"},
        {"{'input':[" CALL("1", "f") "," CALL("1", "f") "]}", "INVALID_VALUE input[1].call_id"},
        {"{'input':[" CALL("1", "f") "," OUTPUT("1", "x") "," OUTPUT("1", "y") "]}",
         "INVALID_VALUE input[2].call_id"},
        {"{'input':[{'role':'user','content':[{'type':'input_image','file_id':'f'}]}]}",
         "UNSUPPORTED_PARAMETER input[0].content[0]"},
        {"{'input':[{'role':'user','content':[{'type':'input_audio'}]}]}",
         "UNSUPPORTED_PARAMETER input[0].content[0]"},
        {"{'input':[{'role':'user','content':[{'type':'new'}]}]}",
         "INVALID_VALUE input[0].content[0].type"},
        {"{'input':[{'role':'critic','content':'x'}]}", "INVALID_VALUE input[0].role"},
        {"{'input':[{'type':'reasoning','encrypted_content':'tg1.AAAA'}]}",
         "INVALID_VALUE input[0].encrypted_content"},
        {"{'previous_response_id':'resp_1'," Q "}", "UNSUPPORTED_PARAMETER previous_response_id"},
        {"{'conversation':'conv_1'," Q "}", "UNSUPPORTED_PARAMETER conversation"},
        {"{'prompt':{'id':'p'}," Q "}", "UNSUPPORTED_PARAMETER prompt"},
        {"{'background':true," Q "}", "UNSUPPORTED_PARAMETER background"},
        {"{'tools':[{'type':'function','name':'a b'}]," Q "}", "INVALID_VALUE tools[0].name"},
        {"{'tools':[{'type':'namespace','name':'n','tools':[{'type':'shell'}]}]," Q "}",
         "INVALID_VALUE tools[0].tools[0].type"},
        {"{'tool_choice':{'type':'function','name':'f'}," Q "}", "INVALID_VALUE tool_choice"},
        {"{'text':{'format':{'type':'json_schema'}}," Q "}", "INVALID_VALUE text.format.schema"},
        {"{'model':'a','model':'b'," Q "}", "INVALID_VALUE model"},
    };
    CHECK(rows);
}

/* What a provider thought comes back as it was. */
static void hidden_thoughts_come_back(void **state)
{
    (void)state;
    struct arena arena;
    struct neutral_request request;
    struct api_error fault;
    struct json_doc doc = {0};
    struct buf body = {0};
    arena_init(&arena, 0);
    struct span thought =
        responses_hide_thinking(&arena, SPAN("h\\u00e9 \\\"m\\\""), SPAN("SIG=="));
    struct span redacted = responses_hide_redacted(&arena, SPAN("D"));
    buf_printf(&body,
               "{\"input\":[{\"type\":\"reasoning\",\"encrypted_content\":\"%.*s\"},{\"type\":"
               "\"reasoning\",\"summary\":[],\"encrypted_content\":\"%.*s\"}]}",
               SPAN_ARG(thought), SPAN_ARG(redacted));
    assert_int_equal(json_parse(&doc, buf_span(&body), 64), OK);
    assert_int_equal(api_openai_responses.read_request(json_root(&doc), &arena, &request, &fault),
                     OK);
    assert_int_equal(request.turn_count, 1);
    const struct part *parts = request.turns[0].parts.items;
    assert_int_equal(parts[0].kind, PART_THINKING);
    assert_true(span_is(parts[0].text, "h\\u00e9 \\\"m\\\""));
    assert_true(span_is(parts[0].signature_text, "SIG=="));
    assert_int_equal(parts[1].kind, PART_REDACTED);
    assert_true(span_is(parts[1].data_text, "D"));
    json_doc_free(&doc);
    buf_free(&body);
    arena_free(&arena);
}

static void without_memory_a_request_is_refused(void **state)
{
    (void)state;
    test_read_bounded(&api_openai_responses,
                      "{'tools':[{'type':'namespace','name':'ns','tools':[{'type':'custom','name':"
                      "'g','format':{'definition':'x'}}]}],'instructions':'i','input':[" CALL(
                          "1", "f") "," OUTPUT("1", "x") "," USER ",{'type':'web_search_call'}]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_has_its_place),
        cmocka_unit_test(items_become_turns),
        cmocka_unit_test(tools_become_functions),
        cmocka_unit_test(what_cannot_be_is_refused_by_its_place),
        cmocka_unit_test(hidden_thoughts_come_back),
        cmocka_unit_test(without_memory_a_request_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
