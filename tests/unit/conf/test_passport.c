#include "conf/passport.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

/* Does a subject with these two attributes pass? */
static bool passes(const char *text, const char *o, const char *cn)
{
	const struct subject_attribute subject[] = {
		{"C", SPAN("NL")},
		{"O", span_of(o)},
		{"CN", span_of(cn)},
	};
	struct passport passport;

	assert_int_equal(passport_parse(span_of(text), &passport), 0);
	return passport_matches(&passport, subject, 3);
}

static void test_none_lets_everybody_pass(void **state)
{
	struct passport passport;

	(void)state;
	assert_int_equal(passport_parse(SPAN(" none "), &passport), 0);
	assert_int_equal(passport.count, 0);
	assert_true(passport_matches(&passport, NULL, 0));
}

static void test_a_value_without_a_wildcard_matches_itself_alone(void **state)
{
	(void)state;
	assert_true(passes("CN:relay1", "AG", "relay1"));
	assert_false(passes("CN:relay1", "AG", "relay11"));
	assert_false(passes("CN:relay1", "AG", "1relay1"));
	assert_false(passes("CN:relay1", "AG", "RELAY1"));
	assert_false(passes("CN:relay1", "AG", ""));
}

static void test_wildcards_stand_at_either_end(void **state)
{
	(void)state;
	assert_true(passes("CN:*.example", "AG", "relay.example"));
	assert_true(passes("CN:*.example", "AG", ".example"));
	assert_false(passes("CN:*.example", "AG", "relay.example.org"));
	assert_true(passes("CN:relay*", "AG", "relay"));
	assert_true(passes("CN:relay*", "AG", "relay.example"));
	assert_false(passes("CN:relay*", "AG", "a relay"));
	assert_true(passes("CN:*relay*", "AG", "my relay 1"));
	assert_false(passes("CN:*relay*", "AG", "rela"));
	assert_true(passes("CN:*", "AG", ""));
	assert_true(passes("CN:**", "AG", "x"));
}

static void test_every_check_has_to_match(void **state)
{
	(void)state;
	assert_true(passes("O:AG Projects, CN:relay*", "AG Projects", "relay"));
	assert_false(passes("O:AG Projects, CN:relay*", "AG Projects", "x"));
	assert_false(passes("O:AG Projects,CN:relay*", "AG", "relay"));
	assert_true(passes("cn:relay", "AG", "relay"));
}

static void
test_an_attribute_that_the_subject_lacks_does_not_match(void **state)
{
	(void)state;
	assert_false(passes("OU:*", "AG", "relay"));
	assert_false(passes("EMAIL:*", "AG", "relay"));
	assert_true(passes("C:NL", "AG", "relay"));
}

static void test_one_of_several_equal_attributes_is_enough(void **state)
{
	const struct subject_attribute subject[] = {{"OU", SPAN("a")},
						    {"OU", SPAN("b")}};
	struct passport passport;

	(void)state;
	assert_int_equal(passport_parse(SPAN("OU:b"), &passport), 0);
	assert_true(passport_matches(&passport, subject, 2));
	assert_int_equal(passport_parse(SPAN("OU:c"), &passport), 0);
	assert_false(passport_matches(&passport, subject, 2));
}

static void test_an_escaped_comma_belongs_to_the_value(void **state)
{
	(void)state;
	assert_true(passes("O:AG Projects\\, Inc., CN:x", "AG Projects, Inc.",
			   "x"));
	assert_false(passes("O:AG Projects\\, Inc., CN:x", "AG Projects", "x"));
	assert_true(passes("O:a\\b", "a\\b", "x"));
	assert_true(passes("O:*\\, Inc.", "A, Inc.", "x"));
	assert_true(passes("O:a:b", "a:b", "x"));
}

/* A certificate may hold a NUL in its subject, to look like another one. */
static void test_a_subject_with_an_inner_nul_does_not_match(void **state)
{
	const struct subject_attribute subject = {"CN", SPAN("relay\0.evil")};
	struct passport passport;

	(void)state;
	assert_int_equal(passport_parse(SPAN("CN:relay"), &passport), 0);
	assert_false(passport_matches(&passport, &subject, 1));
}

static void test_bad_passports_are_refused(void **state)
{
	static const char *const bad[] = {
		"",       " ",       "CN",     "CN:",     "CN: ",
		"XX:a",   ":a",      "CN:a,",  ",CN:a",   "CN:a,,O:b",
		"CN:a*b", "CN:*a*b", "None,O", "CN:a\nb", "CNN:a",
	};
	struct passport passport;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (passport_parse(span_of(bad[i]), &passport) != -EINVAL)
			fail_msg("took \"%s\"", bad[i]);
	assert_int_equal(passport_parse(SPAN("CN:a\0b"), &passport), -EINVAL);
}

static void test_sixteen_checks_of_a_thousand_bytes_are_the_most(void **state)
{
	struct passport passport;
	char text[PASSPORT_MAX_TEXT + 1] = "";

	(void)state;
	for (int i = 0; i < PASSPORT_MAX_CHECKS; i++)
		strcat(text, i ? ",OU:x" : "OU:x");
	assert_int_equal(passport_parse(span_of(text), &passport), 0);
	assert_int_equal(passport.count, PASSPORT_MAX_CHECKS);
	strcat(text, ",OU:x");
	assert_int_equal(passport_parse(span_of(text), &passport), -EINVAL);

	memset(text, 'x', sizeof(text));
	memcpy(text, "OU:", 3);
	text[PASSPORT_MAX_TEXT - 1] = '\0';
	assert_int_equal(passport_parse(span_of(text), &passport), 0);
	text[PASSPORT_MAX_TEXT - 1] = 'x';
	text[PASSPORT_MAX_TEXT] = '\0';
	assert_int_equal(passport_parse(span_of(text), &passport), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none_lets_everybody_pass),
		cmocka_unit_test(
			test_a_value_without_a_wildcard_matches_itself_alone),
		cmocka_unit_test(test_wildcards_stand_at_either_end),
		cmocka_unit_test(test_every_check_has_to_match),
		cmocka_unit_test(
			test_an_attribute_that_the_subject_lacks_does_not_match),
		cmocka_unit_test(
			test_one_of_several_equal_attributes_is_enough),
		cmocka_unit_test(test_an_escaped_comma_belongs_to_the_value),
		cmocka_unit_test(
			test_a_subject_with_an_inner_nul_does_not_match),
		cmocka_unit_test(test_bad_passports_are_refused),
		cmocka_unit_test(
			test_sixteen_checks_of_a_thousand_bytes_are_the_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
