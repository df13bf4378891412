#include "common/fetch/failure.h"

#include <errno.h>

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

/* ---- reasons ---- */

/* X509_V_ERR_ of openssl/x509_vfy.h: they are OpenSSL's interface, and don't change. A name that
 * does not match is libcurl's own finding, in a certificate that OpenSSL has let pass: then 1, with
 * which libcurl begins, still stands. */
static enum reason certificate_reason(long verify_result)
{
    switch (verify_result) {
    case 0:
    case 1:
    case 62: /* HOSTNAME_MISMATCH */
    case 64: /* IP_ADDRESS_MISMATCH */
        return REASON_TLS_WRONG_NAME;
    case 9: /* CERT_NOT_YET_VALID */
        return REASON_TLS_NOT_YET_VALID;
    case 10: /* CERT_HAS_EXPIRED */
        return REASON_TLS_EXPIRED;
    case 23: /* CERT_REVOKED */
        return REASON_TLS_REVOKED;
    default:
        return REASON_TLS_UNTRUSTED;
    }
}

static enum reason tls_reason(CURLcode code, const struct fetch_facts *facts)
{
    if (code == CURLE_SSL_CACERT_BADFILE)
        return REASON_TLS_CA_FILE;
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        return certificate_reason(facts->verify_result);
    return REASON_TLS_HANDSHAKE;
}

static enum reason errno_reason(long os_errno)
{
    switch (os_errno) {
    case ECONNREFUSED:
        return REASON_REFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
    case ENETDOWN:
        return REASON_NO_ROUTE;
    case ETIMEDOUT:
        return REASON_SLOW_CONNECT;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return REASON_RESET;
    default:
        return REASON_NONE;
    }
}

static enum reason proxy_reason(const struct fetch_facts *facts)
{
    if (facts->connect_code && facts->connect_code / 100 != 2)
        return REASON_PROXY_DENIED;
    return facts->os_errno == ECONNREFUSED ? REASON_PROXY_REFUSED : REASON_PROXY_UNREACHABLE;
}

/* Of one that has no connection. */
static enum reason connect_reason(CURLcode code, const struct fetch_facts *facts)
{
    if (code == CURLE_COULDNT_RESOLVE_HOST)
        return REASON_DNS;
    if (code == CURLE_COULDNT_RESOLVE_PROXY)
        return REASON_PROXY_DNS;
    if (facts->by_proxy)
        return proxy_reason(facts);
    enum reason reason = errno_reason(facts->os_errno);
    return reason == REASON_NONE && code != CURLE_COULDNT_CONNECT ? REASON_RESET : reason;
}

/* ---- classes ---- */

#define FAILURE(name, text, why)                                                                   \
    ((struct fetch_failure){ERROR_##name, SPAN(text), (why), facts.os_errno})

struct fetch_facts fetch_facts_of(CURL *easy, bool by_proxy)
{
    struct fetch_facts facts = {.by_proxy = by_proxy};
    (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &facts.os_errno);
    (void)curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &facts.verify_result);
    (void)curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &facts.connect_code);
    return facts;
}

struct fetch_failure fetch_failure_of(CURLcode code, bool sent, bool headed,
                                      struct fetch_facts facts)
{
    enum meaning meaning = meaning_of(code);
    /* A handshake cut by the network is no TLS problem: another attempt may do. */
    if (meaning == TLS && code == CURLE_SSL_CONNECT_ERROR && facts.os_errno != 0)
        meaning = CANT_REACH;
    /* libcurl 7.88 calls a head above 300 KB so, after the request has been sent. */
    if (code == CURLE_OUT_OF_MEMORY && sent)
        meaning = GARBAGE;
    if (meaning == BROKE && !sent)
        meaning = CANT_REACH;
    switch (meaning) {
    case CANT_REACH:
        return FAILURE(UPSTREAM_UNREACHABLE, "The upstream could not be reached.",
                       connect_reason(code, &facts));
    case TLS:
        return FAILURE(UPSTREAM_TLS, "No secure connection to the upstream could be made.",
                       tls_reason(code, &facts));
    case TIMED_OUT:
        return sent ? FAILURE(UPSTREAM_TIMEOUT, "The upstream did not answer in time.", REASON_NONE)
                    : FAILURE(UPSTREAM_CONNECT_TIMEOUT, "No connection to the upstream in time.",
                              facts.by_proxy ? REASON_PROXY_UNREACHABLE : REASON_SLOW_CONNECT);
    case BROKE:
        return headed
                   ? FAILURE(UPSTREAM_CLOSED,
                             "The upstream closed the connection within its answer.", REASON_NONE)
                   : FAILURE(UPSTREAM_RESET,
                             "The upstream closed the connection without an answer.", REASON_NONE);
    case GARBAGE:
        return FAILURE(UPSTREAM_PROTOCOL, "The upstream's answer was not valid HTTP.", REASON_NONE);
    case OURS:
        return FAILURE(UPSTREAM_UNREACHABLE,
                       "The service could not make the request to the provider.", REASON_OURS);
    }
    return FAILURE(UPSTREAM_ERROR, "The upstream request failed.", REASON_NONE);
}
