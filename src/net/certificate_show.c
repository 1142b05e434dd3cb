#include <errno.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "net/certificate_internal.h"

#define WARN_DAYS 30

static void add_problem(json_t *description, const char *text)
{
	json_t *problems = json_object_get(description, "problems");

	(void)json_array_append_new(problems, json_string(text));
}

/* The end of a certificate or CRL, and what follows from it. */
static void add_validity(json_t *description, const ASN1_TIME *from,
			 const ASN1_TIME *to)
{
	char text[CA_TIME_SIZE];
	int days = 0, seconds = 0;

	(void)json_object_set_new(description, "not_before",
				  json_string(ca_time_format(from, text)));
	(void)json_object_set_new(description, "not_after",
				  json_string(ca_time_format(to, text)));
	if (!ASN1_TIME_diff(&days, &seconds, NULL, to))
		return;
	(void)json_object_set_new(description, "days_left", json_integer(days));
	if (days < 0 || seconds < 0)
		add_problem(description, "it has expired");
	else if (days < WARN_DAYS)
		add_problem(description, "it expires soon");
	if (X509_cmp_current_time(from) > 0)
		add_problem(description, "it is not valid yet");
}

static void add_key_kind(json_t *description, EVP_PKEY *key)
{
	char group[32] = "", text[64];
	const char *type = EVP_PKEY_get0_type_name(key);

	if (!EVP_PKEY_get_group_name(key, group, sizeof(group), NULL))
		group[0] = '\0';
	if (strcmp(group, "prime256v1") == 0)
		(void)snprintf(group, sizeof(group), "P-256");
	if (group[0])
		(void)snprintf(text, sizeof(text), "%s %s", type ? type : "?",
			       group);
	else
		(void)snprintf(text, sizeof(text), "%s %d", type ? type : "?",
			       EVP_PKEY_get_bits(key));
	(void)json_object_set_new(description, "key", json_string(text));
}

static json_t *describe_certificate(const char *name, X509 *certificate)
{
	char subject[CA_NAME_SIZE], issuer[CA_NAME_SIZE];
	char serial[CA_SERIAL_SIZE];
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	json_t *d = json_pack(
		"{s:s, s:s, s:s, s:s, s:[]}", "name", name, "subject",
		ca_name_format(X509_get_subject_name(certificate), subject),
		"issuer",
		ca_name_format(X509_get_issuer_name(certificate), issuer),
		"serial",
		ca_serial_format(X509_get0_serialNumber(certificate), serial),
		"problems");

	if (!d)
		return NULL;
	add_validity(d, X509_get0_notBefore(certificate),
		     X509_get0_notAfter(certificate));
	if (key)
		add_key_kind(d, key);
	return d;
}

/* Is the key there, does it fit, and who may read it? */
static void check_key(json_t *description, const char *folder, const char *file,
		      X509 *certificate)
{
	CLEANUP(freep) char *path = ca_path(folder, file);
	CLEANUP(evp_pkey_freep) EVP_PKEY *key = NULL;
	const char *why;
	struct stat st;
	char text[128];

	if (!path || stat(path, &st) < 0) {
		(void)snprintf(text, sizeof(text), "%s is missing", file);
		add_problem(description, text);
		return;
	}
	if (st.st_mode & 077) {
		(void)snprintf(text, sizeof(text),
			       "others may read %s (mode %04o)", file,
			       (unsigned)st.st_mode & 07777);
		add_problem(description, text);
	}
	if (ca_read_key(path, false, &key, &why) < 0)
		add_problem(description, why);
	else if (!X509_check_private_key(certificate, key)) {
		(void)snprintf(text, sizeof(text),
			       "%s is the key of something else", file);
		add_problem(description, text);
	}
}

static void check_leaf(json_t *description, X509 *leaf, X509 *ca, X509_CRL *crl)
{
	EVP_PKEY *ca_key = ca ? X509_get0_pubkey(ca) : NULL;

	if (ca_key && X509_verify(leaf, ca_key) != 1)
		add_problem(description, "the CA in ca.pem did not sign it");
	else if (ca_crl_lists(crl, X509_get0_serialNumber(leaf)))
		add_problem(description, "it is revoked");
}

static json_t *describe_crl(X509_CRL *crl, X509 *ca)
{
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
	ASN1_INTEGER *number =
		X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	json_t *revoked = json_array();
	json_t *d = json_pack("{s:I, s:o, s:[]}", "number",
			      (json_int_t)ASN1_INTEGER_get(number), "revoked",
			      revoked, "problems");

	ASN1_INTEGER_free(number);
	if (!d)
		return NULL;
	add_validity(d, X509_CRL_get0_lastUpdate(crl),
		     X509_CRL_get0_nextUpdate(crl));
	if (ca && X509_CRL_verify(crl, X509_get0_pubkey(ca)) != 1)
		add_problem(d, "the CA in ca.pem did not sign it");
	for (int i = 0; i < sk_X509_REVOKED_num(entries); i++) {
		X509_REVOKED *entry = sk_X509_REVOKED_value(entries, i);
		char serial[CA_SERIAL_SIZE], when[CA_TIME_SIZE];

		(void)json_array_append_new(
			revoked,
			json_pack(
				"{s:s, s:s}", "serial",
				ca_serial_format(
					X509_REVOKED_get0_serialNumber(entry),
					serial),
				"time",
				ca_time_format(
					X509_REVOKED_get0_revocationDate(entry),
					when)));
	}
	return d;
}

static json_t *describe_broken(const char *name, const char *why)
{
	return json_pack("{s:s, s:[s]}", "name", name, "problems", why);
}

static void describe_ca(json_t *all, const char *folder, X509 **ret)
{
	CLEANUP(freep) char *path = ca_path(folder, "ca.pem");
	const char *why;
	json_t *d;

	if (!path || !ca_has_file(folder, "ca.pem"))
		return;
	if (ca_read_certificate(path, ret, &why) < 0) {
		(void)json_object_set_new(all, "ca",
					  describe_broken("ca", why));
		return;
	}
	d = describe_certificate("ca", *ret);
	/* Only where certificates are issued is the CA's key at home. */
	if (d && ca_has_file(folder, "ca.key"))
		check_key(d, folder, "ca.key", *ret);
	(void)json_object_set_new(all, "ca", d);
}

static void describe_leaf(json_t *list, const char *folder, const char *name,
			  X509 *ca, X509_CRL *crl)
{
	CLEANUP(x509_freep) X509 *leaf = NULL;
	CLEANUP(freep) char *path = NULL;
	char certificate_file[32], key_file[32];
	const char *why;
	json_t *d;

	(void)snprintf(certificate_file, sizeof(certificate_file), "%s.crt",
		       name);
	(void)snprintf(key_file, sizeof(key_file), "%s.key", name);
	path = ca_path(folder, certificate_file);
	if (!path || !ca_has_file(folder, certificate_file))
		return;
	if (ca_read_certificate(path, &leaf, &why) < 0) {
		(void)json_array_append_new(list, describe_broken(name, why));
		return;
	}
	d = describe_certificate(name, leaf);
	if (!d)
		return;
	check_leaf(d, leaf, ca, crl);
	check_key(d, folder, key_file, leaf);
	(void)json_array_append_new(list, d);
}

static json_t *describe_folder(const char *folder)
{
	CLEANUP(freep) char *crl_path = ca_path(folder, "crl.pem");
	CLEANUP(x509_freep) X509 *ca = NULL;
	CLEANUP(x509_crl_freep) X509_CRL *crl = NULL;
	json_t *all = json_pack("{s:s, s:n, s:n, s:[], s:[]}", "folder", folder,
				"ca", "crl", "certificates", "issued");
	json_t *list = json_object_get(all, "certificates");
	const char *why;

	if (!all || !crl_path)
		return all;
	describe_ca(all, folder, &ca);
	if (ca_has_file(folder, "crl.pem")) {
		if (ca_read_crl(crl_path, &crl, &why) < 0)
			(void)json_object_set_new(all, "crl",
						  describe_broken("crl", why));
		else
			(void)json_object_set_new(all, "crl",
						  describe_crl(crl, ca));
	}
	describe_leaf(list, folder, "dispatcher", ca, crl);
	describe_leaf(list, folder, "relay", ca, crl);
	if (ca_has_file(folder, "index.json")) {
		CLEANUP(json_decrefp) json_t *index = NULL;

		if (ca_read_index(folder, &index, &why) == 0)
			(void)json_object_set(all, "issued",
					      json_object_get(index, "issued"));
	}
	return all;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "?";
}

static void write_problems(struct buf *out, const json_t *description)
{
	size_t i;
	json_t *problem;

	json_array_foreach(json_object_get(description, "problems"), i, problem)
		buf_printf(out, "              PROBLEM: %s\n",
			   json_string_value(problem));
}

static void write_validity(struct buf *out, const json_t *d)
{
	buf_printf(out,
		   "valid %.10s to %.10s (%" JSON_INTEGER_FORMAT " days left)",
		   text_of(d, "not_before"), text_of(d, "not_after"),
		   json_integer_value(json_object_get(d, "days_left")));
}

static void write_certificate(struct buf *out, const char *title,
			      const json_t *d)
{
	if (json_object_get(d, "subject")) {
		buf_printf(out, "%-12s  %s\n", title, text_of(d, "subject"));
		buf_printf(out, "              serial %s, %s\n",
			   text_of(d, "serial"), text_of(d, "key"));
		buf_printf(out, "              ");
		write_validity(out, d);
		buf_char(out, '\n');
	} else {
		buf_printf(out, "%s\n", title);
	}
	write_problems(out, d);
}

static void write_text(struct buf *out, const json_t *all)
{
	const json_t *ca = json_object_get(all, "ca");
	const json_t *crl = json_object_get(all, "crl");
	const json_t *revoked = json_object_get(crl, "revoked");
	size_t i;
	json_t *item;

	buf_printf(out, "Certificates in %s\n\n", text_of(all, "folder"));
	if (json_is_object(ca))
		write_certificate(out, "CA", ca);
	else
		buf_add(out, SPAN("CA            none (ca.pem is missing)\n"));
	if (json_is_object(crl) && revoked) {
		buf_printf(out, "%-12s  number %" JSON_INTEGER_FORMAT ", ",
			   "CRL",
			   json_integer_value(json_object_get(crl, "number")));
		write_validity(out, crl);
		buf_printf(out, "\n              %zu revoked\n",
			   json_array_size(revoked));
		json_array_foreach(revoked, i, item) buf_printf(
			out, "              %s on %.10s\n",
			text_of(item, "serial"), text_of(item, "time"));
	} else if (!json_is_object(crl)) {
		buf_add(out, SPAN("CRL           none (crl.pem is missing)\n"));
	}
	if (json_is_object(crl))
		write_problems(out, crl);
	json_array_foreach(json_object_get(all, "certificates"), i, item)
		write_certificate(out, text_of(item, "name"), item);
}

int certificate_show(const char *folder, bool json, char **ret_text,
		     const char **ret_why)
{
	CLEANUP(json_decrefp) json_t *all = describe_folder(folder);
	CLEANUP(buf_done) struct buf out = {0};
	char *text;

	if (!all)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	if (json_is_null(json_object_get(all, "ca")) &&
	    json_is_null(json_object_get(all, "crl")) &&
	    json_array_size(json_object_get(all, "certificates")) == 0)
		return ca_fail(ret_why, -ENOENT,
			       "there are no certificates in %s", folder);
	if (json) {
		text = json_dumps(all, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	} else {
		write_text(&out, all);
		text = buf_failed(&out) ? NULL : span_dup(buf_span(&out));
	}
	if (!text)
		return ca_fail(ret_why, -ENOMEM, "out of memory");
	*ret_text = text;
	return 0;
}
