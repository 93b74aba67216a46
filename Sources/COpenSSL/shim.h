#pragma once

/*
 * OpenSSL as Swift sees it. What follows the headers stands in for macros that the Swift importer
 * cannot take.
 */

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pemerr.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509err.h>
#include <openssl/x509v3.h>

static const uint64_t copenssl_no_renegotiation = SSL_OP_NO_RENEGOTIATION;
static const uint64_t copenssl_no_ticket = SSL_OP_NO_TICKET;
static const uint64_t copenssl_ignore_unexpected_eof = SSL_OP_IGNORE_UNEXPECTED_EOF;

static inline int copenssl_set_version_min(SSL_CTX *context, int version)
{
    return (int)SSL_CTX_set_min_proto_version(context, version);
}

static inline void copenssl_set_mode(SSL_CTX *context, long mode)
{
    SSL_CTX_set_mode(context, mode);
}

static inline void copenssl_keep_no_sessions(SSL_CTX *context)
{
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

/* Names the host that the client asks for (RFC 6066, SNI). */
static inline int copenssl_set_server_name(SSL *session, const char *name)
{
    return (int)SSL_set_tlsext_host_name(session, name);
}
