/** @file net/tls_verify.c  Checking a peer's certificate: chain, CRL, passport
 *
 * The handshake and the checks while a connection is up take the same way, and
 * always the context's current files.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "net/tls_internal.h"

/* A subject with more attributes than these is matched by the first ones. */
#define MAX_ATTRIBUTES 64

/* An expired list still says who was revoked; that it is old is the operator's
 * business (tls_context_warning), not a reason to refuse everybody. */
static int tolerate_old_crl(int ok, X509_STORE_CTX *store_ctx)
{
	const struct tls_context *context =
		X509_STORE_CTX_get_app_data(store_ctx);
	int error = X509_STORE_CTX_get_error(store_ctx);

	if (ok || context->options.crl_strict)
		return ok;
	if (error != X509_V_ERR_CRL_HAS_EXPIRED &&
	    error != X509_V_ERR_CRL_NOT_YET_VALID)
		return 0;
	X509_STORE_CTX_set_error(store_ctx, X509_V_OK);
	return 1;
}

/* The subject as "CN=relay,O=Example", without control characters. */
static void format_subject(X509 *certificate, char *text, size_t size)
{
	BIO *out = BIO_new(BIO_s_mem());
	int len;

	text[0] = '\0';
	if (!out)
		return;
	X509_NAME_print_ex(out, X509_get_subject_name(certificate), 0,
			   XN_FLAG_RFC2253);
	len = BIO_read(out, text, (int)size - 1);
	text[len > 0 ? len : 0] = '\0';
	BIO_free(out);
}

static void explain(X509 *certificate, int error, char *why)
{
	bool too_weak = error == X509_V_ERR_EE_KEY_TOO_SMALL ||
			error == X509_V_ERR_CA_KEY_TOO_SMALL ||
			error == X509_V_ERR_CA_MD_TOO_WEAK;
	char subject[160];

	format_subject(certificate, subject, sizeof(subject));
	snprintf(why, TLS_REASON_SIZE, "certificate verify failed: %s (%s)%s",
		 X509_verify_cert_error_string(error), subject,
		 too_weak ? "; a lower security_level allows it" : "");
}

static int verify_chain(const struct tls_context *context, X509 *certificate,
			STACK_OF(X509) * chain, bool is_server, int *ret_error,
			char *why)
{
	SSL_CTX *ssl_ctx = context->files.ssl_ctx;
	X509_STORE_CTX *store_ctx = X509_STORE_CTX_new();
	X509_VERIFY_PARAM *param;
	int r = -EACCES;

	if (!store_ctx ||
	    !X509_STORE_CTX_init(store_ctx, SSL_CTX_get_cert_store(ssl_ctx),
				 certificate, chain)) {
		*ret_error = X509_V_ERR_OUT_OF_MEM;
		snprintf(why, TLS_REASON_SIZE, "out of memory");
		X509_STORE_CTX_free(store_ctx);
		return -EACCES;
	}
	param = X509_STORE_CTX_get0_param(store_ctx);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK);
	X509_VERIFY_PARAM_set_auth_level(param,
					 SSL_CTX_get_security_level(ssl_ctx));
	X509_VERIFY_PARAM_set_purpose(param,
				      !context->options.check_extended_key_usage
					      ? X509_PURPOSE_ANY
				      : is_server ? X509_PURPOSE_SSL_SERVER
						  : X509_PURPOSE_SSL_CLIENT);
	X509_STORE_CTX_set_app_data(store_ctx, (void *)context);
	X509_STORE_CTX_set_verify_cb(store_ctx, tolerate_old_crl);

	if (X509_verify_cert(store_ctx) > 0) {
		r = 0;
	} else {
		*ret_error = X509_STORE_CTX_get_error(store_ctx);
		explain(certificate, *ret_error, why);
	}
	X509_STORE_CTX_free(store_ctx);
	return r;
}

/* Passport */

static const char *attribute_name(const X509_NAME_ENTRY *entry)
{
	switch (OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry))) {
	case NID_organizationName:
		return "O";
	case NID_organizationalUnitName:
		return "OU";
	case NID_commonName:
		return "CN";
	case NID_countryName:
		return "C";
	case NID_localityName:
		return "L";
	case NID_stateOrProvinceName:
		return "ST";
	case NID_pkcs9_emailAddress:
		return "EMAIL";
	default:
		return NULL;
	}
}

/* The values are OpenSSL's memory: freed by free_subject(). */
static size_t read_subject(X509 *certificate,
			   struct subject_attribute subject[MAX_ATTRIBUTES])
{
	const X509_NAME *name = X509_get_subject_name(certificate);
	size_t count = 0;

	for (int i = 0; i < X509_NAME_entry_count(name); i++) {
		const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
		const char *attribute = attribute_name(entry);
		unsigned char *value;
		int len;

		if (!attribute || count == MAX_ATTRIBUTES)
			continue;
		len = ASN1_STRING_to_UTF8(&value,
					  X509_NAME_ENTRY_get_data(entry));
		if (len < 0)
			continue;
		subject[count++] = (struct subject_attribute){
			attribute, span_make(value, (size_t)len)};
	}
	return count;
}

static void free_subject(const struct subject_attribute *subject, size_t count)
{
	for (size_t i = 0; i < count; i++)
		OPENSSL_free((void *)subject[i].value.ptr);
}

/* "CN is "x", not "relay*"", or that there is none. */
static void explain_mismatch(const struct passport *passport, size_t check,
			     const struct subject_attribute *subject,
			     size_t count, char *why)
{
	const char *attribute = passport->checks[check].attribute;
	struct span found = {0};

	for (size_t i = 0; i < count && !found.ptr; i++) {
		if (strcmp(subject[i].name, attribute) == 0)
			found = subject[i].value;
	}
	if (found.len > 80)
		found.len = 80;
	snprintf(why, TLS_REASON_SIZE,
		 "passport does not match: %s is \"%.*s\", not \"%s%.100s%s\"",
		 attribute, SPAN_ARG(found),
		 passport->checks[check].any_prefix ? "*" : "",
		 passport->checks[check].value,
		 passport->checks[check].any_suffix ? "*" : "");
}

static int check_passport(const struct passport *passport, X509 *certificate,
			  char *why)
{
	struct subject_attribute subject[MAX_ATTRIBUTES];
	size_t count;
	int r = 0;

	if (!passport || passport->count == 0)
		return 0;
	count = read_subject(certificate, subject);
	if (!passport_matches(passport, subject, count)) {
		size_t check = 0;

		r = -EACCES;
		for (; check + 1 < passport->count; check++) {
			struct passport one = {.count = 1};

			one.checks[0] = passport->checks[check];
			if (!passport_matches(&one, subject, count))
				break;
		}
		explain_mismatch(passport, check, subject, count, why);
	}
	free_subject(subject, count);
	return r;
}

int tls_verify(const struct tls_context *context, X509 *certificate,
	       STACK_OF(X509) * chain, bool is_server, int *ret_error,
	       char why[static TLS_REASON_SIZE])
{
	int r;

	ERR_clear_error();
	r = verify_chain(context, certificate, chain, is_server, ret_error,
			 why);
	if (r == 0) {
		r = check_passport(context->options.passport, certificate, why);
		if (r < 0)
			*ret_error = X509_V_ERR_APPLICATION_VERIFICATION;
	}
	ERR_clear_error();
	return r;
}

/* From the handshake: the context's files may be newer than the SSL object's.
 */
int tls_verify_callback(X509_STORE_CTX *store_ctx, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(
		store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_session *session = SSL_get_app_data(ssl);
	X509 *certificate = X509_STORE_CTX_get0_cert(store_ctx);
	int error = X509_V_OK;

	(void)arg;
	if (certificate && session->context &&
	    tls_verify(session->context, certificate,
		       X509_STORE_CTX_get0_untrusted(store_ctx),
		       !SSL_is_server(ssl), &error, session->why) == 0) {
		X509_STORE_CTX_set_error(store_ctx, X509_V_OK);
		return 1;
	}
	X509_STORE_CTX_set_error(store_ctx,
				 error ? error : X509_V_ERR_UNSPECIFIED);
	return 0;
}

int tls_session_verify(struct tls_session *session, SSL *ssl,
		       const char **ret_why)
{
	X509 *certificate = SSL_get0_peer_certificate(ssl);
	int error;
	int r;

	if (!certificate) {
		*ret_why = "no certificate";
		return -EACCES;
	}
	r = tls_verify(session->context, certificate,
		       SSL_get_peer_cert_chain(ssl), !SSL_is_server(ssl),
		       &error, session->why);
	if (r < 0)
		*ret_why = session->why;
	return r;
}
