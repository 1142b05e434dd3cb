#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/certificate_internal.h"
#include "net/service.h"

#define MAX_INDEX_BYTES (16u << 20)

int ca_fail(const char **ret_why, int rc, const char *format, ...)
{
	static char why[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	ERR_clear_error();
	*ret_why = why;
	return rc;
}

int ca_fail_openssl(const char **ret_why, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return ca_fail(ret_why, -EIO, "%s: %s", what,
		       reason ? reason : "OpenSSL does not say why");
}

char *ca_path(const char *folder, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

bool ca_has_file(const char *folder, const char *name)
{
	CLEANUP(freep) char *path = ca_path(folder, name);
	struct stat st;

	return path && lstat(path, &st) == 0;
}

int ca_make_folder(const char *folder, const char **ret_why)
{
	int rc = service_make_runtime_dir(folder);

	if (rc < 0)
		return ca_fail(ret_why, rc, "cannot make the folder %s: %s",
			       folder, strerror(-rc));
	return 0;
}

static int write_all(int fd, struct span text)
{
	while (text.len > 0) {
		ssize_t n = write(fd, text.ptr, text.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text = span_make(text.ptr + n, text.len - (size_t)n);
	}
	return 0;
}

/* A rename is on the disk when the folder is. */
static void sync_folder(const char *folder)
{
	CLEANUP(closep)
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)fsync(fd);
}

static int write_temporary(char *temporary, mode_t mode, struct span text)
{
	CLEANUP(closep) int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
	int rc;

	if (fd < 0)
		return -errno;
	rc = write_all(fd, text);
	if (rc == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		rc = -errno;
	if (rc < 0)
		(void)unlink(temporary);
	return rc;
}

int ca_write_file(const char *folder, const char *name, mode_t mode,
		  struct span text, const char **ret_why)
{
	CLEANUP(freep) char *path = ca_path(folder, name);
	CLEANUP(freep) char *temporary = ca_path(folder, ".new-XXXXXX");
	int rc;

	if (!path || !temporary)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	rc = write_temporary(temporary, mode, text);
	if (rc == 0 && rename(temporary, path) < 0) {
		rc = -errno;
		(void)unlink(temporary);
	}
	if (rc < 0)
		return ca_fail(ret_why, rc, "cannot write %s: %s", path,
			       strerror(-rc));
	sync_folder(folder);
	return 0;
}

static struct span bio_span(BIO *bio)
{
	char *data = NULL;
	long len = BIO_get_mem_data(bio, &data);

	return span_make(data, len > 0 ? (size_t)len : 0);
}

int ca_write_key(const char *folder, const char *name, EVP_PKEY *key,
		 const char **ret_why)
{
	CLEANUP(bio_freep) BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio ||
	    !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return ca_fail_openssl(ret_why, "cannot encode a key");
	return ca_write_file(folder, name, 0600, bio_span(bio), ret_why);
}

int ca_write_certificate(const char *folder, const char *name,
			 X509 *certificate, const char **ret_why)
{
	CLEANUP(bio_freep) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509(bio, certificate))
		return ca_fail_openssl(ret_why, "cannot encode a certificate");
	return ca_write_file(folder, name, 0644, bio_span(bio), ret_why);
}

int ca_write_crl(const char *folder, X509_CRL *crl, const char **ret_why)
{
	CLEANUP(bio_freep) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509_CRL(bio, crl))
		return ca_fail_openssl(ret_why, "cannot encode the CRL");
	return ca_write_file(folder, "crl.pem", 0644, bio_span(bio), ret_why);
}

int ca_write_index(const struct ca *ca, const char **ret_why)
{
	CLEANUP(freep)
	char *text = json_dumps(ca->index, JSON_INDENT(2) | JSON_ENSURE_ASCII);

	if (!text)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	return ca_write_file(ca->folder, "index.json", 0644, span_of(text),
			     ret_why);
}

static BIO *open_for_reading(const char *path, int *ret_rc,
			     const char **ret_why)
{
	BIO *bio;

	errno = 0;
	bio = BIO_new_file(path, "r");
	if (!bio) {
		int rc = errno ? -errno : -EIO;

		*ret_rc = ca_fail(ret_why, rc, "cannot read %s: %s", path,
				  strerror(-rc));
	}
	return bio;
}

int ca_read_certificate(const char *path, X509 **ret, const char **ret_why)
{
	int rc = 0;
	CLEANUP(bio_freep) BIO *bio = open_for_reading(path, &rc, ret_why);
	X509 *certificate;

	if (!bio)
		return rc;
	certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (!certificate)
		return ca_fail(ret_why, -EINVAL,
			       "%s holds no certificate in PEM form", path);
	*ret = certificate;
	return 0;
}

int ca_read_crl(const char *path, X509_CRL **ret, const char **ret_why)
{
	int rc = 0;
	CLEANUP(bio_freep) BIO *bio = open_for_reading(path, &rc, ret_why);
	X509_CRL *crl;

	if (!bio)
		return rc;
	crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
	if (!crl)
		return ca_fail(ret_why, -EINVAL, "%s holds no CRL in PEM form",
			       path);
	*ret = crl;
	return 0;
}

static int no_pass_phrase(char *text, int size, int for_writing, void *arg)
{
	(void)text;
	(void)size;
	(void)for_writing;
	(void)arg;
	return -1;
}

int ca_read_key(const char *path, bool ask, EVP_PKEY **ret,
		const char **ret_why)
{
	int rc = 0;
	CLEANUP(bio_freep) BIO *bio = open_for_reading(path, &rc, ret_why);
	EVP_PKEY *key;

	if (!bio)
		return rc;
	key = PEM_read_bio_PrivateKey(bio, NULL, ask ? NULL : no_pass_phrase,
				      NULL);
	if (!key)
		return ca_fail(ret_why, -EINVAL,
			       "%s holds no private key that can be read",
			       path);
	*ret = key;
	return 0;
}

static bool is_index(const json_t *index)
{
	return json_is_array(json_object_get(index, "issued")) &&
	       json_is_array(json_object_get(index, "revoked"));
}

int ca_read_index(const char *folder, json_t **ret, const char **ret_why)
{
	CLEANUP(freep) char *path = ca_path(folder, "index.json");
	json_error_t error;
	json_t *index;
	struct stat st;

	if (!path)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	if (stat(path, &st) < 0 && errno == ENOENT) {
		index = json_pack("{s:[], s:[]}", "issued", "revoked");
		if (!index)
			return ca_fail(ret_why, -ENOMEM, "out of memory");
		*ret = index;
		return 0;
	}
	if (st.st_size > MAX_INDEX_BYTES)
		return ca_fail(ret_why, -EINVAL, "%s is too long", path);
	index = json_load_file(path, 0, &error);
	if (!is_index(index)) {
		json_decref(index);
		return ca_fail(ret_why, -EINVAL, "%s is damaged: %s", path,
			       error.text[0] ? error.text
					     : "\"issued\" or \"revoked\" is "
					       "missing");
	}
	*ret = index;
	return 0;
}

int ca_lock(const char *folder, int *ret_fd, const char **ret_why)
{
	CLEANUP(closep)
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return ca_fail(ret_why, -errno, "cannot open the folder %s: %s",
			       folder, strerror(errno));
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return ca_fail(ret_why, -errno, "cannot lock %s: %s",
				       folder, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
