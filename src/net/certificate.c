#include "net/certificate.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "net/certificate_internal.h"

#define CA_DAYS 3650
#define LEAF_DAYS 730
#define CRL_DAYS 365

static void ca_close(struct ca *ca)
{
	X509_free(ca->certificate);
	EVP_PKEY_free(ca->key);
	X509_CRL_free(ca->crl);
	json_decref(ca->index);
	if (ca->lock_fd >= 0)
		close(ca->lock_fd);
}

static int check_days(unsigned *days, unsigned standard, const char **ret_why)
{
	if (*days == 0)
		*days = standard;
	if (*days > CERTIFICATE_MAX_DAYS)
		return ca_fail(ret_why, -EINVAL,
			       "%u days are too many: at most %u", *days,
			       CERTIFICATE_MAX_DAYS);
	return 0;
}

/* The three files of a CA. */
static int ca_load(struct ca *ca, const char **ret_why)
{
	CLEANUP(freep) char *certificate = ca_path(ca->folder, "ca.pem");
	CLEANUP(freep) char *key = ca_path(ca->folder, "ca.key");
	CLEANUP(freep) char *crl = ca_path(ca->folder, "crl.pem");
	int rc;

	if (!certificate || !key || !crl)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	rc = ca_read_certificate(certificate, &ca->certificate, ret_why);
	if (rc == -ENOENT)
		return ca_fail(ret_why, rc,
			       "there is no CA in %s: make one with "
			       "\"mediaproxy certs init\"",
			       ca->folder);
	if (rc < 0)
		return rc;
	rc = ca_read_key(key, true, &ca->key, ret_why);
	if (rc == -ENOENT)
		return ca_fail(ret_why, rc,
			       "%s is not here: this must be done where the "
			       "CA was made",
			       key);
	if (rc < 0)
		return rc;
	if (!X509_check_private_key(ca->certificate, ca->key))
		return ca_fail(ret_why, -EINVAL, "%s is not the key of %s", key,
			       certificate);
	if (ca_has_file(ca->folder, "crl.pem"))
		return ca_read_crl(crl, &ca->crl, ret_why);
	return 0;
}

static int ca_open(struct ca *ca, const char *folder, const char **ret_why)
{
	int rc;

	*ca = (struct ca){.folder = folder, .lock_fd = -1};
	rc = ca_lock(folder, &ca->lock_fd, ret_why);
	if (rc == -ENOENT)
		return ca_fail(ret_why, rc,
			       "there is no folder %s: make a CA with "
			       "\"mediaproxy certs init\"",
			       folder);
	if (rc == 0)
		rc = ca_load(ca, ret_why);
	if (rc == 0)
		rc = ca_read_index(folder, &ca->index, ret_why);
	return rc;
}

static int init_locked(struct ca *ca, const struct certificate_subject *subject,
		       unsigned days, const char **ret_why)
{
	int rc;

	if (ca_has_file(ca->folder, "ca.pem") ||
	    ca_has_file(ca->folder, "ca.key"))
		return ca_fail(ret_why, -EEXIST,
			       "there is a CA in %s already; a new one would "
			       "void all its certificates, so remove ca.pem, "
			       "ca.key, crl.pem and index.json yourself",
			       ca->folder);
	ca->index = json_pack("{s:[], s:[]}", "issued", "revoked");
	if (!ca->index)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	rc = ca_key_new(&ca->key, ret_why);
	if (rc == 0)
		rc = ca_root_new(&ca->certificate, ca->key, subject, days,
				 ret_why);
	if (rc == 0)
		rc = ca_crl_new(&ca->crl, ca, NULL, CRL_DAYS, ret_why);
	/* ca.pem comes last: where it is, the others are. */
	if (rc == 0)
		rc = ca_write_key(ca->folder, "ca.key", ca->key, ret_why);
	if (rc == 0)
		rc = ca_write_crl(ca->folder, ca->crl, ret_why);
	if (rc == 0)
		rc = ca_write_index(ca, ret_why);
	if (rc == 0)
		rc = ca_write_certificate(ca->folder, "ca.pem", ca->certificate,
					  ret_why);
	return rc;
}

int certificate_init(const char *folder,
		     const struct certificate_subject *subject, unsigned days,
		     const char **ret_why)
{
	struct certificate_subject full = {"MediaProxy", "MediaProxy CA"};
	struct ca ca = {.folder = folder, .lock_fd = -1};
	int rc = check_days(&days, CA_DAYS, ret_why);

	if (subject && subject->organization)
		full.organization = subject->organization;
	if (subject && subject->common_name)
		full.common_name = subject->common_name;
	if (rc == 0)
		rc = ca_make_folder(folder, ret_why);
	if (rc == 0)
		rc = ca_lock(folder, &ca.lock_fd, ret_why);
	if (rc == 0)
		rc = init_locked(&ca, &full, days, ret_why);
	ca_close(&ca);
	return rc;
}

/* O of the CA on the heap, NULL if it has none. */
static char *organization_of(const X509 *certificate)
{
	const X509_NAME *name = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(name, NID_organizationName, -1);
	unsigned char *text = NULL;
	char *copy;
	int len;

	if (at < 0)
		return NULL;
	len = ASN1_STRING_to_UTF8(
		&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	if (len < 0)
		return NULL;
	copy = span_dup(span_make(text, (size_t)len));
	OPENSSL_free(text);
	return copy;
}

static int remember_issued(const struct ca *ca, const char *name, X509 *leaf,
			   const char **ret_why)
{
	char subject[CA_NAME_SIZE], serial[CA_SERIAL_SIZE], end[CA_TIME_SIZE];
	json_t *item;

	(void)ca_name_format(X509_get_subject_name(leaf), subject);
	(void)ca_serial_format(X509_get0_serialNumber(leaf), serial);
	(void)ca_time_format(X509_get0_notAfter(leaf), end);
	item = json_pack("{s:s, s:s, s:s, s:s, s:I}", "serial", serial, "name",
			 name, "subject", subject, "not_after", end, "time",
			 (json_int_t)time(NULL));
	if (json_array_append_new(json_object_get(ca->index, "issued"), item) <
	    0)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	return ca_write_index(ca, ret_why);
}

static bool same_folder(const char *a, const char *b)
{
	struct stat sa, sb;

	return stat(a, &sa) == 0 && stat(b, &sb) == 0 &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

static int write_leaf(const struct ca *ca, const char *out, const char *name,
		      EVP_PKEY *key, X509 *leaf, const char **ret_why)
{
	char key_name[32], certificate_name[32];
	int rc;

	(void)snprintf(key_name, sizeof(key_name), "%s.key", name);
	(void)snprintf(certificate_name, sizeof(certificate_name), "%s.crt",
		       name);
	/* The index first: what exists can be revoked. */
	rc = remember_issued(ca, name, leaf, ret_why);
	if (rc == 0)
		rc = ca_write_key(out, key_name, key, ret_why);
	if (rc == 0)
		rc = ca_write_certificate(out, certificate_name, leaf, ret_why);
	if (rc < 0 || same_folder(ca->folder, out))
		return rc;
	rc = ca_write_certificate(out, "ca.pem", ca->certificate, ret_why);
	if (rc == 0 && ca->crl)
		rc = ca_write_crl(out, ca->crl, ret_why);
	return rc;
}

static int check_nothing_there(const char *out, const char *name,
			       const char **ret_why)
{
	static const char *const suffixes[] = {"crt", "key"};

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		char file[32];

		(void)snprintf(file, sizeof(file), "%s.%s", name, suffixes[i]);
		if (ca_has_file(out, file))
			return ca_fail(ret_why, -EEXIST,
				       "%s/%s is there already; --force "
				       "replaces it",
				       out, file);
	}
	return 0;
}

static int issue(const struct ca *ca, const char *out, const char *name,
		 const struct certificate_subject *subject, unsigned days,
		 bool overwrite, const char **ret_why)
{
	struct certificate_subject full = {NULL, name};
	CLEANUP(freep) char *organization = organization_of(ca->certificate);
	CLEANUP(evp_pkey_freep) EVP_PKEY *key = NULL;
	CLEANUP(x509_freep) X509 *leaf = NULL;
	int rc = 0;

	full.organization = subject && subject->organization
				    ? subject->organization
				    : organization;
	if (subject && subject->common_name)
		full.common_name = subject->common_name;
	if (!overwrite)
		rc = check_nothing_there(out, name, ret_why);
	if (rc == 0)
		rc = ca_key_new(&key, ret_why);
	if (rc == 0)
		rc = ca_leaf_new(&leaf, ca, key, &full, days, ret_why);
	if (rc == 0)
		rc = ca_make_folder(out, ret_why);
	if (rc == 0)
		rc = write_leaf(ca, out, name, key, leaf, ret_why);
	return rc;
}

int certificate_issue(const char *folder, const char *out_folder,
		      const char *name,
		      const struct certificate_subject *subject, unsigned days,
		      bool overwrite, const char **ret_why)
{
	struct ca ca;
	int rc;

	if (strcmp(name, "dispatcher") != 0 && strcmp(name, "relay") != 0)
		return ca_fail(ret_why, -EINVAL,
			       "certificates are for \"dispatcher\" or "
			       "\"relay\", not for \"%s\"",
			       name);
	rc = check_days(&days, LEAF_DAYS, ret_why);
	if (rc < 0)
		return rc;
	rc = ca_open(&ca, folder, ret_why);
	if (rc == 0)
		rc = issue(&ca, out_folder ? out_folder : folder, name, subject,
			   days, overwrite, ret_why);
	ca_close(&ca);
	return rc;
}

static bool was_issued(const struct ca *ca, const ASN1_INTEGER *serial)
{
	json_t *issued = json_object_get(ca->index, "issued");
	char text[CA_SERIAL_SIZE];
	size_t i;
	json_t *item;

	(void)ca_serial_format(serial, text);
	json_array_foreach(issued, i, item)
	{
		const char *other =
			json_string_value(json_object_get(item, "serial"));

		if (other && strcasecmp(other, text) == 0)
			return true;
	}
	return false;
}

/* The serial number of what is to be revoked: a file's, or the one given. */
static int find_serial(const struct ca *ca, const char *file_or_serial,
		       ASN1_INTEGER **ret, const char **ret_why)
{
	CLEANUP(asn1_integer_freep) ASN1_INTEGER *serial = NULL;
	CLEANUP(x509_freep) X509 *certificate = NULL;
	int rc = ca_read_certificate(file_or_serial, &certificate, ret_why);

	if (rc == -ENOENT) {
		if (ca_serial_parse(file_or_serial, &serial) < 0 ||
		    !was_issued(ca, serial))
			return ca_fail(ret_why, -ENOENT,
				       "%s is neither a file nor a serial "
				       "number in %s/index.json",
				       file_or_serial, ca->folder);
		*ret = TAKE_PTR(serial);
		return 0;
	}
	if (rc < 0)
		return rc;
	if (X509_verify(certificate, ca->key) != 1)
		return ca_fail(ret_why, -EINVAL,
			       "%s was not issued by the CA in %s",
			       file_or_serial, ca->folder);
	if (X509_cmp(certificate, ca->certificate) == 0)
		return ca_fail(ret_why, -EINVAL,
			       "%s is the CA itself, which no CRL of its own "
			       "can revoke",
			       file_or_serial);
	*ret = ASN1_INTEGER_dup(X509_get0_serialNumber(certificate));
	if (!*ret)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	return 0;
}

static int revoke_one(struct ca *ca, const char *file_or_serial,
		      const char **ret_why)
{
	CLEANUP(asn1_integer_freep) ASN1_INTEGER *serial = NULL;
	CLEANUP(x509_crl_freep) X509_CRL *crl = NULL;
	char text[CA_SERIAL_SIZE];
	json_t *item;
	int rc = find_serial(ca, file_or_serial, &serial, ret_why);

	if (rc < 0)
		return rc;
	if (ca_crl_lists(ca->crl, serial))
		return ca_fail(ret_why, -EEXIST, "%s is revoked already",
			       file_or_serial);
	rc = ca_crl_new(&crl, ca, serial, CRL_DAYS, ret_why);
	if (rc == 0)
		rc = ca_write_crl(ca->folder, crl, ret_why);
	if (rc < 0)
		return rc;
	item = json_pack("{s:s, s:I}", "serial", ca_serial_format(serial, text),
			 "time", (json_int_t)time(NULL));
	if (json_array_append_new(json_object_get(ca->index, "revoked"), item) <
	    0)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	return ca_write_index(ca, ret_why);
}

int certificate_revoke(const char *folder, const char *file_or_serial,
		       const char **ret_why)
{
	struct ca ca;
	int rc = ca_open(&ca, folder, ret_why);

	if (rc == 0)
		rc = revoke_one(&ca, file_or_serial, ret_why);
	ca_close(&ca);
	return rc;
}

int certificate_renew_crl(const char *folder, unsigned days,
			  const char **ret_why)
{
	CLEANUP(x509_crl_freep) X509_CRL *crl = NULL;
	struct ca ca;
	int rc = check_days(&days, CRL_DAYS, ret_why);

	if (rc < 0)
		return rc;
	rc = ca_open(&ca, folder, ret_why);
	if (rc == 0)
		rc = ca_crl_new(&crl, &ca, NULL, days, ret_why);
	if (rc == 0)
		rc = ca_write_crl(folder, crl, ret_why);
	ca_close(&ca);
	return rc;
}
