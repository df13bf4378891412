#include "common/fetch/failure.h"

enum meaning { CANT_REACH, TLS, TIMED_OUT, BROKE, GARBAGE, OURS };

static const struct {
    CURLcode code;
    enum meaning meaning;
} meanings[] = {
    {CURLE_COULDNT_RESOLVE_PROXY, CANT_REACH},
    {CURLE_COULDNT_RESOLVE_HOST, CANT_REACH},
    {CURLE_COULDNT_CONNECT, CANT_REACH},
    {CURLE_PROXY, CANT_REACH},
    {CURLE_INTERFACE_FAILED, CANT_REACH},
    {CURLE_OPERATION_TIMEDOUT, TIMED_OUT},
    {CURLE_SSL_CONNECT_ERROR, TLS},
    {CURLE_PEER_FAILED_VERIFICATION, TLS},
    {CURLE_SSL_ENGINE_NOTFOUND, TLS},
    {CURLE_SSL_ENGINE_SETFAILED, TLS},
    {CURLE_SSL_CERTPROBLEM, TLS},
    {CURLE_SSL_CIPHER, TLS},
    {CURLE_SSL_CACERT_BADFILE, TLS},
    {CURLE_SSL_CRL_BADFILE, TLS},
    {CURLE_SSL_ISSUER_ERROR, TLS},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, TLS},
    {CURLE_SSL_INVALIDCERTSTATUS, TLS},
    {CURLE_USE_SSL_FAILED, TLS},
    {CURLE_WEIRD_SERVER_REPLY, GARBAGE},
    {CURLE_UNSUPPORTED_PROTOCOL, GARBAGE}, /* HTTP/0.9 */
    {CURLE_BAD_CONTENT_ENCODING, GARBAGE},
#if LIBCURL_VERSION_NUM >= 0x080600
    {CURLE_TOO_LARGE, GARBAGE},
#endif
    {CURLE_SEND_ERROR, BROKE},
    {CURLE_RECV_ERROR, BROKE},
    {CURLE_GOT_NOTHING, BROKE},
    {CURLE_PARTIAL_FILE, BROKE},
    {CURLE_SEND_FAIL_REWIND, BROKE}, /* curl wanted to send the POST a second time */
    {CURLE_ABORTED_BY_CALLBACK, BROKE},
    {CURLE_HTTP2, BROKE},
    {CURLE_HTTP2_STREAM, BROKE},
    {CURLE_OUT_OF_MEMORY, OURS},
    {CURLE_FAILED_INIT, OURS},
    {CURLE_URL_MALFORMAT, OURS},
    {CURLE_BAD_FUNCTION_ARGUMENT, OURS},
    {CURLE_NO_CONNECTION_AVAILABLE, OURS},
};

static enum meaning meaning_of(CURLcode code)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (meanings[i].code == code)
            return meanings[i].meaning;
    return BROKE;
}

#define FAILURE(name, text) ((struct fetch_failure){ERROR_##name, SPAN(text), os_errno})

struct fetch_failure fetch_failure_of(CURLcode code, bool sent, bool headed, long os_errno)
{
    enum meaning meaning = meaning_of(code);
    /* A handshake cut by the network is no TLS problem: another attempt may do. */
    if (meaning == TLS && code == CURLE_SSL_CONNECT_ERROR && os_errno != 0)
        meaning = CANT_REACH;
    /* libcurl 7.88 calls a head above 300 KB so, after the request has been sent. */
    if (code == CURLE_OUT_OF_MEMORY && sent)
        meaning = GARBAGE;
    if (meaning == BROKE && !sent)
        meaning = CANT_REACH;
    switch (meaning) {
    case CANT_REACH:
        return FAILURE(UPSTREAM_UNREACHABLE, "The upstream could not be reached.");
    case TLS:
        return FAILURE(UPSTREAM_TLS, "No secure connection to the upstream could be made.");
    case TIMED_OUT:
        return sent ? FAILURE(UPSTREAM_TIMEOUT, "The upstream did not answer in time.")
                    : FAILURE(UPSTREAM_CONNECT_TIMEOUT, "No connection to the upstream in time.");
    case BROKE:
        return headed ? FAILURE(UPSTREAM_CLOSED,
                                "The upstream closed the connection within its answer.")
                      : FAILURE(UPSTREAM_RESET,
                                "The upstream closed the connection without an answer.");
    case GARBAGE:
        return FAILURE(UPSTREAM_PROTOCOL, "The upstream's answer was not valid HTTP.");
    case OURS:
        return FAILURE(UPSTREAM_UNREACHABLE,
                       "The service could not make the request to the provider.");
    }
    return FAILURE(UPSTREAM_ERROR, "The upstream request failed.");
}
