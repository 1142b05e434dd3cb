#pragma once
/**
 * @file net/certificate.h  Making the certificates that links and management
 * use
 *
 * An own CA with EC keys (P-256), under the original's file names: ca.pem,
 * ca.key, crl.pem, dispatcher.crt, dispatcher.key, relay.crt, relay.key, and
 * index.json with what was issued and revoked. Private keys are 0600, made in
 * the folder that is given, never overwritten unless asked. Files are written
 * to a temporary name, flushed and renamed.
 *
 * days: 0 takes the default of 10 years (CA), 2 years (certificates), 1 year
 * (CRL). Everything is valid from one hour ago, for clocks that are a little
 * off. A CA made by somebody else, with RSA keys too, serves as well, if its
 * key stands in ca.key.
 *
 * Every function sets *ret_why on failure: one line that says what is wrong
 * with what, valid until the next call. Blocking and not thread-safe: for the
 * operator's command and tests.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CERTIFICATE_MAX_DAYS 36500

/** NULL: O of the CA ("MediaProxy" for a new CA), CN "MediaProxy CA" or the
 * name. */
struct certificate_subject {
	const char *organization; /* O */
	const char *common_name;  /* CN */
};

/** Make CA and an empty CRL. @return 0, -EEXIST if there is a CA, or negative
 * errno */
int certificate_init(const char *folder,
		     const struct certificate_subject *subject, unsigned days,
		     const char **ret_why);

/**
 * Issue NAME.crt and NAME.key ("dispatcher" or "relay", good for both TLS
 * roles) into out_folder. Another folder than the CA's gets ca.pem and crl.pem
 * as well: it has then all that the daemon needs.
 *
 * @param out_folder  NULL: the CA's folder
 * @param overwrite   Replace what is there
 * @return 0, -EEXIST, -ENOENT (no CA), -EINVAL (name, subject, days), or
 * negative errno
 */
int certificate_issue(const char *folder, const char *out_folder,
		      const char *name,
		      const struct certificate_subject *subject, unsigned days,
		      bool overwrite, const char **ret_why);

/**
 * Put a certificate (a file, or a serial number in hex) on the CRL.
 *
 * @return 0, -EEXIST (it is there already), -ENOENT (no such file, and no
 * serial number that this CA issued), -EINVAL (the file is no certificate of
 * this CA), or negative errno
 */
int certificate_revoke(const char *folder, const char *file_or_serial,
		       const char **ret_why);

/** Write the CRL again with a new date and number; what was revoked stays
 * revoked. */
int certificate_renew_crl(const char *folder, unsigned days,
			  const char **ret_why);

/**
 * What is in a folder, with what is wrong with it (expired, revoked, of another
 * CA, a key that does not fit or that others may read).
 *
 * @param ret_text  JSON, or several lines for a person; freed by the caller
 * @return 0, -ENOENT if there is nothing, or negative errno
 */
int certificate_show(const char *folder, bool json, char **ret_text,
		     const char **ret_why);
