#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "net/certificate_internal.h"

/* For clocks that are a little off. */
#define SKEW_S 3600L

int ca_key_new(EVP_PKEY **ret, const char **ret_why)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");

	if (!key)
		return ca_fail_openssl(ret_why, "cannot make a key");
	*ret = key;
	return 0;
}

/* RFC 5280, section 4.1.2.2: positive, at most 20 bytes, never used twice. */
static int set_random_serial(X509 *certificate)
{
	BIGNUM *number = BN_new();
	int ok = number &&
		 BN_rand(number, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) &&
		 !BN_is_zero(number) &&
		 BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));

	BN_free(number);
	return ok;
}

static int add_attribute(X509_NAME *name, const char *attribute,
			 const char *value, const char **ret_why)
{
	if (!value)
		return 0;
	if (!X509_NAME_add_entry_by_txt(name, attribute, MBSTRING_UTF8,
					(const unsigned char *)value, -1, -1,
					0))
		return ca_fail(ret_why, -EINVAL,
			       "%s cannot be \"%s\": 1 to 64 characters of "
			       "UTF-8 are allowed",
			       attribute, value);
	return 0;
}

static int add_extension(X509 *certificate, X509 *issuer, int nid,
			 const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;
	int ok;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ok = extension && X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
	return ok;
}

/* Everything that does not depend on who signs it. */
static int start_certificate(X509 **ret, EVP_PKEY *key,
			     const struct certificate_subject *subject,
			     unsigned days, const char **ret_why)
{
	CLEANUP(x509_freep) X509 *c = X509_new();
	time_t now = time(NULL);
	X509_NAME *name;
	int rc;

	if (!c || !X509_set_version(c, X509_VERSION_3) ||
	    !set_random_serial(c) ||
	    !X509_time_adj_ex(X509_getm_notBefore(c), 0, -SKEW_S, &now) ||
	    !X509_time_adj_ex(X509_getm_notAfter(c), (int)days, 0, &now) ||
	    !X509_set_pubkey(c, key))
		return ca_fail_openssl(ret_why, "cannot make a certificate");
	name = X509_get_subject_name(c);
	rc = add_attribute(name, "O", subject->organization, ret_why);
	if (rc == 0)
		rc = add_attribute(name, "CN", subject->common_name, ret_why);
	if (rc == 0)
		*ret = TAKE_PTR(c);
	return rc;
}

int ca_root_new(X509 **ret, EVP_PKEY *key,
		const struct certificate_subject *subject, unsigned days,
		const char **ret_why)
{
	CLEANUP(x509_freep) X509 *c = NULL;
	int rc = start_certificate(&c, key, subject, days, ret_why);

	if (rc < 0)
		return rc;
	if (!X509_set_issuer_name(c, X509_get_subject_name(c)) ||
	    !add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE") ||
	    !add_extension(c, c, NID_key_usage,
			   "critical,keyCertSign,cRLSign") ||
	    !add_extension(c, c, NID_subject_key_identifier, "hash") ||
	    !add_extension(c, c, NID_authority_key_identifier,
			   "keyid:always") ||
	    !X509_sign(c, key, EVP_sha256()))
		return ca_fail_openssl(ret_why, "cannot sign the CA");
	*ret = TAKE_PTR(c);
	return 0;
}

int ca_leaf_new(X509 **ret, const struct ca *ca, EVP_PKEY *key,
		const struct certificate_subject *subject, unsigned days,
		const char **ret_why)
{
	const ASN1_TIME *ca_end = X509_get0_notAfter(ca->certificate);
	CLEANUP(x509_freep) X509 *c = NULL;
	int rc;

	if (X509_cmp_current_time(ca_end) < 0)
		return ca_fail(ret_why, -EINVAL,
			       "the CA in %s has expired: make a new one",
			       ca->folder);
	rc = start_certificate(&c, key, subject, days, ret_why);
	if (rc < 0)
		return rc;
	if (ASN1_TIME_compare(ca_end, X509_get0_notAfter(c)) < 0 &&
	    !X509_set1_notAfter(c, ca_end))
		return ca_fail_openssl(ret_why, "cannot set the end");
	/* keyAgreement is for static ECDH, which nobody uses: signatures
	 * alone. */
	if (!X509_set_issuer_name(c, X509_get_subject_name(ca->certificate)) ||
	    !add_extension(c, ca->certificate, NID_basic_constraints,
			   "critical,CA:FALSE") ||
	    !add_extension(c, ca->certificate, NID_key_usage,
			   "critical,digitalSignature") ||
	    !add_extension(c, ca->certificate, NID_ext_key_usage,
			   "serverAuth,clientAuth") ||
	    !add_extension(c, ca->certificate, NID_subject_key_identifier,
			   "hash") ||
	    !add_extension(c, ca->certificate, NID_authority_key_identifier,
			   "keyid,issuer") ||
	    !X509_sign(c, ca->key, EVP_sha256()))
		return ca_fail_openssl(ret_why, "cannot sign the certificate");
	*ret = TAKE_PTR(c);
	return 0;
}

bool ca_crl_lists(X509_CRL *crl, const ASN1_INTEGER *serial)
{
	X509_REVOKED *found = NULL;

	return crl && X509_CRL_get0_by_serial(crl, &found, serial) == 1;
}

static int add_revoked(X509_CRL *crl, const ASN1_INTEGER *serial, time_t when)
{
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_TIME *date = ASN1_TIME_set(NULL, when);
	int ok = entry && date &&
		 X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)serial) &&
		 X509_REVOKED_set_revocationDate(entry, date) &&
		 X509_CRL_add0_revoked(crl, entry);

	ASN1_TIME_free(date);
	if (!ok)
		X509_REVOKED_free(entry);
	return ok;
}

static int add_old_revoked(X509_CRL *crl, const struct ca *ca)
{
	STACK_OF(X509_REVOKED) *old =
		ca->crl ? X509_CRL_get_REVOKED(ca->crl) : NULL;
	size_t i;
	json_t *item;

	for (int at = 0; at < sk_X509_REVOKED_num(old); at++) {
		X509_REVOKED *copy =
			X509_REVOKED_dup(sk_X509_REVOKED_value(old, at));

		if (!copy || !X509_CRL_add0_revoked(crl, copy)) {
			X509_REVOKED_free(copy);
			return 0;
		}
	}
	/* A CRL that was lost comes back from the index. */
	json_array_foreach(json_object_get(ca->index, "revoked"), i, item)
	{
		const char *text =
			json_string_value(json_object_get(item, "serial"));
		json_int_t when =
			json_integer_value(json_object_get(item, "time"));
		CLEANUP(asn1_integer_freep) ASN1_INTEGER *serial = NULL;

		if (!text || ca_serial_parse(text, &serial) < 0)
			continue;
		if (!ca_crl_lists(ca->crl, serial) &&
		    !add_revoked(crl, serial, (time_t)when))
			return 0;
	}
	return 1;
}

/* RFC 5280, section 5.2.3: it only grows. */
static int set_next_number(X509_CRL *crl, X509_CRL *old)
{
	ASN1_INTEGER *last =
		old ? X509_CRL_get_ext_d2i(old, NID_crl_number, NULL, NULL)
		    : NULL;
	BIGNUM *number = last ? ASN1_INTEGER_to_BN(last, NULL) : BN_new();
	ASN1_INTEGER *next = NULL;
	int ok = 0;

	if (number && BN_add_word(number, 1))
		next = BN_to_ASN1_INTEGER(number, NULL);
	if (next)
		ok = X509_CRL_add1_ext_i2d(crl, NID_crl_number, next, 0, 0);
	ASN1_INTEGER_free(next);
	ASN1_INTEGER_free(last);
	BN_free(number);
	return ok;
}

static int add_crl_key_id(X509_CRL *crl, X509 *issuer)
{
	X509_EXTENSION *extension;
	X509V3_CTX context;
	int ok;

	/* A CA without a subject key id (not ours) has none to refer to. */
	if (X509_get_ext_by_NID(issuer, NID_subject_key_identifier, -1) < 0)
		return 1;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, NULL, NULL, crl, 0);
	extension = X509V3_EXT_conf_nid(
		NULL, &context, NID_authority_key_identifier, "keyid:always");
	ok = extension && X509_CRL_add_ext(crl, extension, -1);
	X509_EXTENSION_free(extension);
	return ok;
}

int ca_crl_new(X509_CRL **ret, const struct ca *ca, const ASN1_INTEGER *revoke,
	       unsigned days, const char **ret_why)
{
	CLEANUP(x509_crl_freep) X509_CRL *crl = X509_CRL_new();
	time_t now = time(NULL);
	ASN1_TIME *from = X509_time_adj_ex(NULL, 0, -SKEW_S, &now);
	ASN1_TIME *to = X509_time_adj_ex(NULL, (int)days, 0, &now);
	int ok = crl && from && to &&
		 X509_CRL_set_version(crl, X509_CRL_VERSION_2) &&
		 X509_CRL_set_issuer_name(
			 crl, X509_get_subject_name(ca->certificate)) &&
		 X509_CRL_set1_lastUpdate(crl, from) &&
		 X509_CRL_set1_nextUpdate(crl, to) &&
		 add_old_revoked(crl, ca) &&
		 (!revoke || add_revoked(crl, revoke, now)) &&
		 X509_CRL_sort(crl) && add_crl_key_id(crl, ca->certificate) &&
		 set_next_number(crl, ca->crl) &&
		 X509_CRL_sign(crl, ca->key, EVP_sha256());

	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	if (!ok)
		return ca_fail_openssl(ret_why, "cannot make the CRL");
	*ret = TAKE_PTR(crl);
	return 0;
}

const char *ca_name_format(const X509_NAME *name,
			   char text[static CA_NAME_SIZE])
{
	CLEANUP(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
	int n = -1;

	if (bio && X509_NAME_print_ex(bio, name, 0,
				      (XN_FLAG_RFC2253 & ~XN_FLAG_DN_REV &
				       ~XN_FLAG_SEP_MASK &
				       ~(unsigned long)ASN1_STRFLGS_ESC_MSB) |
					      XN_FLAG_SEP_CPLUS_SPC) >= 0)
		n = BIO_read(bio, text, CA_NAME_SIZE - 1);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

const char *ca_serial_format(const ASN1_INTEGER *serial,
			     char text[static CA_SERIAL_SIZE])
{
	BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
	char *hex = number ? BN_bn2hex(number) : NULL;

	(void)snprintf(text, CA_SERIAL_SIZE, "%s", hex ? hex : "?");
	OPENSSL_free(hex);
	BN_free(number);
	return text;
}

int ca_serial_parse(const char *text, ASN1_INTEGER **ret)
{
	char hex[CA_SERIAL_SIZE];
	BIGNUM *number = NULL;
	size_t len = 0;

	for (; *text; text++) {
		if (*text == ':')
			continue;
		if (!strchr("0123456789abcdefABCDEF", *text) ||
		    len == sizeof(hex) - 1)
			return -EINVAL;
		hex[len++] = *text;
	}
	hex[len] = '\0';
	if (len == 0 || BN_hex2bn(&number, hex) != (int)len) {
		BN_free(number);
		return -EINVAL;
	}
	*ret = BN_to_ASN1_INTEGER(number, NULL);
	BN_free(number);
	return *ret ? 0 : -ENOMEM;
}

const char *ca_time_format(const ASN1_TIME *time,
			   char text[static CA_TIME_SIZE])
{
	struct tm tm;

	if (!time || !ASN1_TIME_to_tm(time, &tm) ||
	    strftime(text, CA_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(text, CA_TIME_SIZE, "unknown");
	return text;
}
