#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "unit/services/worker/api/test_api.h"

struct row {
    const char *body; /* ' for " */
    const char *expect;
};

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *got = test_read(&api_anthropic_messages, rows[i].body);
        assert_string_equal(got, rows[i].expect);
        free(got);
    }
}

#define CHECK(rows) check((rows), sizeof(rows) / sizeof((rows)[0]))
#define BASE "'max_tokens':5,'messages':[{'role':'user','content':'q'}]"
#define BASE_LINES "set max_out=5\n0 user plain (text text=q)\n"
#define SET(x) "set max_out=5" x "\n0 user plain (text text=q)\n"

static void every_setting_has_its_place(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'model':'m'," BASE "}", BASE_LINES},
        {"{'max_tokens':0,'messages':[{'role':'user','content':'q'}]}",
         "set max_out=0\n0 user plain (text text=q)\n"},
        {"{'temperature':0.50,'top_p':1e-1,'top_k':7,'stop_sequences':['a','b','c','d','e'],'"
         "stream':true," BASE "}",
         SET(" temperature=0.50 top_p=1e-1 top_k=7 stop=a stop=b stop=c stop=d stop=e stream")},
        {"{'metadata':{'user_id':'u','team':'t'},'service_tier':'auto','cache_control':{'type':'"
         "ephemeral'}," BASE "}",
         SET(" user=u tier=auto cache={\"type\":\"ephemeral\"}") "dropped metadata.team\n"},
        {"{'thinking':{'type':'enabled','budget_tokens':2048,'display':'omitted'}," BASE "}",
         SET(" thinking=budget/2048") "dropped thinking.display\n"},
        {"{'thinking':{'type':'adaptive'},'output_config':{'effort':'max'}," BASE "}",
         SET(" effort=max thinking=adaptive")},
        {"{'thinking':{'type':'disabled'}," BASE "}", SET(" thinking=off")},
        {"{'thinking':{'type':'between_tools'}," BASE "}", SET("") "dropped thinking\n"},
        {"{'max_tokens':5,'messages':[{'role':'user','content':'q'},{'role':'assistant','content':["
         "{'type':'compaction','content':'what was'},{'type':'text','text':'a'}]},{'role':'user',"
         "'content':'b'}]}",
         "set max_out=5\n0 user plain (text text=q)\n1 assistant (text text=what was) (text "
         "text=a)\n"
         "2 user plain (text text=b)\n"},
        {"{'output_config':{'format':{'type':'json_schema','schema':{'a':1}}}," BASE "}",
         SET(" format=schema schema={\"a\":1}")},
        {"{'output_format':{'type':'json_schema','schema':{'a':1}}," BASE "}",
         SET(" format=schema schema={\"a\":1}")},
        {"{'system':'s'," BASE "}",
         "set max_out=5\ntop (text text=s)\n0 user plain (text text=q)\n"},
        {"{'system':[{'type':'text','text':'a','cache_control':{'type':'ephemeral'}},{'type':'text'"
         ",'text':'b'}]," BASE "}",
         "set max_out=5\ntop (text text=a cache={\"type\":\"ephemeral\"}) (text text=b)\n0 user "
         "plain (text text=q)\n"},
        {"{'container':'c','inference_geo':'eu','context_management':{'edits':[]}," BASE "}",
         BASE_LINES "extra container=\"c\"\nextra inference_geo=\"eu\"\nextra "
                    "context_management={\"edits\":[]}\n"},
        {"{'system':null,'tools':null,'thinking':null,'metadata':{'user_id':null}," BASE "}",
         BASE_LINES},
    };
    CHECK(rows);
}

static void a_wrong_type_names_the_field(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"'x'", "INVALID_VALUE "},
        {"{'messages':[{'role':'user','content':'q'}]}", "INVALID_VALUE max_tokens"},
        {"{'max_tokens':5}", "INVALID_VALUE messages"},
        {"{'max_tokens':5,'messages':[]}", "INVALID_VALUE messages"},
        {"{'max_tokens':5,'messages':{}}", "INVALID_VALUE messages"},
        {"{'max_tokens':-1,'messages':[{'role':'user','content':'q'}]}",
         "INVALID_VALUE max_tokens"},
        {"{'max_tokens':5,'max_tokens':6,'messages':[{'role':'user','content':'q'}]}",
         "INVALID_VALUE max_tokens"},
        {"{'model':'a','model':'b'," BASE "}", "INVALID_VALUE model"},
        {"{'stream':true,'stream':true," BASE "}", "INVALID_VALUE stream"},
        {"{'model':{}," BASE "}", "INVALID_VALUE model"},
        {"{'stream':1," BASE "}", "INVALID_VALUE stream"},
        {"{'top_k':1.5," BASE "}", "INVALID_VALUE top_k"},
        {"{'temperature':'1'," BASE "}", "INVALID_VALUE temperature"},
        {"{'stop_sequences':'a'," BASE "}", "INVALID_VALUE stop_sequences"},
        {"{'stop_sequences':[1]," BASE "}", "INVALID_VALUE stop_sequences[0]"},
        {"{'system':5," BASE "}", "INVALID_VALUE system"},
        {"{'system':[{'type':'image'}]," BASE "}", "INVALID_VALUE system[0].type"},
        {"{'system':['a']," BASE "}", "INVALID_VALUE system[0]"},
        {"{'thinking':true," BASE "}", "INVALID_VALUE thinking"},
        {"{'thinking':{'type':7}," BASE "}", "INVALID_VALUE thinking.type"},
        {"{'thinking':{'type':'enabled'}," BASE "}", "INVALID_VALUE thinking.budget_tokens"},
        {"{'thinking':{'type':'enabled','budget_tokens':1000}," BASE "}",
         "INVALID_VALUE thinking.budget_tokens"},
        {"{'output_config':{'format':{'type':'xml','schema':{}}}," BASE "}",
         "INVALID_VALUE output_config.format.type"},
        {"{'output_config':{'format':{'type':'json_schema'}}," BASE "}",
         "INVALID_VALUE output_config.format.schema"},
        {"{'metadata':5," BASE "}", "INVALID_VALUE metadata"},
        {"{'metadata':{'user_id':5}," BASE "}", "INVALID_VALUE metadata.user_id"},
    };
    CHECK(rows);
}

#define TURNS(x) "{'max_tokens':5,'messages':[" x "]}"
#define M "set max_out=5\n"

static void every_block_has_its_part(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {TURNS("{'role':'user','content':[{'type':'text','text':'a','cache_control':{'type':'"
               "ephemeral'},"
               "'citations':null}]}"),
         M "0 user (text text=a cache={\"type\":\"ephemeral\"})\n"},
        {TURNS("{'role':'user','content':[{'type':'image','source':{'type':'base64','media_type':'"
               "image/png',"
               "'data':'AAAA'}},{'type':'image','source':{'type':'url','url':'https://x'}}]}"),
         M "0 user (image media=image/png data=AAAA) (image url=https://x)\n"},
        {TURNS(
             "{'role':'user','content':["
             "{'type':'document','source':{'type':'base64','media_type':'application/"
             "pdf','data':'JVB'},'title':'t',"
             "'context':'c','citations':{'enabled':true}},"
             "{'type':'document','source':{'type':'url','url':'https://x/a.pdf'}},"
             "{'type':'document','source':{'type':'text','media_type':'text/"
             "plain','data':'words'}},"
             "{'type':'document','source':{'type':'content','content':'only text'}},"
             "{'type':'document','source':{'type':'content','content':[{'type':'text','text':'a'},"
             "{'type':'image','source':{'type':'url','url':'https://"
             "x'}},{'type':'text','text':'b'}]}}]}"),
         M "0 user (document media=application/pdf data=JVB title=t context=c) (document "
           "url=https://x/a.pdf) "
           "(document text=words) (document text=only text) (document text=ab) (image "
           "url=https://x)\n"
           "dropped messages.content.citations\n"},
        {TURNS("{'role':'user','content':[{'type':'search_result','source':'https://"
               "x','title':'t','content':["
               "{'type':'text','text':'a'},{'type':'text','text':'b'}]}]}"),
         M "0 user (search text=ab url=https://x title=t "
           "raw={\"type\":\"search_result\",\"source\":\"https://x\","
           "\"title\":\"t\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
           "\"text\":\"b\"}]})\n"},
        /* H025: the input's number text survives */
        {TURNS("{'role':'assistant','content':[{'type':'thinking','thinking':'h','signature':'S'},"
               "{'type':'redacted_thinking','data':'D'},{'type':'text','text':'ok'},"
               "{'type':'tool_use','id':'t1','name':'f','input':{'id': 12345678901234567890, "
               "'f':5.50},"
               "'caller':{'type':'direct'}}]}"),
         M "0 assistant (thinking text=h signature=S) (redacted data=D) (text text=ok) "
           "(call id=t1 name=f input={\"id\": 12345678901234567890, \"f\":5.50})\n"},
        {TURNS("{'role':'user','content':[{'type':'tool_result','tool_use_id':'t1'},"
               "{'type':'tool_result','tool_use_id':'t2','content':'x','is_error':true},"
               "{'type':'tool_result','tool_use_id':'t3','content':[{'type':'text','text':'bad'},"
               "{'type':'image','source':{'type':'base64','media_type':'image/png','data':'AA'}},"
               "{'type':'tool_reference','tool_name':'n'}]}]}"),
         M "0 user (result id=t1) (result id=t2 error (text text=x)) (result id=t3 (text text=bad) "
           "(image media=image/png data=AA) (opaque name=tool_reference "
           "raw={\"type\":\"tool_reference\",\"tool_name\":\"n\"}))\n"},
        {TURNS("{'role':'assistant','content':[{'type':'server_tool_use','id':'s','name':'web_"
               "search','input':{}},"
               "{'type':'from_the_future','x':1}]}"),
         M "0 assistant (opaque name=server_tool_use "
           "raw={\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}}) "
           "(opaque name=from_the_future raw={\"type\":\"from_the_future\",\"x\":1})\n"},
        {TURNS("{'role':'system','content':'s'},{'role':'system','content':[{'type':'text','text':'"
               "t'}]}"),
         M "0 system plain (text text=s)\n1 system (text text=t)\n"},
        {TURNS("{'role':'user','content':'a'},{'role':'assistant','content':[]}"),
         M "0 user plain (text text=a)\n"},
    };
    CHECK(rows);
}

static void a_system_block_within_a_message_is_a_turn_of_its_own(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {TURNS("{'role':'user','content':[{'type':'text','text':'a'},"
               "{'type':'mid_conv_system','content':[{'type':'text','text':'s'}]},{'type':'text','"
               "text':'b'}]}"),
         M "0 user (text text=a)\n0 system (text text=s)\n0 user (text text=b)\n"},
        {TURNS("{'role':'user','content':[{'type':'mid_conv_system'}]}"),
         "INVALID_VALUE messages[0].content[0].content"},
    };
    CHECK(rows);
}

/* The API takes consecutive user turns for one: results must come right behind their calls. */
static void results_join_the_user_turn_before_them(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {TURNS("{'role':'user','content':'a'},{'role':'user','content':[{'type':'tool_result','"
               "tool_use_id':'t'}]}"),
         M "0 user (text text=a) (result id=t)\n"},
        {TURNS("{'role':'user','content':'a'},{'role':'user','content':'b'}"),
         M "0 user plain (text text=a)\n1 user plain (text text=b)\n"},
        {TURNS("{'role':'assistant','content':'a'},{'role':'user','content':[{'type':'tool_result',"
               "'tool_use_id':'t'}]}"),
         M "0 assistant plain (text text=a)\n1 user (result id=t)\n"},
    };
    CHECK(rows);
}

static void a_bad_message_names_its_place(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {TURNS("5"), "INVALID_VALUE messages[0]"},
        {TURNS("{'role':'user'}"), "INVALID_VALUE messages[0].content"},
        {TURNS("{'content':'a'}"), "INVALID_VALUE messages[0].role"},
        {TURNS("{'role':'tool','content':'a'}"), "INVALID_VALUE messages[0].role"},
        {TURNS("{'role':'user','content':5}"), "INVALID_VALUE messages[0].content"},
        {TURNS("{'role':'user','content':['a']}"), "INVALID_VALUE messages[0].content[0]"},
        {TURNS("{'role':'user','content':[{}]}"), "INVALID_VALUE messages[0].content[0].type"},
        {TURNS("{'role':'user','content':[{'type':'text'}]}"),
         "INVALID_VALUE messages[0].content[0].text"},
        {TURNS("{'role':'user','content':[{'type':'image'}]}"),
         "INVALID_VALUE messages[0].content[0].source"},
        {TURNS("{'role':'user','content':[{'type':'image','source':5}]}"),
         "INVALID_VALUE messages[0].content[0].source"},
        {TURNS("{'role':'user','content':[{'type':'image','source':{'type':'text'}}]}"),
         "INVALID_VALUE messages[0].content[0].source.type"},
        {TURNS(
             "{'role':'user','content':[{'type':'image','source':{'type':'file','file_id':'f'}}]}"),
         "UNSUPPORTED_PARAMETER messages[0].content[0].source"},
        {TURNS(
             "{'role':'user','content':[{'type':'image','source':{'type':'base64','data':'A'}}]}"),
         "INVALID_VALUE messages[0].content[0].source.media_type"},
        {TURNS("{'role':'user','content':[{'type':'document','source':{'type':'tape'}}]}"),
         "INVALID_VALUE messages[0].content[0].source.type"},
        {TURNS("{'role':'user','content':[{'type':'document','source':{'type':'content','content':["
               "{'type':'tool_use'}]}}]}"),
         "INVALID_VALUE messages[0].content[0].source.content[0].type"},
        {TURNS("{'role':'assistant','content':[{'type':'tool_use','id':'t','name':'f','input':'{}'}"
               "]}"),
         "INVALID_VALUE messages[0].content[0].input"},
        {TURNS("{'role':'assistant','content':[{'type':'tool_use','name':'f','input':{}}]}"),
         "INVALID_VALUE messages[0].content[0].id"},
        {TURNS("{'role':'user','content':[{'type':'tool_result','content':'x'}]}"),
         "INVALID_VALUE messages[0].content[0].tool_use_id"},
        {TURNS("{'role':'user','content':[{'type':'tool_result','tool_use_id':'t','content':5}]}"),
         "INVALID_VALUE messages[0].content[0].content"},
        {TURNS("{'role':'user','content':[{'type':'tool_result','tool_use_id':'t','content':[{'"
               "type':'tool_result'}]}]}"),
         "INVALID_VALUE messages[0].content[0].content[0].type"},
        {TURNS("{'role':'user','content':[{'type':'search_result','content':5}]}"),
         "INVALID_VALUE messages[0].content[0].content"},
    };
    CHECK(rows);
}

static void tools_and_their_choice_are_read(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'tools':[{'name':'f','description':'d','input_schema':{'type':'object','x-foo':1.50},'"
         "strict':true,"
         "'cache_control':{'type':'ephemeral'},'input_examples':[{}]},{'type':'custom','name':'g','"
         "input_schema':{}},"
         "{'type':null,'name':'h','input_schema':{}}],"
         "'tool_choice':{'type':'any','disable_parallel_tool_use':true}," BASE "}",
         BASE_LINES
         "tool name=f description=d schema={\"type\":\"object\",\"x-foo\":1.50} strict=true "
         "cache={\"type\":\"ephemeral\"}\ntool name=g schema={}\ntool name=h schema={}\nchoice any "
         "serial\n"
         "dropped tools.input_examples\n"},
        {"{'tools':[{'type':'web_search_20260318','name':'web_search','max_uses':1}]," BASE "}",
         BASE_LINES
         "tool server name=web_search "
         "raw={\"type\":\"web_search_20260318\",\"name\":\"web_search\",\"max_uses\":1}\n"},
        {"{'tools':[{'name':'f','input_schema':{}}],'tool_choice':{'type':'tool','name':'f'}," BASE
         "}",
         BASE_LINES "tool name=f schema={}\nchoice named name=f\n"},
        {"{'tools':[{'name':'f','input_schema':{}}],'tool_choice':{'type':'auto','disable_parallel_"
         "tool_use':false}," BASE "}",
         BASE_LINES "tool name=f schema={}\nchoice auto\n"},
        {"{'tool_choice':{'type':'none'}," BASE "}", BASE_LINES "choice none\n"},
        {"{'tools':[{'name':'f','input_schema':{}}],'tool_choice':{'type':'tool','name':'g'}," BASE
         "}",
         "INVALID_VALUE tool_choice"},
        {"{'tool_choice':'auto'," BASE "}", "INVALID_VALUE tool_choice"},
        {"{'tool_choice':{'type':'maybe'}," BASE "}", "INVALID_VALUE tool_choice.type"},
        {"{'tool_choice':{'type':'auto','disable_parallel_tool_use':1}," BASE "}",
         "INVALID_VALUE tool_choice.disable_parallel_tool_use"},
        {"{'tools':{}," BASE "}", "INVALID_VALUE tools"},
        {"{'tools':[5]," BASE "}", "INVALID_VALUE tools[0]"},
        {"{'tools':[{'name':'f'}]," BASE "}", "INVALID_VALUE tools[0].input_schema"},
        {"{'tools':[{'name':'a.b','input_schema':{}}]," BASE "}", "INVALID_VALUE tools[0].name"},
        {"{'tools':[{'type':'bash_20250124'}]," BASE "}", "INVALID_VALUE tools[0].name"},
    };
    CHECK(rows);
}

static void no_truncated_or_changed_body_does_harm(void **state)
{
    (void)state;
    char *body = test_quoted("{'model':'m','max_tokens':5,'system':[{'type':'text','text':'s'}],'"
                             "messages':[{'role':'user','content':["
                             "{'type':'document','source':{'type':'content','content':[{'type':'"
                             "text','text':'a'}]}}]},{'role':'assistant',"
                             "'content':[{'type':'tool_use','id':'t','name':'f','input':{}}]},{'"
                             "role':'user','content':[{'type':'tool_result',"
                             "'tool_use_id':'t','content':[{'type':'text','text':'1'}]}]}],'tools':"
                             "[{'name':'f','input_schema':{}}],"
                             "'tool_choice':{'type':'auto'},'thinking':{'type':'adaptive'}}");
    size_t n = strlen(body);
    static const char replacements[] = {'1', '"', 'n', '[', '}', ' '};
    for (size_t i = 0; i < n; i++) {
        free(test_read_raw(&api_anthropic_messages, span_of(body, i)));
        for (size_t k = 0; k < sizeof replacements; k++) {
            char kept = body[i];
            body[i] = replacements[k];
            free(test_read_raw(&api_anthropic_messages, span_of(body, n)));
            body[i] = kept;
        }
    }
    free(body);
}

static void a_full_arena_is_said_and_never_a_crash(void **state)
{
    (void)state;
    test_read_bounded(
        &api_anthropic_messages,
        "{'max_tokens':5,'stop_sequences':['a'],'system':[{'type':'text','text':'s'}],'container':'"
        "c','messages':["
        "{'role':'user','content':'a'},{'role':'user','content':[{'type':'text','text':'b'},{'type'"
        ":'tool_result',"
        "'tool_use_id':'t','content':[{'type':'text','text':'1'},{'type':'search_result','source':'"
        "s','title':'t',"
        "'content':[{'type':'text','text':'x'}]}]},{'type':'document','source':{'type':'content','"
        "content':["
        "{'type':'text','text':'a'},{'type':'image','source':{'type':'url','url':'https://x'}}]}},"
        "{'type':'mid_conv_system','content':'s'},{'type':'text','text':'c'}]},{'role':'assistant',"
        "'content':["
        "{'type':'thinking','thinking':'t','signature':'s'},{'type':'redacted_thinking','data':'d'}"
        ","
        "{'type':'tool_use','id':'t','name':'f','input':{}},{'type':'new','x':1}]}],"
        "'tools':[{'name':'f','input_schema':{},'x':1}]}");
}

static void a_full_arena_is_said_at_every_kind_of_block(void **state)
{
    (void)state;
    test_read_bounded(
        &api_anthropic_messages,
        "{'max_tokens':5,'messages':[{'role':'user','content':[{'type':'text','text':'a'}]},{'role'"
        ":'user','content':[{'type':'image','source':{'type':'url','url':'https://"
        "x'}}]},{'role':'user','content':[{'type':'document','source':{'type':'text','media_type':'"
        "text/"
        "plain','data':'b'}}]},{'role':'user','content':[{'type':'tool_result','tool_use_id':'t'}]}"
        ",{'role':'user','content':[{'type':'search_result','source':'s','title':'t','content':[{'"
        "type':'text','text':'x'}]}]},{'role':'user','content':[{'type':'new'}]},{'role':'"
        "assistant','content':[{'type':'thinking','thinking':'t','signature':'s'}]},{'role':'user',"
        "'content':[{'type':'document','source':{'type':'content','content':[{'type':'image','"
        "source':{'type':'url','url':'https://"
        "x'}}]}}]},{'role':'user','content':[{'type':'mid_conv_system','content':'s'}]}]}");
}

static void rarer_forms_are_read_too(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'max_tokens':5,'tools':[{'name':5,'input_schema':{}}]," BASE "}",
         "INVALID_VALUE max_tokens"},
        {"{'tools':[{'name':5,'input_schema':{}}]," BASE "}", "INVALID_VALUE tools[0].name"},
        {TURNS("{'role':'user','content':[{'type':'text','text':'a'}]},{'role':'user','content':["
               "{'type':'text','text':'b'},{'type':'image','source':{'type':'url','url':'https://"
               "x'}}]}"),
         M "0 user (text text=a)\n1 user (text text=b) (image url=https://x)\n"},
        {TURNS("{'role':'user','content':[{'type':'mid_conv_system','content':'s'},"
               "{'type':'tool_result','tool_use_id':'t'}]}"),
         M "0 system plain (text text=s)\n0 user (result id=t)\n"},
        {TURNS("{'role':'assistant','content':[{'type':'tool_result','tool_use_id':'t'}]}"),
         M "0 assistant (result id=t)\n"},
        {TURNS("{'role':'user','content':'a'},{'role':'assistant','content':[{'type':'text','text':"
               "'b'}]}"),
         M "0 user plain (text text=a)\n1 assistant (text text=b)\n"},
        {TURNS("{'role':'user','content':[{'type':'document','source':{'type':'content','content':"
               "5}}]}"),
         "INVALID_VALUE messages[0].content[0].source.content"},
    };
    CHECK(rows);
}

static void there_is_an_end_to_messages_and_tools(void **state)
{
    (void)state;
    struct buf body = {0};
    buf_append_str(&body, "{\"max_tokens\":1,\"messages\":[");
    for (int i = 0; i < 100001; i++)
        buf_append_str(&body, i ? ",5" : "5");
    buf_append_str(&body, "]}");
    char *got = test_read_raw(&api_anthropic_messages, buf_span(&body));
    assert_string_equal(got, "INVALID_VALUE messages");
    free(got);
    buf_clear(&body);
    buf_append_str(
        &body,
        "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"tools\":[");
    for (int i = 0; i < 129; i++)
        buf_append_str(&body, i ? ",{}" : "{}");
    buf_append_str(&body, "]}");
    got = test_read_raw(&api_anthropic_messages, buf_span(&body));
    assert_string_equal(got, "INVALID_VALUE tools");
    free(got);
    buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_has_its_place),
        cmocka_unit_test(a_wrong_type_names_the_field),
        cmocka_unit_test(every_block_has_its_part),
        cmocka_unit_test(a_system_block_within_a_message_is_a_turn_of_its_own),
        cmocka_unit_test(results_join_the_user_turn_before_them),
        cmocka_unit_test(a_bad_message_names_its_place),
        cmocka_unit_test(tools_and_their_choice_are_read),
        cmocka_unit_test(no_truncated_or_changed_body_does_harm),
        cmocka_unit_test(a_full_arena_is_said_and_never_a_crash),
        cmocka_unit_test(a_full_arena_is_said_at_every_kind_of_block),
        cmocka_unit_test(rarer_forms_are_read_too),
        cmocka_unit_test(there_is_an_end_to_messages_and_tools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
