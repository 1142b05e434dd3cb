#include "base/cleanup.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "net/certificate.h"
#include "test.h"

static char folder[64];

static const char *in_folder(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	(void)snprintf(path, 128, "%s/%s", folder, name);
	return path;
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test-certificate-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

static X509 *load(const char *path)
{
	FILE *file = fopen(path, "r");
	X509 *certificate;

	assert_non_null(file);
	certificate = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	assert_non_null(certificate);
	return certificate;
}

static X509_CRL *load_crl(void)
{
	FILE *file = fopen(in_folder("crl.pem"), "r");
	X509_CRL *crl;

	assert_non_null(file);
	crl = PEM_read_X509_CRL(file, NULL, NULL, NULL);
	fclose(file);
	assert_non_null(crl);
	return crl;
}

/* What a TLS peer does with it: chain, purpose and CRL. */
static int verify(const char *leaf_path, int purpose)
{
	X509 *ca = load(in_folder("ca.pem")), *leaf = load(leaf_path);
	X509_CRL *crl = load_crl();
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int result = X509_V_OK;

	X509_STORE_add_cert(store, ca);
	X509_STORE_add_crl(store, crl);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK |
					    X509_V_FLAG_CRL_CHECK_ALL |
					    X509_V_FLAG_X509_STRICT);
	X509_STORE_set_purpose(store, purpose);
	X509_STORE_CTX_init(context, store, leaf, NULL);
	if (X509_verify_cert(context) != 1)
		result = X509_STORE_CTX_get_error(context);
	X509_STORE_CTX_free(context);
	X509_STORE_free(store);
	X509_CRL_free(crl);
	X509_free(leaf);
	X509_free(ca);
	return result;
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(in_folder(name), &st), 0);
	return st.st_mode & 07777;
}

static void make_all(void)
{
	struct certificate_subject subject = {.organization = "Phones, Inc."};
	const char *why = NULL;

	assert_int_equal(certificate_init(folder, &subject, 0, &why), 0);
	assert_int_equal(certificate_issue(folder, NULL, "dispatcher", NULL, 0,
					   false, &why),
			 0);
	assert_int_equal(
		certificate_issue(folder, NULL, "relay", NULL, 0, false, &why),
		0);
}

static void test_both_certificates_verify_for_both_roles(void **state)
{
	(void)state;
	make_all();
	assert_int_equal(
		verify(in_folder("dispatcher.crt"), X509_PURPOSE_SSL_SERVER),
		X509_V_OK);
	assert_int_equal(
		verify(in_folder("dispatcher.crt"), X509_PURPOSE_SSL_CLIENT),
		X509_V_OK);
	assert_int_equal(
		verify(in_folder("relay.crt"), X509_PURPOSE_SSL_SERVER),
		X509_V_OK);
	assert_int_equal(
		verify(in_folder("relay.crt"), X509_PURPOSE_SSL_CLIENT),
		X509_V_OK);
}

static void test_keys_are_for_their_owner_alone(void **state)
{
	(void)state;
	make_all();
	assert_int_equal(mode_of("ca.key"), 0600);
	assert_int_equal(mode_of("dispatcher.key"), 0600);
	assert_int_equal(mode_of("relay.key"), 0600);
	assert_int_equal(mode_of("ca.pem"), 0644);
	assert_int_equal(mode_of("crl.pem"), 0644);
	assert_int_equal(mode_of("relay.crt"), 0644);
}

static void test_a_certificate_has_the_fields_it_should(void **state)
{
	X509 *ca, *leaf;
	char text[128];
	int days, seconds;

	(void)state;
	make_all();
	ca = load(in_folder("ca.pem"));
	leaf = load(in_folder("relay.crt"));
	assert_int_equal(X509_check_ca(ca), 1);
	assert_int_equal(X509_get_key_usage(ca),
			 KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_int_equal(X509_check_ca(leaf), 0);
	assert_int_equal(X509_get_extended_key_usage(leaf),
			 XKU_SSL_SERVER | XKU_SSL_CLIENT);
	assert_int_equal(
		ASN1_OCTET_STRING_cmp(X509_get0_subject_key_id(ca),
				      X509_get0_authority_key_id(leaf)),
		0);
	/* O comes from the CA, CN from the name. */
	X509_NAME_get_text_by_NID(X509_get_subject_name(leaf),
				  NID_organizationName, text, sizeof(text));
	assert_string_equal(text, "Phones, Inc.");
	X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName,
				  text, sizeof(text));
	assert_string_equal(text, "relay");
	/* One hour back, ten and two years on. */
	assert_true(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(leaf),
				   X509_get0_notAfter(leaf)));
	assert_int_equal(days, 730);
	assert_int_equal(seconds, 3600);
	assert_true(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(ca),
				   X509_get0_notAfter(ca)));
	assert_int_equal(days, 3650);
	X509_free(leaf);
	X509_free(ca);
}

static void test_a_certificate_does_not_outlive_its_ca(void **state)
{
	const char *why = NULL;
	X509 *ca, *leaf;

	(void)state;
	assert_int_equal(certificate_init(folder, NULL, 10, &why), 0);
	assert_int_equal(
		certificate_issue(folder, NULL, "relay", NULL, 0, false, &why),
		0);
	ca = load(in_folder("ca.pem"));
	leaf = load(in_folder("relay.crt"));
	assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(ca),
					   X509_get0_notAfter(leaf)),
			 0);
	X509_free(leaf);
	X509_free(ca);
}

static void
test_a_revoked_certificate_is_found_and_the_other_is_not(void **state)
{
	const char *why = NULL;

	(void)state;
	make_all();
	assert_int_equal(
		certificate_revoke(folder, in_folder("relay.crt"), &why), 0);
	assert_int_equal(
		verify(in_folder("relay.crt"), X509_PURPOSE_SSL_CLIENT),
		X509_V_ERR_CERT_REVOKED);
	assert_int_equal(
		verify(in_folder("dispatcher.crt"), X509_PURPOSE_SSL_CLIENT),
		X509_V_OK);
	assert_int_equal(
		certificate_revoke(folder, in_folder("relay.crt"), &why),
		-EEXIST);
}

static char *serial_of(const char *path)
{
	X509 *certificate = load(path);
	BIGNUM *number =
		ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char *hex = BN_bn2hex(number), *copy = strdup(hex);

	OPENSSL_free(hex);
	BN_free(number);
	X509_free(certificate);
	return copy;
}

static void test_a_serial_number_can_be_revoked_without_its_file(void **state)
{
	CLEANUP(freep) char *serial = NULL;
	const char *why = NULL;

	(void)state;
	make_all();
	serial = serial_of(in_folder("relay.crt"));
	assert_int_equal(certificate_revoke(folder, serial, &why), 0);
	assert_int_equal(
		verify(in_folder("relay.crt"), X509_PURPOSE_SSL_CLIENT),
		X509_V_ERR_CERT_REVOKED);
	assert_int_equal(certificate_revoke(folder, "1234ABCD", &why), -ENOENT);
	assert_int_equal(certificate_revoke(folder, "no such file", &why),
			 -ENOENT);
	assert_non_null(strstr(why, "no such file"));
}

static long crl_number(void)
{
	X509_CRL *crl = load_crl();
	ASN1_INTEGER *number =
		X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	long value;

	assert_non_null(number);
	value = ASN1_INTEGER_get(number);
	ASN1_INTEGER_free(number);
	X509_CRL_free(crl);
	return value;
}

static void test_a_renewed_crl_keeps_the_revoked_and_counts_on(void **state)
{
	const char *why = NULL;
	X509_CRL *crl;
	int days, seconds;

	(void)state;
	make_all();
	assert_int_equal(crl_number(), 1);
	assert_int_equal(
		certificate_revoke(folder, in_folder("relay.crt"), &why), 0);
	assert_int_equal(certificate_renew_crl(folder, 7, &why), 0);
	assert_int_equal(crl_number(), 3);
	assert_int_equal(
		verify(in_folder("relay.crt"), X509_PURPOSE_SSL_CLIENT),
		X509_V_ERR_CERT_REVOKED);
	crl = load_crl();
	assert_int_equal(X509_CRL_get_version(crl), X509_CRL_VERSION_2);
	assert_true(ASN1_TIME_diff(&days, &seconds,
				   X509_CRL_get0_lastUpdate(crl),
				   X509_CRL_get0_nextUpdate(crl)));
	assert_int_equal(days, 7);
	X509_CRL_free(crl);
}

static void test_a_lost_crl_comes_back_with_its_entries(void **state)
{
	const char *why = NULL;

	(void)state;
	make_all();
	assert_int_equal(
		certificate_revoke(folder, in_folder("relay.crt"), &why), 0);
	assert_int_equal(unlink(in_folder("crl.pem")), 0);
	assert_int_equal(certificate_renew_crl(folder, 0, &why), 0);
	assert_int_equal(
		verify(in_folder("relay.crt"), X509_PURPOSE_SSL_CLIENT),
		X509_V_ERR_CERT_REVOKED);
}

static void test_nothing_is_overwritten_unless_asked(void **state)
{
	CLEANUP(freep) char *before = NULL;
	CLEANUP(freep) char *kept = NULL;
	CLEANUP(freep) char *after = NULL;
	const char *why = NULL;

	(void)state;
	make_all();
	before = serial_of(in_folder("relay.crt"));
	assert_int_equal(certificate_init(folder, NULL, 0, &why), -EEXIST);
	assert_int_equal(
		certificate_issue(folder, NULL, "relay", NULL, 0, false, &why),
		-EEXIST);
	assert_non_null(strstr(why, "relay.crt"));
	kept = serial_of(in_folder("relay.crt"));
	assert_string_equal(before, kept);
	assert_int_equal(
		certificate_issue(folder, NULL, "relay", NULL, 0, true, &why),
		0);
	after = serial_of(in_folder("relay.crt"));
	assert_string_not_equal(before, after);
}

static void test_another_folder_gets_all_that_a_daemon_needs(void **state)
{
	const char *why = NULL;
	struct stat st;

	(void)state;
	assert_int_equal(certificate_init(folder, NULL, 0, &why), 0);
	assert_int_equal(certificate_issue(folder, in_folder("out/tls"),
					   "relay", NULL, 0, false, &why),
			 0);
	assert_int_equal(
		verify(in_folder("out/tls/relay.crt"), X509_PURPOSE_SSL_CLIENT),
		X509_V_OK);
	assert_int_equal(stat(in_folder("out/tls/relay.key"), &st), 0);
	assert_int_equal(stat(in_folder("out/tls/ca.pem"), &st), 0);
	assert_int_equal(stat(in_folder("out/tls/crl.pem"), &st), 0);
	assert_int_equal(stat(in_folder("out/tls/ca.key"), &st), -1);
	assert_int_equal(stat(in_folder("relay.crt"), &st), -1);
}

static void test_wrong_requests_get_a_reason(void **state)
{
	struct certificate_subject long_name = {
		.common_name = "0123456789012345678901234567890123456789"
			       "0123456789012345678901234567890123456789"};
	const char *why = NULL;

	(void)state;
	assert_int_equal(
		certificate_issue(folder, NULL, "relay", NULL, 0, false, &why),
		-ENOENT);
	assert_non_null(strstr(why, "certs init"));
	assert_int_equal(certificate_init(folder, &long_name, 0, &why),
			 -EINVAL);
	assert_non_null(strstr(why, "64 characters"));
	assert_int_equal(certificate_init(folder, NULL, 1000000, &why),
			 -EINVAL);
	assert_int_equal(certificate_init(folder, NULL, 0, &why), 0);
	assert_int_equal(certificate_issue(folder, NULL, "../evil", NULL, 0,
					   false, &why),
			 -EINVAL);
}

static bool has_problem(const json_t *description, const char *part)
{
	size_t i;
	json_t *problem;

	json_array_foreach(json_object_get(description, "problems"), i,
			   problem) if (strstr(json_string_value(problem),
					       part)) return true;
	return false;
}

static void test_show_says_what_is_wrong(void **state)
{
	CLEANUP(freep) char *text = NULL;
	const char *why = NULL;
	json_t *all, *list;

	(void)state;
	assert_int_equal(certificate_show(folder, true, &text, &why), -ENOENT);
	make_all();
	assert_int_equal(
		certificate_revoke(folder, in_folder("relay.crt"), &why), 0);
	assert_int_equal(chmod(in_folder("dispatcher.key"), 0644), 0);
	assert_int_equal(unlink(in_folder("relay.key")), 0);
	assert_int_equal(certificate_show(folder, true, &text, &why), 0);
	all = json_loads(text, 0, NULL);
	assert_non_null(all);
	list = json_object_get(all, "certificates");
	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(json_array_size(json_object_get(
				 json_object_get(all, "ca"), "problems")),
			 0);
	assert_true(has_problem(json_array_get(list, 0), "others may read"));
	assert_false(has_problem(json_array_get(list, 0), "revoked"));
	assert_true(has_problem(json_array_get(list, 1), "revoked"));
	assert_true(has_problem(json_array_get(list, 1), "missing"));
	json_decref(all);
}

static void test_show_for_a_person_names_each_certificate(void **state)
{
	CLEANUP(freep) char *text = NULL;
	const char *why = NULL;

	(void)state;
	make_all();
	assert_int_equal(certificate_show(folder, false, &text, &why), 0);
	assert_non_null(strstr(text, "O=Phones\\, Inc., CN=relay"));
	assert_non_null(strstr(text, "EC P-256"));
	assert_non_null(strstr(text, " days left)"));
	assert_null(strstr(text, "PROBLEM"));
}

#define CASE(name)                                                             \
	cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_both_certificates_verify_for_both_roles),
		CASE(test_keys_are_for_their_owner_alone),
		CASE(test_a_certificate_has_the_fields_it_should),
		CASE(test_a_certificate_does_not_outlive_its_ca),
		CASE(test_a_revoked_certificate_is_found_and_the_other_is_not),
		CASE(test_a_serial_number_can_be_revoked_without_its_file),
		CASE(test_a_renewed_crl_keeps_the_revoked_and_counts_on),
		CASE(test_a_lost_crl_comes_back_with_its_entries),
		CASE(test_nothing_is_overwritten_unless_asked),
		CASE(test_another_folder_gets_all_that_a_daemon_needs),
		CASE(test_wrong_requests_get_a_reason),
		CASE(test_show_says_what_is_wrong),
		CASE(test_show_for_a_person_names_each_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
