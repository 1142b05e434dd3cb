#pragma once
/**
 * @file net/tls_internal.h  What tls.c and tls_verify.c share
 */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "net/tls.h"
#include "net/tls_session.h"

#define TLS_NAME_SIZE 64

/* What the files gave. Replaced as a whole by a reload. */
struct tls_files {
	SSL_CTX *ssl_ctx; /* its store holds CA and CRL */
	char warning[TLS_REASON_SIZE];
};

struct tls_context {
	struct tls_options options; /* certs_path and name are own copies */
	char *certs_path;
	char *name;
	struct tls_files files;
	char why[TLS_REASON_SIZE]; /* of the last reload that failed */
};

/**
 * Check a certificate against CA, CRL, the time, and the passport.
 *
 * @param chain      Other certificates that the peer sent; may be NULL
 * @param is_server  Its owner is the TLS server
 * @param ret_error  Set to the X509_V_ERR_* on failure
 * @return 0, or -EACCES with the reason in why
 */
int tls_verify(const struct tls_context *context, X509 *certificate,
	       STACK_OF(X509) * chain, bool is_server, int *ret_error,
	       char why[static TLS_REASON_SIZE]);

/** For SSL_CTX_set_cert_verify_callback(). */
int tls_verify_callback(X509_STORE_CTX *store_ctx, void *context);
