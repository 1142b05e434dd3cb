#pragma once
/**
 * @file net/tls_session.h  One TLS connection of a context, for net/conn.c
 */
#include <openssl/ssl.h>

#include "net/tls.h"

#define TLS_REASON_SIZE 384

struct tls_session {
	const struct tls_context *context;
	char why[TLS_REASON_SIZE]; /* why the peer's certificate was refused */
};

/**
 * Make the SSL object of a connection. The session stays where it is until the
 * object is freed.
 *
 * @return NULL: no memory
 */
SSL *tls_session_open(struct tls_session *session,
		      const struct tls_context *context, bool is_server);

/**
 * What went wrong, for a person.
 *
 * @param error  Of OpenSSL's queue
 * @return text in the session
 */
const char *tls_session_reason(struct tls_session *session,
			       unsigned long error);

/** The peer's certificate against the context as it is now. @return 0 or
 * -EACCES */
int tls_session_verify(struct tls_session *session, SSL *ssl,
		       const char **ret_why);
