#pragma once
/**
 * @file net/certificate_internal.h  What the files of certificate.h share: the
 * CA's folder
 *
 * certificate.c is the interface, certificate_x509.c makes and signs,
 * certificate_files.c reads and writes, certificate_show.c describes. OpenSSL's
 * types stay among these.
 */
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/span.h"
#include "net/certificate.h"

#define CA_NAME_SIZE 512  /* of a subject as text */
#define CA_SERIAL_SIZE 64 /* of a serial number in hex */
#define CA_TIME_SIZE 32   /* "2026-11-22T10:00:00Z" */

/** A CA's folder, locked against others who issue or revoke. */
struct ca {
	const char *folder;
	int lock_fd;
	X509 *certificate;
	EVP_PKEY *key;
	X509_CRL *crl; /* NULL: there is none yet */
	json_t *index; /* {"issued": [...], "revoked": [...]} */
};

static inline void x509_freep(X509 **p)
{
	X509_free(*p);
}

static inline void x509_crl_freep(X509_CRL **p)
{
	X509_CRL_free(*p);
}

static inline void evp_pkey_freep(EVP_PKEY **p)
{
	EVP_PKEY_free(*p);
}

static inline void asn1_integer_freep(ASN1_INTEGER **p)
{
	ASN1_INTEGER_free(*p);
}

static inline void bio_freep(BIO **p)
{
	BIO_free(*p);
}

/* certificate_files.c */

/** Set the reason and return the code: return ca_fail(why, -EINVAL, "..."); */
int ca_fail(const char **ret_why, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/** The same, -EIO, with OpenSSL's own words for what went wrong behind ours. */
int ca_fail_openssl(const char **ret_why, const char *what);

/** "folder/name" on the heap, or NULL. */
char *ca_path(const char *folder, const char *name);
bool ca_has_file(const char *folder, const char *name);
int ca_make_folder(const char *folder, const char **ret_why);
/** Write a file whole or not at all: a temporary name, fsync, rename. */
int ca_write_file(const char *folder, const char *name, mode_t mode,
		  struct span text, const char **ret_why);
int ca_write_key(const char *folder, const char *name, EVP_PKEY *key,
		 const char **ret_why);
int ca_write_certificate(const char *folder, const char *name,
			 X509 *certificate, const char **ret_why);
int ca_write_crl(const char *folder, X509_CRL *crl, const char **ret_why);
int ca_write_index(const struct ca *ca, const char **ret_why);
/* -ENOENT, or -EINVAL for a file that holds something else. */
int ca_read_certificate(const char *path, X509 **ret, const char **ret_why);
int ca_read_crl(const char *path, X509_CRL **ret, const char **ret_why);
/** @param ask  May ask for a pass phrase at the terminal */
int ca_read_key(const char *path, bool ask, EVP_PKEY **ret,
		const char **ret_why);
int ca_read_index(const char *folder, json_t **ret, const char **ret_why);
/** Lock the folder until the descriptor is closed. */
int ca_lock(const char *folder, int *ret_fd, const char **ret_why);

/* certificate_x509.c */

int ca_key_new(EVP_PKEY **ret, const char **ret_why);
/** A self-signed CA certificate. */
int ca_root_new(X509 **ret, EVP_PKEY *key,
		const struct certificate_subject *subject, unsigned days,
		const char **ret_why);
/** A certificate for both TLS roles, signed by the CA; it does not outlive the
 * CA. */
int ca_leaf_new(X509 **ret, const struct ca *ca, EVP_PKEY *key,
		const struct certificate_subject *subject, unsigned days,
		const char **ret_why);
/**
 * The next CRL: all that the old one and the index list, and one more.
 *
 * @param revoke  A serial number to add now, or NULL
 */
int ca_crl_new(X509_CRL **ret, const struct ca *ca, const ASN1_INTEGER *revoke,
	       unsigned days, const char **ret_why);
bool ca_crl_lists(X509_CRL *crl, const ASN1_INTEGER *serial);

const char *ca_name_format(const X509_NAME *name,
			   char text[static CA_NAME_SIZE]);
const char *ca_serial_format(const ASN1_INTEGER *serial,
			     char text[static CA_SERIAL_SIZE]);
/** Hex digits, colons allowed. @return 0, -EINVAL or -ENOMEM */
int ca_serial_parse(const char *text, ASN1_INTEGER **ret);
const char *ca_time_format(const ASN1_TIME *time,
			   char text[static CA_TIME_SIZE]);
