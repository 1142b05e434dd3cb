#pragma once
/**
 * @file net/certificate.h  Making the certificates that links and management use
 *
 * An own CA with EC keys (P-256), under the original's file names: ca.pem, ca.key,
 * crl.pem, dispatcher.crt, dispatcher.key, relay.crt, relay.key, and index.json with what was
 * issued and revoked. Private keys are 0600, made in the folder that is given, never overwritten
 * unless asked. Files are written to a temporary name and renamed.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct certificate_subject {
	const char *organization; /* O */
	const char *common_name;  /* CN */
};

/** Make CA and an empty CRL. @return 0, -EEXIST if there is a CA, or negative errno */
int certificate_init(const char *folder, const struct certificate_subject *subject,
		     unsigned days, const char **ret_why);

/** Issue NAME.crt and NAME.key ("dispatcher" or "relay", good for both TLS roles) into out_folder. */
int certificate_issue(const char *folder, const char *out_folder, const char *name,
		      const struct certificate_subject *subject, unsigned days, bool overwrite,
		      const char **ret_why);

/** Put a certificate (a file, or a serial number in hex) on the CRL. @return 0, -ENOENT, ... */
int certificate_revoke(const char *folder, const char *file_or_serial, const char **ret_why);

/** Write the CRL again with a new date. */
int certificate_renew_crl(const char *folder, unsigned days, const char **ret_why);

/** What is in a folder. text: several lines for a person; freed by the caller. */
int certificate_show(const char *folder, bool json, char **ret_text, const char **ret_why);
