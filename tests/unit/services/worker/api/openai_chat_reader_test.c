#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <stdio.h>
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
        char *got = test_read(&api_openai_chat, rows[i].body);
        assert_string_equal(got, rows[i].expect);
        free(got);
    }
}

#define CHECK(rows) check((rows), sizeof(rows) / sizeof((rows)[0]))
#define USER "'messages':[{'role':'user','content':'q'}]"
#define USER_LINE "0 user plain (text text=q)\n"

static void every_setting_has_its_place(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'model':'m'," USER "}", USER_LINE},
        {"{'temperature':1e-7,'top_p':0.90,'top_k':5,'seed':9007199254740993,'frequency_penalty':-"
         "0,"
         "'presence_penalty':2," USER "}",
         "set temperature=1e-7 top_p=0.90 top_k=5 frequency_penalty=-0 presence_penalty=2 "
         "seed=9007199254740993\n" USER_LINE},
        {"{'stream':true,'stream_options':{'include_usage':true,'include_obfuscation':false}," USER
         "}",
         "set stream want_usage\n" USER_LINE},
        {"{'stop':'END'," USER "}", "set stop=END\n" USER_LINE},
        {"{'stop':['a','\\n','']," USER "}", "set stop=a stop=\\n stop=\n" USER_LINE},
        {"{'max_tokens':10,'max_completion_tokens':20," USER "}", "set max_out=20\n" USER_LINE},
        {"{'max_completion_tokens':20,'max_tokens':10," USER "}", "set max_out=20\n" USER_LINE},
        {"{'max_tokens':10,'max_completion_tokens':null," USER "}", "set max_out=10\n" USER_LINE},
        {"{'max_tokens':1.0e2," USER "}", "set max_out=100\n" USER_LINE},
        {"{'n':2,'logprobs':true," USER "}", "set n=2 logprobs\n" USER_LINE},
        {"{'n':1,'logprobs':false," USER "}", USER_LINE},
        {"{'user':'u','safety_identifier':'s','service_tier':'flex','reasoning_effort':'high'," USER
         "}",
         "set effort=high user=s tier=flex\n" USER_LINE},
        {"{'response_format':{'type':'text'}," USER "}", USER_LINE},
        {"{'response_format':{'type':'json_object'}," USER "}", "set format=json\n" USER_LINE},
        {"{'response_format':{'type':'json_schema','json_schema':{'name':'r','strict':true,'"
         "description':'d',"
         "'schema':{'type':'object'}}}," USER "}",
         "set format=schema name=r schema={\"type\":\"object\"} strict=true\n" USER_LINE
         "dropped response_format.json_schema.description\n"},
        {"{'modalities':['text']," USER "}", USER_LINE},
    };
    CHECK(rows);
}

/* H033 */
static void a_null_is_absent(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'temperature':null,'tools':null,'stop':null,'max_tokens':null,'stream':null,'n':null,'"
         "user':null,"
         "'stream_options':null,'response_format':null,'tool_choice':null,'functions':null,'"
         "metadata':null," USER "}",
         USER_LINE},
        {"{'messages':[{'role':'assistant','content':null,'tool_calls':null,'refusal':null,'audio':"
         "null,"
         "'function_call':null,'annotations':[]}]}",
         "0 assistant\n"},
    };
    CHECK(rows);
}

static void what_has_no_place_is_kept_as_an_extra(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'logit_bias':{'1':-100},'store':true,'foo':{'bar':1.10},'m\\u0065tadata':{}," USER "}",
         USER_LINE "extra logit_bias={\"1\":-100}\nextra store=true\nextra "
                   "foo={\"bar\":1.10}\nextra metadata={}\n"},
        {"{'foo':1,'foo':2," USER "}", USER_LINE "extra foo=2\n"},
        {"{'messages':[{'role':'user','content':[{'type':'text','text':'q'}],'x':1,'y':null}]}",
         "0 user (text text=q)\ndropped messages.x\n"},
    };
    CHECK(rows);
}

/* H034 */
static void a_wrong_type_names_the_field(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"[]", "INVALID_VALUE "},
        {"{'stream':'true'," USER "}", "INVALID_VALUE stream"},
        {"{'max_tokens':'100'," USER "}", "INVALID_VALUE max_tokens"},
        {"{'max_tokens':1.5," USER "}", "INVALID_VALUE max_tokens"},
        {"{'max_completion_tokens':0," USER "}", "INVALID_VALUE max_completion_tokens"},
        {"{'max_tokens':-1," USER "}", "INVALID_VALUE max_tokens"},
        {"{'messages':{}}", "INVALID_VALUE messages"},
        {"{'messages':'hi'}", "INVALID_VALUE messages"},
        {"{'messages':[]}", "INVALID_VALUE messages"},
        {"{}", "INVALID_VALUE messages"},
        {"{'model':5," USER "}", "INVALID_VALUE model"},
        {"{'temperature':'0'," USER "}", "INVALID_VALUE temperature"},
        {"{'n':0," USER "}", "INVALID_VALUE n"},
        {"{'n':129," USER "}", "INVALID_VALUE n"},
        {"{'seed':'1'," USER "}", "INVALID_VALUE seed"},
        {"{'stop':5," USER "}", "INVALID_VALUE stop"},
        {"{'stop':['a',5]," USER "}", "INVALID_VALUE stop[1]"},
        {"{'stream_options':true," USER "}", "INVALID_VALUE stream_options"},
        {"{'stream_options':{'include_usage':1}," USER "}",
         "INVALID_VALUE stream_options.include_usage"},
        {"{'logprobs':1," USER "}", "INVALID_VALUE logprobs"},
        {"{'parallel_tool_calls':'no'," USER "}", "INVALID_VALUE parallel_tool_calls"},
        {"{'response_format':'json'," USER "}", "INVALID_VALUE response_format"},
        {"{'response_format':{'type':'xml'}," USER "}", "INVALID_VALUE response_format.type"},
        {"{'response_format':{}," USER "}", "INVALID_VALUE response_format.type"},
        {"{'response_format':{'type':'json_schema'}," USER "}",
         "INVALID_VALUE response_format.json_schema"},
        {"{'response_format':{'type':'json_schema','json_schema':{'strict':1}}," USER "}",
         "INVALID_VALUE response_format.json_schema.strict"},
        {"{'modalities':['text','audio']," USER "}", "UNSUPPORTED_PARAMETER modalities[1]"},
        {"{'modalities':[1]," USER "}", "INVALID_VALUE modalities[0]"},
        {"{'audio':{'voice':'x'}," USER "}", "UNSUPPORTED_PARAMETER audio"},
    };
    CHECK(rows);
    char *message =
        test_read_message(&api_openai_chat, "{'messages':[{'role':'user','content':5}]}");
    assert_string_equal(message,
                        "'messages[0].content' must be a string or an array, not a number.");
    free(message);
}

/* H028: which of two equal members an upstream would take is unknown. */
static void a_doubled_member_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'model':'a','model':'b'," USER "}", "INVALID_VALUE model"},
        {"{'model':'a','mod\\u0065l':'b'," USER "}", "INVALID_VALUE model"},
        {"{'stream':true,'stream':false," USER "}", "INVALID_VALUE stream"},
        {"{'max_tokens':1,'max_tokens':2," USER "}", "INVALID_VALUE max_tokens"},
        {"{'max_completion_tokens':1,'max_completion_tokens':2," USER "}",
         "INVALID_VALUE max_completion_tokens"},
        {"{'n':1,'n':2," USER "}", "INVALID_VALUE n"},
        {"{'temperature':1,'temperature':2," USER "}", "set temperature=2\n" USER_LINE},
    };
    CHECK(rows);
}

static void messages_become_turns_in_their_order(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* H035 */
        {"{'messages':[{'role':'system','content':'A'},{'role':'user','content':'u'},"
         "{'role':'developer','content':'B'},{'role':'assistant','content':'x'},"
         "{'role':'system','content':[{'type':'text','text':'C'},{'type':'text','text':''}]},"
         "{'role':'user','content':'v','name':'bob'}]}",
         "0 system plain (text text=A)\n1 user plain (text text=u)\n2 developer plain (text "
         "text=B)\n"
         "3 assistant plain (text text=x)\n4 system (text text=C) (text)\n5 user plain name=bob "
         "(text text=v)\ndropped messages.name\n"},
        /* H022, H023, H024: text stays as it was escaped */
        {"{'messages':[{'role':'user','content':'a\\u0000b\\ud83d caf\\u00e9 \\/'}]}",
         "0 user plain (text text=a\\u0000b\\ud83d caf\\u00e9 \\/)\n"},
        /* H038, H041, H042: arguments are text, whatever they hold */
        {"{'messages':[{'role':'assistant','content':null,'tool_calls':["
         "{'id':'c1','type':'function','function':{'name':'f','arguments':''}},"
         "{'id':'functions.get:0','type':'function','function':{'name':'g','arguments':'{\\\"a\\\":"
         " 1'}}]},"
         "{'role':'tool','tool_call_id':'c1','content':'1'},"
         "{'role':'tool','tool_call_id':'functions.get:0','content':[{'type':'text','text':'2'}]}]"
         "}",
         "0 assistant (call id=c1 name=f args=) (call id=functions.get:0 name=g args={\\\"a\\\": "
         "1)\n"
         "1 tool plain (result id=c1 (text text=1))\n2 tool (result id=functions.get:0 (text "
         "text=2))\n"},
        {"{'messages':[{'role':'tool','tool_call_id':'c1','content':null}]}",
         "0 tool plain (result id=c1)\n"},
        {"{'messages':[{'role':'assistant','content':[{'type':'text','text':'a'},{'type':'refusal',"
         "'refusal':'no'}]},"
         "{'role':'assistant','content':'b','refusal':'never'}]}",
         "0 assistant (text text=a) (refusal text=no)\n1 assistant plain (text text=b) (refusal "
         "text=never)\n"},
    };
    CHECK(rows);
}

static void the_deprecated_functions_are_tools_with_made_ids(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'functions':[{'name':'f','description':'d','parameters':{}}],'function_call':'auto','"
         "messages':["
         "{'role':'assistant','content':null,'function_call':{'name':'f','arguments':'{}'}},"
         "{'role':'assistant','content':null,'function_call':{'name':'f','arguments':'[]'}},"
         "{'role':'function','name':'f','content':'1'},{'role':'function','name':'f','content':"
         "null}]}",
         "0 assistant (call id=fc_0 name=f args={} legacy)\n1 assistant (call id=fc_1 name=f "
         "args=[] legacy)\n"
         "2 tool plain (result id=fc_1 legacy (text text=1))\n3 tool plain (result id=fc_0 "
         "legacy)\n"
         "tool name=f description=d schema={}\nchoice auto legacy\n"},
        {"{'functions':[{'name':'f'}],'function_call':{'name':'f'}," USER "}",
         USER_LINE "tool name=f\nchoice named name=f legacy\n"},
        {"{'functions':[{'name':'f'}],'function_call':'none'," USER "}",
         USER_LINE "tool name=f\nchoice none legacy\n"},
        {"{'functions':[{'name':'f'}],'function_call':{'name':'g'}," USER "}",
         "INVALID_VALUE function_call"},
        {"{'functions':[{'name':'f'}],'function_call':5," USER "}", "INVALID_VALUE function_call"},
        {"{'functions':[{'name':'f'}],'function_call':{}," USER "}",
         "INVALID_VALUE function_call.name"},
        {"{'functions':{}," USER "}", "INVALID_VALUE functions"},
        {"{'functions':[{}]," USER "}", "INVALID_VALUE functions[0].name"},
        {"{'tools':[{'type':'function','function':{'name':'f'}}],'functions':[{'name':'f'}]," USER
         "}",
         "INVALID_VALUE functions"},
        {"{'messages':[{'role':'function','name':'f','content':'1'}]}",
         "INVALID_VALUE messages[0].name"},
    };
    CHECK(rows);
}

static void thinking_comes_back_only_with_its_signature(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'messages':[{'role':'assistant','content':'a','reasoning_content':'h','thinking_blocks':"
         "["
         "{'type':'thinking','thinking':'h','signature':'S'},{'type':'redacted_thinking','data':'D'"
         "}]}]}",
         "0 assistant plain (thinking text=h signature=S) (redacted data=D) (text text=a)\n"},
        {"{'messages':[{'role':'assistant','content':'a','thinking_blocks':[{'type':'thinking','"
         "thinking':'h'}]}]}",
         "0 assistant plain (text text=a)\ndropped messages.thinking_blocks\n"},
        {"{'messages':[{'role':'assistant','content':'a','reasoning_content':'h'}]}",
         "0 assistant plain (text text=a)\ndropped messages.reasoning_content\n"},
        {"{'messages':[{'role':'assistant','content':'a','annotations':[{'type':'url_citation'}]}]"
         "}",
         "0 assistant plain (text text=a)\ndropped messages.annotations\n"},
    };
    CHECK(rows);
}

static void cache_marks_are_kept(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'messages':[{'role':'user','content':[{'type':'text','text':'a','cache_control':{'type':"
         "'ephemeral',"
         "'ttl':'1h'}},{'type':'text','text':'b','prompt_cache_breakpoint':{'mode':'explicit'}}]},"
         "{'role':'user','content':'c','cache_control':{'type':'ephemeral'}}],"
         "'tools':[{'type':'function','function':{'name':'f'},'cache_control':{'type':'ephemeral'}}"
         "]}",
         "0 user (text text=a cache={\"type\":\"ephemeral\",\"ttl\":\"1h\"}) "
         "(text text=b cache={\"type\":\"ephemeral\"})\n"
         "1 user plain (text text=c cache={\"type\":\"ephemeral\"})\ntool name=f "
         "cache={\"type\":\"ephemeral\"}\n"},
    };
    CHECK(rows);
}

static void a_bad_message_names_its_place(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'messages':['hi']}", "INVALID_VALUE messages[0]"},
        {"{'messages':[{'content':'hi'}]}", "INVALID_VALUE messages[0].role"},
        {"{'messages':[{'role':'robot','content':'hi'}]}", "INVALID_VALUE messages[0].role"},
        {"{'messages':[{'role':'user','content':'q'},{'role':'user'}]}",
         "INVALID_VALUE messages[1].content"},
        {"{'messages':[{'role':'system','content':null}]}", "INVALID_VALUE messages[0].content"},
        {"{'messages':[{'role':'user','content':{}}]}", "INVALID_VALUE messages[0].content"},
        {"{'messages':[{'role':'user','content':['hi']}]}", "INVALID_VALUE messages[0].content[0]"},
        {"{'messages':[{'role':'user','content':[{'type':'text'}]}]}",
         "INVALID_VALUE messages[0].content[0].text"},
        {"{'messages':[{'role':'user','content':[{'type':'smell'}]}]}",
         "INVALID_VALUE messages[0].content[0].type"},
        {"{'messages':[{'role':'user','content':[{'type':'refusal','refusal':'x'}]}]}",
         "INVALID_VALUE messages[0].content[0].type"},
        {"{'messages':[{'role':'system','content':[{'type':'image_url','image_url':{'url':'https://"
         "x'}}]}]}",
         "INVALID_VALUE messages[0].content[0].type"},
        {"{'messages':[{'role':'user','content':[{'type':'input_audio','input_audio':{}}]}]}",
         "UNSUPPORTED_PARAMETER messages[0].content[0]"},
        {"{'messages':[{'role':'assistant','audio':{'id':'a'}}]}",
         "UNSUPPORTED_PARAMETER messages[0].audio"},
        {"{'messages':[{'role':'tool','content':'1'}]}", "INVALID_VALUE messages[0].tool_call_id"},
        {"{'messages':[{'role':'tool','tool_call_id':1,'content':'1'}]}",
         "INVALID_VALUE messages[0].tool_call_id"},
        {"{'messages':[{'role':'assistant','tool_calls':{}}]}",
         "INVALID_VALUE messages[0].tool_calls"},
        {"{'messages':[{'role':'assistant','tool_calls':[{'type':'function','function':{'name':'f',"
         "'arguments':''}}]}]}",
         "INVALID_VALUE messages[0].tool_calls[0].id"},
        {"{'messages':[{'role':'assistant','tool_calls':[{'id':'c','function':{'arguments':''}}]}]"
         "}",
         "INVALID_VALUE messages[0].tool_calls[0].function.name"},
        {"{'messages':[{'role':'assistant','tool_calls':[{'id':'c','function':{'name':'f','"
         "arguments':{}}}]}]}",
         "INVALID_VALUE messages[0].tool_calls[0].function.arguments"},
        {"{'messages':[{'role':'assistant','tool_calls':[{'id':'c','type':'custom','custom':{'name'"
         ":'f'}}]}]}",
         "UNSUPPORTED_PARAMETER messages[0].tool_calls[0]"},
        {"{'messages':[{'role':'assistant','function_call':{'name':'f'}}]}",
         "INVALID_VALUE messages[0].function_call.arguments"},
        {"{'messages':[{'role':'assistant','thinking_blocks':5}]}",
         "INVALID_VALUE messages[0].thinking_blocks"},
    };
    CHECK(rows);
}

#define WITH(part) "{'messages':[{'role':'user','content':[" part "]}]}"
#define IMAGE(url) WITH("{'type':'image_url','image_url':{'url':'" url "'}}")

/* H054, H055 */
static void images_are_taken_apart(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {WITH("{'type':'image_url','image_url':{'url':'https://x.test/a.png?b','detail':'low'}}"),
         "0 user (image url=https://x.test/a.png?b detail=low)\ndropped "
         "messages.content.image_url.detail\n"},
        {IMAGE("data:image/jpg;charset=utf-8;base64,AA=="),
         "0 user (image media=image/jpeg data=AA==)\n"},
        {IMAGE("DATA:image/PNG;BASE64,AA=="), "0 user (image media=image/png data=AA==)\n"},
        {IMAGE("data:image/gif,%47%49"), "0 user (image media=image/gif data=R0k=)\n"},
        {IMAGE("data:image\\/webp;base64,A\\/A="), "0 user (image media=image/webp data=A/A=)\n"},
        {IMAGE("data:image/png;base64,A A\\nA%3D"), "0 user (image media=image/png data=AAA=)\n"},
        {IMAGE("data:image/svg+xml;base64,AA=="), "INVALID_VALUE messages[0].content[0]"},
        {IMAGE("data:image/png;base64,A!"), "INVALID_VALUE messages[0].content[0]"},
        {IMAGE("data:image/png;base64"), "INVALID_VALUE messages[0].content[0]"},
        {IMAGE("data:application/pdf;base64,JVBERi0="),
         "0 user (document media=application/pdf data=JVBERi0=)\n"},
        {IMAGE("data:text/plain;base64,YSJiCg=="), "0 user (document text=a\\\"b\\n)\n"},
        {IMAGE("data:,hello%20you"), "0 user (document text=hello you)\n"},
        {IMAGE("https://x.test/A.PDF?v=1#p"), "0 user (document url=https://x.test/A.PDF?v=1#p)\n"},
        {IMAGE("file:///etc/passwd"), "INVALID_VALUE messages[0].content[0]"},
        {IMAGE(""), "INVALID_VALUE messages[0].content[0]"},
        {WITH("{'type':'image_url','image_url':'https://x'}"),
         "INVALID_VALUE messages[0].content[0].image_url"},
        {WITH("{'type':'image_url','image_url':{}}"),
         "INVALID_VALUE messages[0].content[0].image_url.url"},
    };
    CHECK(rows);
}

static void files_become_documents(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {WITH("{'type':'file','file':{'filename':'a.pdf','file_data':'data:application/"
              "pdf;base64,JVBERi0='}}"),
         "0 user (document media=application/pdf data=JVBERi0= title=a.pdf)\n"},
        {WITH("{'type':'file','file':{'file_data':'JVBE Ri0='}}"),
         "0 user (document media=application/pdf data=JVBERi0=)\n"},
        {WITH("{'type':'file','file':{'file_id':'file_1'}}"),
         "UNSUPPORTED_PARAMETER messages[0].content[0]"},
        {WITH("{'type':'file','file':{'filename':'a'}}"), "INVALID_VALUE messages[0].content[0]"},
        {WITH("{'type':'file','file':{'file_data':'%%%'}}"),
         "INVALID_VALUE messages[0].content[0]"},
        {WITH("{'type':'file'}"), "INVALID_VALUE messages[0].content[0].file"},
    };
    CHECK(rows);
}

#define TOOLS                                                                                      \
    "'tools':[{'type':'function','function':{'name':'f'}},{'type':'function','function':{'name':'" \
    "g'}}]"

static void tools_are_kept_verbatim(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* H027, H057 */
        {"{'tools':[{'type':'function','function':{'name':'f','description':'d','strict':false,"
         "'parameters':{'z':1, "
         "'$defs':{},'type':'object','x-foo':5.50}}},{'type':'function','function':{'name':'now'}}]"
         "," USER "}",
         USER_LINE "tool name=f description=d schema={\"z\":1, "
                   "\"$defs\":{},\"type\":\"object\",\"x-foo\":5.50} "
                   "strict=false\ntool name=now\n"},
        {"{'tools':[{'type':'custom','custom':{'name':'c','format':{'type':'text'}}}]," USER "}",
         USER_LINE
         "tool custom name=c "
         "raw={\"type\":\"custom\",\"custom\":{\"name\":\"c\",\"format\":{\"type\":\"text\"}}}\n"},
        {"{'tools':[]," USER "}", USER_LINE},
        {"{'tools':{}," USER "}", "INVALID_VALUE tools"},
        {"{'tools':[5]," USER "}", "INVALID_VALUE tools[0]"},
        {"{'tools':[{}]," USER "}", "INVALID_VALUE tools[0].type"},
        {"{'tools':[{'type':'function'}]," USER "}", "INVALID_VALUE tools[0].function"},
        {"{'tools':[{'type':'function','function':{'name':''}}]," USER "}",
         "INVALID_VALUE tools[0].function.name"},
        {"{'tools':[{'type':'function','function':{'name':'a b'}}]," USER "}",
         "INVALID_VALUE tools[0].function.name"},
        {"{'tools':[{'type':'custom'}]," USER "}", "INVALID_VALUE tools[0].custom.name"},
        {"{'tools':[{'type':'function','function':{'name':'f','parameters':'x'}}]," USER "}",
         "INVALID_VALUE tools[0].function.parameters"},
    };
    CHECK(rows);
}

static void the_choice_of_tools_is_read_in_every_form(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{" TOOLS ",'tool_choice':'auto'," USER "}",
         USER_LINE "tool name=f\ntool name=g\nchoice auto\n"},
        {"{" TOOLS ",'tool_choice':'none'," USER "}",
         USER_LINE "tool name=f\ntool name=g\nchoice none\n"},
        {"{" TOOLS ",'tool_choice':'required','parallel_tool_calls':true," USER "}",
         USER_LINE "tool name=f\ntool name=g\nchoice any parallel\n"},
        {"{" TOOLS ",'parallel_tool_calls':false," USER "}",
         USER_LINE "tool name=f\ntool name=g\nchoice unset serial\n"},
        {"{" TOOLS ",'tool_choice':{'type':'function','function':{'name':'g'}}," USER "}",
         USER_LINE "tool name=f\ntool name=g\nchoice named name=g\n"},
        {"{" TOOLS ",'tool_choice':{'type':'function','function':{'name':'h'}}," USER "}",
         "INVALID_VALUE tool_choice"},
        {"{'tool_choice':{'type':'function','function':{'name':'h'}}," USER "}",
         "INVALID_VALUE tool_choice"},
        {"{" TOOLS ",'tool_choice':{'type':'function'}," USER "}",
         "INVALID_VALUE tool_choice.function.name"},
        {"{" TOOLS ",'tool_choice':'maybe'," USER "}", "INVALID_VALUE tool_choice"},
        {"{" TOOLS
         ",'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'required','tools':["
         "{'type':'function','function':{'name':'g'}}]}}," USER "}",
         USER_LINE "tool name=g\nchoice any\n"},
        {"{" TOOLS
         ",'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'auto','tools':[]}}," USER
         "}",
         USER_LINE "choice auto\n"},
        {"{" TOOLS ",'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'auto','tools':["
         "{'type':'function','function':{'name':'h'}}]}}," USER "}",
         "INVALID_VALUE tool_choice.allowed_tools.tools[0]"},
        {"{" TOOLS
         ",'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'all','tools':[]}}," USER
         "}",
         "INVALID_VALUE tool_choice.allowed_tools.mode"},
    };
    CHECK(rows);
}

static void too_many_tools_are_refused(void **state)
{
    (void)state;
    struct buf body = {0};
    buf_append_str(&body, "{'messages':[{'role':'user','content':'q'}],'tools':[");
    for (int i = 0; i < 129; i++)
        buf_printf(&body, "%s{'type':'function','function':{'name':'f%d'}}", i ? "," : "", i);
    buf_append_str(&body, "]}");
    buf_append_char(&body, '\0');
    char *got = test_read(&api_openai_chat, body.data);
    assert_string_equal(got, "INVALID_VALUE tools");
    free(got);
    buf_free(&body);
}

/* before, n times each, after: refused with n, read with one less. */
static void expect_bound(const struct api_ops *api, const char *before, const char *each,
                         const char *after, int n, const char *refusal)
{
    for (int most = n - 1; most <= n; most++) {
        struct buf body = {0};
        buf_append_str(&body, before);
        for (int i = 0; i < most; i++)
            buf_printf(&body, "%s%s", i ? "," : "", each);
        buf_append_str(&body, after);
        buf_append_char(&body, '\0');
        char *got = test_read(api, body.data);
        if (most == n)
            assert_string_equal(got, refusal);
        else
            assert_null(strstr(got, "INVALID"));
        free(got);
        buf_free(&body);
    }
}

static void there_is_an_end_to_what_one_request_may_list(void **state)
{
    (void)state;
    expect_bound(&api_openai_chat,
                 "{'messages':[{'role':'user','content':'q'},{'role':'assistant','tool_calls':[",
                 "{'id':'a','function':{'name':'f','arguments':''}}", "]}]}", 100001,
                 "INVALID_VALUE messages[1].tool_calls[100000]");
    expect_bound(&api_anthropic_messages,
                 "{'max_tokens':1,'messages':[{'role':'assistant','content':[",
                 "{'type':'tool_use','id':'a','name':'f','input':{}}", "]}]}", 100001,
                 "INVALID_VALUE messages[0].content[100000]");
    expect_bound(&api_openai_chat, "{'messages':[{'role':'user','content':'q'}],'stop':[", "'a'",
                 "]}", 257, "INVALID_VALUE stop");
    expect_bound(&api_openai_chat,
                 "{'messages':[{'role':'user','content':'q'}],'tools':[{'type':'function',"
                 "'function':{'name':'f'}}],'tool_choice':{'type':'allowed_tools',"
                 "'allowed_tools':{'mode':'auto','tools':[",
                 "{'type':'function','function':{'name':'f'}}", "]}}}", 129,
                 "INVALID_VALUE tool_choice.allowed_tools.tools");
}

/* Unknown names end in a header: they stay few and harmless. */
static void invented_names_stay_harmless(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'messages':[{'role':'user','content':'q','a\\r\\nSet-Cookie: x':1,'b\\u0000c':1}]}",
         "0 user plain (text text=q)\ndropped messages.a?r?nSet-Cookie??x\ndropped "
         "messages.b?u0000c\n"},
    };
    CHECK(rows);
}

/* Every cut of a valid body is refused as JSON or read without harm. */
static void no_truncated_or_changed_body_does_harm(void **state)
{
    (void)state;
    char *body = test_quoted(
        "{'model':'m','messages':[{'role':'user','content':[{'type':'text','text':'a'},{'type':'"
        "image_url','image_url':"
        "{'url':'data:image/"
        "png;base64,AA=='}}]},{'role':'assistant','content':null,'tool_calls':[{'id':'c','type':"
        "'function','function':{'name':'f','arguments':'{}'}}]},{'role':'tool','tool_call_id':'c','"
        "content':'1'}],"
        "'tools':[{'type':'function','function':{'name':'f','parameters':{}}}],'tool_choice':'auto'"
        ",'stop':['x'],'n':1}");
    size_t n = strlen(body);
    static const char replacements[] = {'1', '"', 'n', '[', '}', ' '};
    for (size_t i = 0; i < n; i++) {
        free(test_read_raw(&api_openai_chat, span_of(body, i)));
        for (size_t k = 0; k < sizeof replacements; k++) {
            char kept = body[i];
            body[i] = replacements[k];
            free(test_read_raw(&api_openai_chat, span_of(body, n)));
            body[i] = kept;
        }
    }
    free(body);
}

static void a_full_arena_is_said_and_never_a_crash(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{'model':'m','stop':['a','b'],'foo':1,'b\\u0061r':2,'messages':[{'role':'system','content'"
        ":[{'type':'text',"
        "'text':'s'}]},{'role':'user','content':[{'type':'text','text':'a'},{'type':'image_url','"
        "image_url':{'url':"
        "'data:image\\/png;base64,A "
        "A\\nAA'}},{'type':'image_url','image_url':{'url':'data:image/gif,%47%49'}},"
        "{'type':'image_url','image_url':{'url':'data:text/"
        "plain,hello'}},{'type':'file','file':{'file_data':'A A'}}]},"
        "{'role':'assistant','content':'x','refusal':'no','thinking_blocks':[{'type':'thinking','"
        "thinking':'t',"
        "'signature':'s'},{'type':'redacted_thinking','data':'d'}],'tool_calls':[{'id':'c','type':'"
        "function','function':"
        "{'name':'f','arguments':'{}'}}]},{'role':'tool','tool_call_id':'c','content':[{'type':'"
        "text','text':'1'}],'q':1}],"
        "'tools':[{'type':'function','function':{'name':'f','x':1}}]}",
        "{'stop':'x','messages':[{'role':'assistant','content':[{'type':'refusal','refusal':'r'}],'"
        "function_call':{'name':"
        "'f','arguments':''}},{'role':'function','name':'f','content':'1'}],'functions':[{'name':'"
        "f'}]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        test_read_bounded(&api_openai_chat, bodies[i]);
}

static void a_full_arena_is_said_at_every_kind_of_part(void **state)
{
    (void)state;
    test_read_bounded(
        &api_openai_chat,
        "{'messages':[{'role':'user','content':'a'},{'role':'user','content':[{'type':'text','text'"
        ":'a'}]},{'role':'user','content':[{'type':'image_url','image_url':{'url':'https://"
        "x','detail':'auto'}}]},{'role':'user','content':[{'type':'image_url','image_url':{'url':'"
        "https://x/"
        "a.pdf','detail':'low'}}]},{'role':'user','content':[{'type':'file','file':{'file_data':'"
        "data:application/"
        "pdf;base64,AA'}}]},{'role':'user','content':[{'type':'image_url','image_url':{'url':'data:"
        "text/"
        "plain,hello'}}]},{'role':'user','content':[{'type':'image_url','image_url':{'url':'data:"
        "text/"
        "plain,'}}]},{'role':'assistant','content':[{'type':'refusal','refusal':'r'}]},{'role':'"
        "assistant','refusal':'r'},{'role':'assistant','thinking_blocks':[{'type':'thinking','"
        "thinking':'t','signature':'s'}]},{'role':'assistant','thinking_blocks':[{'type':'redacted_"
        "thinking','data':'d'}]},{'role':'assistant','reasoning_content':'t'},{'role':'assistant','"
        "tool_calls':[{'id':'c','type':'function','function':{'name':'f','arguments':'{}'}}]},{'"
        "role':'tool','tool_call_id':'c','content':'1'},{'role':'system','content':'s'}]}");
}

static void a_tools_name_is_of_few_characters(void **state)
{
    (void)state;
    for (const char *c = "/:@[`{ .,"; *c; c++) {
        char body[256];
        (void)snprintf(body, sizeof body,
                       "{'messages':[{'role':'user','content':'q'}],'tools':[{'type':'function',"
                       "'function':{'name':'aZ09_-%c'}}]}",
                       *c);
        char *got = test_read(&api_openai_chat, body);
        assert_string_equal(got, "INVALID_VALUE tools[0].function.name");
        free(got);
    }
}

static void rarer_forms_are_read_too(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{'messages':[{'role':'assistant','thinking_blocks':[{'type':'redacted_thinking'},{'type':"
         "'thinking',"
         "'signature':''},5]}]}",
         "0 assistant\ndropped messages.thinking_blocks\n"},
        {"{'messages':[{'role':'assistant','cache_control':{}}]}", "0 assistant\n"},
        {"{'messages':[{'role':'assistant','function_call':{'arguments':''}}]}",
         "INVALID_VALUE messages[0].function_call.name"},
        {"{'messages':[{'role':'assistant','function_call':{'name':'f','arguments':''}},"
         "{'role':'function','name':'g','content':'1'}]}",
         "INVALID_VALUE messages[1].name"},
        {"{'messages':[{'role':'function','content':'1'}]}", "INVALID_VALUE messages[0].name"},
        {IMAGE("http://x.test/p"), "0 user (image url=http://x.test/p)\n"},
        {IMAGE("data:text/plain;base64,"), "0 user (document)\n"},
        {IMAGE("data:text/plain;base64,=="), "0 user (document)\n"},
        {"{'tools':[{'type':'custom','custom':{'name':'c'}},{'type':'function','function':{'name':'"
         "f'}}],"
         "'tool_choice':{'type':'custom','custom':{'name':'c'}}," USER "}",
         USER_LINE "tool custom name=c raw={\"type\":\"custom\",\"custom\":{\"name\":\"c\"}}\n"
                   "tool name=f\nchoice named name=c\n"},
        {"{'tools':[{'type':'custom','custom':{'name':'c'}},{'type':'function','function':{'name':'"
         "f'}}],"
         "'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'auto','tools':[{'type':'"
         "custom','custom':"
         "{'name':'c'}}]}}," USER "}",
         USER_LINE
         "tool custom name=c raw={\"type\":\"custom\",\"custom\":{\"name\":\"c\"}}\nchoice auto\n"},
        {"{" TOOLS
         ",'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'auto','tools':[5]}}," USER
         "}",
         "INVALID_VALUE tool_choice.allowed_tools.tools[0].function.name"},
        {"{" TOOLS ",'tool_choice':5," USER "}", "INVALID_VALUE tool_choice"},
    };
    CHECK(rows);
}

static void there_is_an_end_to_messages_and_open_calls(void **state)
{
    (void)state;
    struct buf body = {0};
    buf_append_str(&body, "{\"messages\":[");
    for (int i = 0; i < 100001; i++)
        buf_append_str(&body, i ? ",5" : "5");
    buf_append_str(&body, "]}");
    char *got = test_read_raw(&api_openai_chat, buf_span(&body));
    assert_string_equal(got, "INVALID_VALUE messages");
    free(got);
    buf_clear(&body);
    buf_append_str(&body, "{\"messages\":[");
    for (int i = 0; i < 100; i++)
        buf_append_str(
            &body,
            "{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}},");
    for (int i = 0; i < 65; i++)
        buf_printf(&body, "%s{\"role\":\"function\",\"name\":\"f\",\"content\":\"1\"}",
                   i ? "," : "");
    buf_append_str(&body, "]}");
    got = test_read_raw(&api_openai_chat, buf_span(&body));
    assert_string_equal(got, "INVALID_VALUE messages[164].name");
    free(got);
    buf_free(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_has_its_place),
        cmocka_unit_test(a_null_is_absent),
        cmocka_unit_test(what_has_no_place_is_kept_as_an_extra),
        cmocka_unit_test(a_wrong_type_names_the_field),
        cmocka_unit_test(a_doubled_member_is_refused),
        cmocka_unit_test(messages_become_turns_in_their_order),
        cmocka_unit_test(the_deprecated_functions_are_tools_with_made_ids),
        cmocka_unit_test(thinking_comes_back_only_with_its_signature),
        cmocka_unit_test(cache_marks_are_kept),
        cmocka_unit_test(a_bad_message_names_its_place),
        cmocka_unit_test(images_are_taken_apart),
        cmocka_unit_test(files_become_documents),
        cmocka_unit_test(tools_are_kept_verbatim),
        cmocka_unit_test(the_choice_of_tools_is_read_in_every_form),
        cmocka_unit_test(too_many_tools_are_refused),
        cmocka_unit_test(there_is_an_end_to_what_one_request_may_list),
        cmocka_unit_test(invented_names_stay_harmless),
        cmocka_unit_test(no_truncated_or_changed_body_does_harm),
        cmocka_unit_test(a_full_arena_is_said_and_never_a_crash),
        cmocka_unit_test(a_full_arena_is_said_at_every_kind_of_part),
        cmocka_unit_test(a_tools_name_is_of_few_characters),
        cmocka_unit_test(rarer_forms_are_read_too),
        cmocka_unit_test(there_is_an_end_to_messages_and_open_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
