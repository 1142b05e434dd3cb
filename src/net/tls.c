/** @file net/tls.c  Loading keys, certificates and CRL; TLS sessions over them
 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "net/tls_internal.h"

/* What is being loaded, and what is wrong with it. */
struct loading {
	const struct tls_context *context;
	struct tls_files files;
	char *why; /* TLS_REASON_SIZE */
};

static char *file_path(const struct tls_context *context, const char *name,
		       const char *suffix)
{
	struct buf path = {0};

	buf_printf(&path, "%s/%s%s", context->certs_path, name, suffix);
	return path.data;
}

/* Keys and hashes that were good once; see SSL_CTX_set_security_level(3). */
static bool is_too_weak(unsigned long error)
{
	if (ERR_GET_LIB(error) != ERR_LIB_SSL)
		return false;
	switch (ERR_GET_REASON(error)) {
	case SSL_R_EE_KEY_TOO_SMALL:
	case SSL_R_CA_KEY_TOO_SMALL:
	case SSL_R_CA_MD_TOO_WEAK:
		return true;
	default:
		return false;
	}
}

static int fail(struct loading *loading, const char *path)
{
	unsigned long error = ERR_peek_last_error();
	const char *text = error ? ERR_reason_error_string(error) : NULL;
	char *why = loading->why;

	if (is_too_weak(error))
		snprintf(why, TLS_REASON_SIZE,
			 "%s: %s for security level %d: make new certificates "
			 "(mediaproxy certs) or set security_level lower",
			 path, text,
			 SSL_CTX_get_security_level(loading->files.ssl_ctx));
	else if (ERR_SYSTEM_ERROR(error))
		snprintf(why, TLS_REASON_SIZE, "%s: %s", path,
			 strerror(ERR_GET_REASON(error)));
	else
		snprintf(why, TLS_REASON_SIZE, "%s: %s", path,
			 text ? text : "cannot be loaded");
	ERR_clear_error();
	return -EINVAL;
}

/* OpenSSL's queue tells of the last thing it tried; a missing file is what a
 * person wants to hear. */
static int check_readable(struct loading *loading, const char *path,
			  const char *hint)
{
	FILE *file = fopen(path, "re");

	if (file) {
		fclose(file);
		return 0;
	}
	snprintf(loading->why, TLS_REASON_SIZE, "%s: %s%s", path,
		 strerror(errno), errno == ENOENT ? hint : "");
	return -EINVAL;
}

static int load_key(struct loading *loading)
{
	const char *hint = " (`mediaproxy certs` makes certificates)";
	SSL_CTX *ssl_ctx = loading->files.ssl_ctx;
	const struct tls_context *context = loading->context;
	CLEANUP(freep) char *crt = file_path(context, context->name, ".crt");
	CLEANUP(freep) char *key = file_path(context, context->name, ".key");

	if (!crt || !key)
		return -ENOMEM;
	if (check_readable(loading, crt, hint) < 0 ||
	    check_readable(loading, key, hint) < 0)
		return -EINVAL;
	if (SSL_CTX_use_certificate_chain_file(ssl_ctx, crt) != 1)
		return fail(loading, crt);
	if (SSL_CTX_use_PrivateKey_file(ssl_ctx, key, SSL_FILETYPE_PEM) != 1)
		return fail(loading, key);
	return 0;
}

static int load_ca(struct loading *loading)
{
	SSL_CTX *ssl_ctx = loading->files.ssl_ctx;
	CLEANUP(freep) char *path = file_path(loading->context, "ca.pem", "");
	STACK_OF(X509_NAME) * names;

	if (!path)
		return -ENOMEM;
	if (check_readable(loading, path,
			   " (`mediaproxy certs init` makes one)") < 0)
		return -EINVAL;
	if (SSL_CTX_load_verify_file(ssl_ctx, path) != 1)
		return fail(loading, path);
	/* What a server says it accepts. */
	names = SSL_load_client_CA_file(path);
	if (!names)
		return fail(loading, path);
	SSL_CTX_set_client_CA_list(ssl_ctx, names);
	return 0;
}

static void warn_of_crl_dates(struct loading *loading, const char *path,
			      const X509_CRL *crl)
{
	const ASN1_TIME *until = X509_CRL_get0_nextUpdate(crl);
	char date[64] = "";
	BIO *out;

	if (!until || X509_cmp_current_time(until) > 0)
		return;
	out = BIO_new(BIO_s_mem());
	if (out && ASN1_TIME_print(out, until)) {
		int len = BIO_read(out, date, sizeof(date) - 1);

		date[len > 0 ? len : 0] = '\0';
	}
	BIO_free(out);
	snprintf(loading->files.warning, sizeof(loading->files.warning),
		 "%s expired on %s", path, date);
}

/* All lists of the file: one for each CA. */
static int load_crl(struct loading *loading)
{
	CLEANUP(freep) char *path = file_path(loading->context, "crl.pem", "");
	X509_STORE *store = SSL_CTX_get_cert_store(loading->files.ssl_ctx);
	int count = 0;
	X509_CRL *crl;
	FILE *file;

	if (!path)
		return -ENOMEM;
	if (check_readable(loading, path,
			   " (`mediaproxy certs init` makes an empty one)") < 0)
		return -EINVAL;
	file = fopen(path, "re");
	if (!file)
		return check_readable(loading, path, "");
	while ((crl = PEM_read_X509_CRL(file, NULL, NULL, NULL))) {
		count += X509_STORE_add_crl(store, crl) == 1;
		warn_of_crl_dates(loading, path, crl);
		X509_CRL_free(crl);
	}
	fclose(file);
	/* The end of the file is an error of the PEM reader, too. */
	if (count == 0 ||
	    ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return fail(loading, path);
	ERR_clear_error();
	return 0;
}

/*
 * One SSL_CTX for both roles. No tickets and no cache: a resumed session would
 * skip the verification. SSL_MODE_ENABLE_PARTIAL_WRITE must stay off:
 * bufferevents of libevent 2.1 lose bytes with it.
 */
static void set_rules(SSL_CTX *ssl_ctx, const struct tls_options *options)
{
	if (options->security_level >= 0)
		SSL_CTX_set_security_level(ssl_ctx, options->security_level);
	SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_TICKET |
					     SSL_OP_NO_RENEGOTIATION |
					     SSL_OP_NO_COMPRESSION |
					     SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_num_tickets(ssl_ctx, 0);
	SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(ssl_ctx, 1);
	SSL_CTX_set_verify(ssl_ctx,
			   SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   NULL);
	SSL_CTX_set_cert_verify_callback(ssl_ctx, tls_verify_callback, NULL);
}

/* A certificate of our own that the peers will refuse. */
static void warn_of_own_certificate(struct tls_context *context)
{
	struct tls_files *files = &context->files;
	X509 *own = SSL_CTX_get0_certificate(files->ssl_ctx);
	struct tls_options any = context->options;
	STACK_OF(X509) *chain = NULL;
	struct tls_context self = *context;
	char why[TLS_REASON_SIZE];
	int error;

	any.passport = NULL;
	any.check_extended_key_usage = false;
	self.options = any;
	SSL_CTX_get_extra_chain_certs(files->ssl_ctx, &chain);
	if (!files->warning[0] &&
	    tls_verify(&self, own, chain, true, &error, why) < 0)
		snprintf(files->warning, sizeof(files->warning),
			 "%s/%s.crt: %.200s", context->certs_path,
			 context->name, why);
}

/* Read everything into new files; the context's own change only on success. */
static int load_files(struct tls_context *context, char *why)
{
	struct loading loading = {.context = context, .why = why};
	int r;

	ERR_clear_error();
	snprintf(why, TLS_REASON_SIZE, "out of memory");
	loading.files.ssl_ctx = SSL_CTX_new(TLS_method());
	if (!loading.files.ssl_ctx)
		return -ENOMEM;
	set_rules(loading.files.ssl_ctx, &context->options);
	r = load_ca(&loading);
	if (r == 0)
		r = load_crl(&loading);
	if (r == 0)
		r = load_key(&loading);
	if (r < 0) {
		SSL_CTX_free(loading.files.ssl_ctx);
		return r;
	}
	SSL_CTX_free(context->files.ssl_ctx);
	context->files = loading.files;
	warn_of_own_certificate(context);
	return 0;
}

struct tls_context *tls_context_free(struct tls_context *context)
{
	if (!context)
		return NULL;
	SSL_CTX_free(context->files.ssl_ctx);
	free(context->certs_path);
	free(context->name);
	free(context);
	return NULL;
}

int tls_context_new(struct tls_context **ret, const struct tls_options *options,
		    const char **ret_why)
{
	/* The reason outlives the context that could not be made. */
	static _Thread_local char why[TLS_REASON_SIZE];
	struct tls_context *context = calloc(1, sizeof(*context));
	int r;

	*ret_why = "out of memory";
	if (!context)
		return -ENOMEM;
	context->options = *options;
	context->certs_path = strdup(options->certs_path);
	context->name = strdup(options->name);
	r = -ENOMEM;
	if (context->certs_path && context->name)
		r = load_files(context, why);
	if (r < 0) {
		*ret_why = why;
		tls_context_free(context);
		return r;
	}
	*ret = context;
	return 0;
}

int tls_context_reload(struct tls_context *context, const char **ret_why)
{
	int r = load_files(context, context->why);

	if (r < 0)
		*ret_why = context->why;
	return r;
}

const char *tls_context_warning(const struct tls_context *context)
{
	return context->files.warning[0] ? context->files.warning : NULL;
}

/* Sessions */

SSL *tls_session_open(struct tls_session *session,
		      const struct tls_context *context, bool is_server)
{
	SSL *ssl = SSL_new(context->files.ssl_ctx);

	if (!ssl)
		return NULL;
	session->context = context;
	session->why[0] = '\0';
	SSL_set_app_data(ssl, session);
	if (is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}

const char *tls_session_reason(struct tls_session *session, unsigned long error)
{
	int reason = ERR_GET_REASON(error);

	if (session->why[0])
		return session->why;
	/* An alert from the peer: it did not like us. */
	if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
		snprintf(session->why, sizeof(session->why),
			 "refused by the peer: %s",
			 SSL_alert_desc_string_long(reason -
						    SSL_AD_REASON_OFFSET));
	else
		snprintf(session->why, sizeof(session->why), "TLS: %s",
			 ERR_reason_error_string(error)
				 ? ERR_reason_error_string(error)
				 : "protocol error");
	return session->why;
}
