#pragma once
/**
 * @file net/tls.h  Mutual TLS with passports
 *
 * TLS 1.2 and 1.3. Both sides present a certificate that our CA signed and that
 * the CRL does not list; the subject must match the passport. No SNI, no host
 * names, no session resumption (a resumed session would skip verification), no
 * renegotiation.
 */
#include <stdbool.h>
#include <stddef.h>

#include "conf/passport.h"

struct tls_context;

struct tls_options {
	const char
		*certs_path; /* folder of ca.pem, crl.pem, NAME.crt, NAME.key */
	const char *name;    /* "dispatcher" or "relay" */
	const struct passport
		*passport; /* NULL: any subject; outlives the context */
	bool crl_strict;   /* an expired CRL refuses everybody; else it still
			      revokes */
	bool check_extended_key_usage;
	int security_level; /* of OpenSSL; -1: its default */
};

/**
 * Load keys and certificates.
 *
 * @param ret_why  On failure: one line that names the file and what is wrong
 * with it; valid until the next call
 * @return 0, -ENOMEM, or -EINVAL
 */
int tls_context_new(struct tls_context **ret, const struct tls_options *options,
		    const char **ret_why);
/** Its connections are closed before. @return NULL */
struct tls_context *tls_context_free(struct tls_context *context);

/**
 * Read the files again (a new CRL, a renewed certificate). What cannot be read
 * leaves the old ones in force.
 *
 * @return 0, or -EINVAL with the reason in ret_why
 */
int tls_context_reload(struct tls_context *context, const char **ret_why);

/** What was to be warned of at the last load: "FOLDER/crl.pem expired on ...",
 * a certificate of our own that the CA and CRL do not let pass; or NULL. */
const char *tls_context_warning(const struct tls_context *context);
