#pragma once
/** @file tests/unit/net/pki.h  A CA, and certificates that are wrong in some
 * way
 *
 * Two folders under /tmp: the dispatcher's is the CA's own, the relay has one
 * beside it. Old dates are written into what net/certificate.h made, and signed
 * anew.
 */
#include <ftw.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "net/certificate.h"
#include "test.h"

struct pki {
	char root[64];
	char ca[128];    /* the CA, with dispatcher.crt */
	char relay[128]; /* relay.crt, ca.pem, crl.pem */
};

static inline const char *pki_path(const char *folder, const char *name)
{
	static char path[2][256];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
	return path[turn];
}

static inline void pki_init(struct pki *pki)
{
	const struct certificate_subject relay = {"Example", "relay1"};
	const struct certificate_subject dispatcher = {"Example", "dispatcher"};
	const char *why;

	snprintf(pki->root, sizeof(pki->root), "/tmp/mp-test-tls-XXXXXX");
	assert_non_null(mkdtemp(pki->root));
	snprintf(pki->ca, sizeof(pki->ca), "%s/ca", pki->root);
	snprintf(pki->relay, sizeof(pki->relay), "%s/relay", pki->root);
	assert_int_equal(mkdir(pki->ca, 0700), 0);
	assert_int_equal(mkdir(pki->relay, 0700), 0);
	assert_int_equal(certificate_init(pki->ca, &dispatcher, 0, &why), 0);
	assert_int_equal(certificate_issue(pki->ca, NULL, "dispatcher",
					   &dispatcher, 0, false, &why),
			 0);
	assert_int_equal(certificate_issue(pki->ca, pki->relay, "relay", &relay,
					   0, false, &why),
			 0);
}

static inline int pki_remove(const char *path, const struct stat *st, int type,
			     struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void pki_done(struct pki *pki)
{
	nftw(pki->root, pki_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static inline FILE *pki_open(const char *path, const char *mode)
{
	FILE *file = fopen(path, mode);

	assert_non_null(file);
	return file;
}

static inline EVP_PKEY *pki_key(const char *path)
{
	FILE *file = pki_open(path, "r");
	EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);

	fclose(file);
	assert_non_null(key);
	return key;
}

static inline X509 *pki_certificate(const char *path)
{
	FILE *file = pki_open(path, "r");
	X509 *crt = PEM_read_X509(file, NULL, NULL, NULL);

	fclose(file);
	assert_non_null(crt);
	return crt;
}

/** Sign a certificate anew, write it, and free it. */
static inline void pki_sign(struct pki *pki, const char *path, X509 *crt)
{
	EVP_PKEY *ca_key = pki_key(pki_path(pki->ca, "ca.key"));
	FILE *file = pki_open(path, "w");

	assert_true(X509_sign(crt, ca_key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_X509(file, crt), 1);
	fclose(file);
	X509_free(crt);
	EVP_PKEY_free(ca_key);
}

/** Give a certificate other dates, in seconds from now. */
static inline void pki_redate(struct pki *pki, const char *path, long from_s,
			      long until_s)
{
	X509 *crt = pki_certificate(path);

	X509_gmtime_adj(X509_getm_notBefore(crt), from_s);
	X509_gmtime_adj(X509_getm_notAfter(crt), until_s);
	pki_sign(pki, path, crt);
}

/** Give a certificate another extended key usage, e.g. "clientAuth". */
static inline void pki_set_usage(struct pki *pki, const char *path,
				 const char *usage)
{
	X509 *crt = pki_certificate(path);
	X509_EXTENSION *extension =
		X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, usage);
	int at = X509_get_ext_by_NID(crt, NID_ext_key_usage, -1);

	assert_non_null(extension);
	if (at >= 0)
		X509_EXTENSION_free(X509_delete_ext(crt, at));
	assert_int_equal(X509_add_ext(crt, extension, -1), 1);
	X509_EXTENSION_free(extension);
	pki_sign(pki, path, crt);
}

/** Give the CA's list another end, in seconds from now. */
static inline void pki_redate_crl(struct pki *pki, long until_s)
{
	EVP_PKEY *ca_key = pki_key(pki_path(pki->ca, "ca.key"));
	const char *path = pki_path(pki->ca, "crl.pem");
	FILE *file = pki_open(path, "r");
	X509_CRL *crl = PEM_read_X509_CRL(file, NULL, NULL, NULL);
	ASN1_TIME *until = X509_gmtime_adj(NULL, until_s);

	fclose(file);
	assert_non_null(crl);
	X509_CRL_set1_lastUpdate(crl, X509_CRL_get0_lastUpdate(crl));
	X509_CRL_set1_nextUpdate(crl, until);
	assert_true(X509_CRL_sign(crl, ca_key, EVP_sha256()) > 0);
	file = pki_open(path, "w");
	assert_int_equal(PEM_write_X509_CRL(file, crl), 1);
	fclose(file);
	ASN1_TIME_free(until);
	X509_CRL_free(crl);
	EVP_PKEY_free(ca_key);
}

static inline void pki_write(const char *path, const char *text)
{
	FILE *file = pki_open(path, "w");

	fputs(text, file);
	fclose(file);
}

/** A certificate with a 1024-bit RSA key, as relay.crt and relay.key. */
static inline void pki_make_weak(struct pki *pki)
{
	const char *path = pki_path(pki->relay, "relay.crt");
	X509 *crt = pki_certificate(path);
	EVP_PKEY *key = EVP_RSA_gen(1024);
	FILE *file;

	assert_int_equal(X509_set_pubkey(crt, key), 1);
	pki_sign(pki, path, crt);
	file = pki_open(pki_path(pki->relay, "relay.key"), "w");
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
	EVP_PKEY_free(key);
}
