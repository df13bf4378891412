/* clang-format off */
/* The neutral form between client protocols and providers (docs/wire.md): a request as
 * read, an answer as events. Two kinds of text, never mixed:
 *
 *   *_text   the bytes between the quotes of a JSON string, still escaped: copied from JSON to JSON
 *            untouched, so that escapes and lone surrogates survive
 *   *_json   a whole JSON value, verbatim: numbers keep their digits
 *
 * Everything is a view of the client's body or of the arena, and lives as long as both. An empty
 * span is absent. */
/* clang-format on */
#ifndef SERVICES_WORKER_NEUTRAL_NEUTRAL_H
#define SERVICES_WORKER_NEUTRAL_NEUTRAL_H

#include "common/base/arena.h"
#include "common/base/json.h"
#include "common/base/tariff.h"
#include "proto/api.h"
#include "proto/api_error.h"

/* ---- request ---- */
enum part_kind {
    PART_TEXT,      /* text */
    PART_REFUSAL,   /* text */
    PART_IMAGE,     /* url_text, or media_type_text + data_text (base64) */
    PART_DOCUMENT,  /* url_text, or media_type_text + data_text, or text (plain); title_text,
                       context_text */
    PART_SEARCH,    /* search_result: raw_json */
    PART_TOOL_CALL, /* id_text, name_text, args_text (OpenAI: a string) or args_json (Anthropic: an
                       object) */
    PART_TOOL_RESULT, /* id_text, parts, is_error */
    PART_THINKING,    /* text, signature_text */
    PART_REDACTED,    /* data_text */
    PART_OPAQUE       /* a block only its own protocol knows (server_tool_use, …): raw_json */
};

struct part {
    enum part_kind kind;
    struct span text;
    struct span url_text;
    struct span media_type_text;
    struct span data_text;
    struct span title_text;
    struct span context_text;
    struct span id_text;
    struct span name_text;
    struct span args_text;
    struct span args_json;
    struct span signature_text;
    struct span raw_json;
    struct span cache_json;  /* cache_control's value, when the part carries a mark */
    struct span detail_text; /* image_url.detail */
    struct part_list *parts; /* TOOL_RESULT's content */
    bool is_error;
    bool legacy_function; /* function_call / role function (deprecated pair) */
};

struct part_list {
    struct part *items;
    size_t count, cap;
};

enum role { ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL };

struct turn {
    enum role role;
    struct part_list parts;
    struct span name_text;
    bool plain;     /* content was one string, not a list of parts */
    unsigned index; /* in the client's messages array, for error params */
};

struct tool {
    struct span name_text;
    struct span description_text;
    struct span schema_json; /* parameters / input_schema */
    struct span strict_json; /* true / false */
    struct span cache_json;
    struct span raw_json;  /* a server tool (Anthropic, dated type) or a custom tool, verbatim */
    struct span type_text; /* of a server tool: "web_search_20250305" */
    bool server;           /* runs at the provider; only its own protocol knows it */
    bool custom;           /* OpenAI type custom */
};

enum tool_mode { TOOLS_UNSET, TOOLS_AUTO, TOOLS_ANY, TOOLS_NONE, TOOLS_NAMED };
enum tristate { UNSET, NO, YES };
enum thinking_mode { THINKING_UNSET, THINKING_OFF, THINKING_BUDGET, THINKING_ADAPTIVE };
enum format_kind { FORMAT_TEXT, FORMAT_JSON, FORMAT_SCHEMA };

/* A member of the client's request that the neutral form has no place for. */
struct extra {
    const char *name; /* NUL-terminated, unescaped */
    struct span json;
};

struct responses_request; /* api/responses.h */

struct neutral_request {
    enum api api; /* where it came from */
    struct arena *arena;
    struct responses_request *responses; /* of API_OPENAI_RESPONSES: what its answer must know */

    struct part_list system; /* Anthropic's top-level system; OpenAI's stay in place as turns */
    struct turn *turns;
    size_t turn_count;

    /* legacy completions with several prompts: each one is a request of its own */
    struct span *prompts_text;
    size_t prompt_count; /* 0 unless API_OPENAI_COMPLETIONS */
    bool echo;

    struct tool *tools;
    size_t tool_count;
    enum tool_mode tool_mode;
    struct span tool_name_text; /* TOOLS_NAMED */
    enum tristate parallel_tools;
    bool legacy_functions; /* the client used functions / function_call: answer in kind */

    bool has_max_out;
    int64_t max_out; /* as the client gave it; 0 is legal only from Anthropic clients */
    struct span temperature_json, top_p_json, top_k_json;
    struct span frequency_penalty_json, presence_penalty_json, seed_json;
    struct span *stop_text;
    size_t stop_count;
    struct span effort_text; /* OpenAI reasoning_effort, or Anthropic output_config.effort */
    enum thinking_mode thinking;
    int64_t thinking_budget;
    enum format_kind format;
    struct span format_name_text, format_schema_json, format_strict_json;
    struct span user_text;
    struct span service_tier_text;
    struct span cache_json; /* Anthropic's top-level cache_control */

    int64_t n; /* 1 unless given */
    bool logprobs;
    bool stream;
    bool want_usage; /* stream_options.include_usage */

    struct extra *extras;
    size_t extra_count;
    /* Names that will not reach the upstream; joined into x-tollgate-dropped. Appended by readers
     * and builders alike. */
    const char **dropped;
    size_t dropped_count, dropped_cap;
};

/* Remembers that a member is not sent; once each. */
void neutral_drop(struct neutral_request *r, const char *name);
/* The member that the turns came from, for error params. */
const char *neutral_turns_name(const struct neutral_request *r);
/* A new zeroed element at the end; NULL when the arena is full. */
struct part *part_list_add(struct part_list *list, struct arena *arena);

/* ---- answer ---- */
enum event_kind {
    EVENT_START,           /* id_text, model_text; usage if known already */
    EVENT_TEXT,            /* text */
    EVENT_REFUSAL,         /* text: refusal deltas, or the whole explanation */
    EVENT_THINK,           /* text */
    EVENT_THINK_SIGNATURE, /* text: ends the current thinking block */
    EVENT_REDACTED,        /* text: data */
    EVENT_TOOL_BEGIN,      /* slot, id_text (may be empty), name_text */
    EVENT_TOOL_ARGS,       /* slot, text: json text of a piece of the arguments' JSON */
    EVENT_TOOL_END,        /* slot */
    EVENT_USAGE,           /* usage: only the fields present; merge, never add */
    EVENT_STOP,            /* stop, stop_sequence_text */
    EVENT_PING,
    EVENT_END,  /* complete; last */
    EVENT_ERROR /* fault; last */
};

enum stop_reason {
    STOP_UNKNOWN,
    STOP_END,
    STOP_SEQUENCE,
    STOP_LENGTH,
    STOP_CONTEXT, /* the model's window is full */
    STOP_TOOL,
    STOP_FILTER, /* refusal, content filter */
    STOP_PAUSE
};

/* Token counts; UINT64_MAX = not reported. input is all of it: cached and cache-written ones
 * included (OpenAI's sense). */
#define USAGE_UNKNOWN UINT64_MAX
struct usage {
    uint64_t input, cached, cache_write, output, reasoning; /* reasoning is inside of output */
    uint64_t cache_write_1h;     /* of cache_write; known where the upstream tells the two apart */
    uint64_t calls[TARIFF_FEES]; /* of tools that run at the provider, as far as they are billed */
    bool estimated;              /* some of it is the gateway's guess */
    bool stated;                 /* the provider has said what it costs: stated_nano */
    uint64_t stated_nano;
    enum service_tier tier;
    struct span service_tier_text;
};
#define USAGE_NONE                                                                                 \
    ((struct usage){.input = USAGE_UNKNOWN,                                                        \
                    .cached = USAGE_UNKNOWN,                                                       \
                    .cache_write = USAGE_UNKNOWN,                                                  \
                    .output = USAGE_UNKNOWN,                                                       \
                    .reasoning = USAGE_UNKNOWN,                                                    \
                    .cache_write_1h = USAGE_UNKNOWN})
/* Fields of `from` that are known replace those of `into`. */
void usage_merge(struct usage *into, const struct usage *from);

struct neutral_event {
    enum event_kind kind;
    uint32_t slot; /* tools: which call. Legacy completions of several prompts: TEXT and STOP carry
                    * the prompt's index (set by pipeline.c; one START, one summed USAGE and one END
                    * for all of them) */
    struct span text;
    struct span id_text;
    struct span model_text;
    struct span name_text;
    struct span stop_sequence_text;
    enum stop_reason stop;
    struct usage usage;
    struct api_error fault;
};

/* Takes one event; its spans are valid only until it returns. */
typedef void (*neutral_sink)(void *ctx, const struct neutral_event *e);

#endif
