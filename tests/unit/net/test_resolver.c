#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/loop.h"
#include "net/resolver.h"
#include "test.h"

#define TYPE_A 1
#define TYPE_AAAA 28
#define TYPE_SRV 33

/* What the name server of the tests knows. A name that is not here does not
 * exist; one without the type that was asked for has no such data. */
struct record {
	const char *name;
	int type;
	const char *data; /* an address, or an SRV target; NULL: SERVFAIL */
};

static const struct record zone[] = {
	{"_sip._udp.two.test", TYPE_SRV, "a.test"},
	{"_sip._udp.two.test", TYPE_SRV, "b.test"},
	{"a.test", TYPE_A, "192.0.2.1"},
	{"a.test", TYPE_AAAA, "2001:db8::1"},
	{"b.test", TYPE_A, "192.0.2.2"},
	{"b.test", TYPE_A, "192.0.2.1"},
	{"plain.test", TYPE_A, "192.0.2.7"},
	{"_sip._udp.none.test", TYPE_SRV, "."},
	{"none.test", TYPE_A, "192.0.2.9"},
	{"_sip._udp.half.test", TYPE_SRV, "a.test"},
	{"_sip._udp.half.test", TYPE_SRV, "broken.test"},
	{"broken.test", TYPE_A, NULL},
	{"broken.test", TYPE_AAAA, NULL},
	{"_sip._udp.gone.test", TYPE_SRV, "a.test"},
	{"_sip._udp.gone.test", TYPE_SRV, "missing.test"},
	{"_sip._udp.unsure.test", TYPE_SRV, NULL},
	{"unsure.test", TYPE_A, "192.0.2.10"},
	{"family.test", TYPE_A, "192.0.2.11"},
	{"family.test", TYPE_AAAA, NULL},
};

struct world {
	struct loop *loop;
	struct resolver *resolver;
	struct timer *guard;
	bool hung;
	int server; /* the UDP socket of the name server */
	struct endpoint server_at;
	struct watch *watch;
	unsigned queries;

	/* the answer */
	unsigned calls;
	size_t count;
	struct ip_addr addresses[RESOLVER_MAX_ADDRESSES];
	bool complete;
	const char *why;
};

static void put_be16(uint8_t **at, unsigned value)
{
	*(*at)++ = (uint8_t)(value >> 8);
	*(*at)++ = (uint8_t)value;
}

static void put_name(uint8_t **at, const char *name)
{
	while (*name && strcmp(name, ".") != 0) {
		size_t len = strcspn(name, ".");

		*(*at)++ = (uint8_t)len;
		memcpy(*at, name, len);
		*at += len;
		name += len + (name[len] == '.');
	}
	*(*at)++ = 0;
}

/* @return where the question's name ends */
static const uint8_t *read_name(const uint8_t *at, char *name)
{
	name[0] = '\0';
	while (*at) {
		(void)strncat(name, (const char *)at + 1, *at);
		at += *at + 1;
		if (*at)
			(void)strcat(name, ".");
	}
	return at + 1;
}

static void put_record(uint8_t **at, const struct record *record)
{
	uint8_t *length;
	struct ip_addr ip;

	put_be16(at, 0xc00c); /* the name of the question */
	put_be16(at, (unsigned)record->type);
	put_be16(at, 1);
	put_be16(at, 0);
	put_be16(at, 60);
	length = *at;
	*at += 2;
	if (record->type == TYPE_SRV) {
		put_be16(at, 10);
		put_be16(at, 10);
		put_be16(at, 5060);
		put_name(at, record->data);
	} else {
		size_t size = record->type == TYPE_A ? 4 : 16;

		assert_int_equal(ip_parse(span_of(record->data), &ip), 0);
		memcpy(*at, ip.bytes, size);
		*at += size;
	}
	length[0] = 0;
	length[1] = (uint8_t)(*at - length - 2);
}

/* Answers from the zone: NXDOMAIN, or what it has of the type. */
static void question_came(int fd, void *arg)
{
	struct world *w = arg;
	uint8_t packet[1024] = {0}, *at, *count;
	char name[256];
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	ssize_t len = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&from,
			       &from_len);
	const uint8_t *end;
	bool exists = false;
	int type;

	assert_true(len > 12);
	w->queries++;
	end = read_name(packet + 12, name);
	type = end[0] << 8 | end[1];
	at = packet + (end - packet) + 4;
	packet[2] |= 0x80;
	packet[3] = 0;
	memset(packet + 6, 0, 6);
	count = packet + 6;
	for (size_t i = 0; i < ARRAY_SIZE(zone); i++) {
		if (strcasecmp(zone[i].name, name) != 0)
			continue;
		exists = true;
		if (zone[i].type != type)
			continue;
		if (!zone[i].data) {
			packet[3] = 2; /* SERVFAIL */
			continue;
		}
		put_record(&at, &zone[i]);
		count[1]++;
	}
	if (!exists)
		packet[3] = 3;
	(void)sendto(fd, packet, (size_t)(at - packet), 0,
		     (struct sockaddr *)&from, from_len);
}

static void guard_fired(void *arg)
{
	struct world *w = arg;

	w->hung = true;
	loop_stop(w->loop);
}

static int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	(void)ip_parse(SPAN("127.0.0.1"), &w->server_at.ip);
	w->server = socket(AF_INET, SOCK_DGRAM, 0);
	len = endpoint_to_sockaddr(&w->server_at, &address);
	if (bind(w->server, (struct sockaddr *)&address, len) < 0)
		return -1;
	len = sizeof(address);
	getsockname(w->server, (struct sockaddr *)&address, &len);
	w->server_at = endpoint_from_sockaddr(&address);
	if (loop_new(&w->loop) < 0 ||
	    timer_new(&w->guard, w->loop, guard_fired, w) < 0 ||
	    watch_new(&w->watch, w->loop, w->server, question_came, w) < 0 ||
	    resolver_new(&w->resolver, w->loop) < 0)
		return -1;
	timer_start(w->guard, 10000000);
	resolver_use_server(w->resolver, &w->server_at);
	*state = w;
	return 0;
}

static int end_world(void **state)
{
	struct world *w = *state;

	resolver_free(w->resolver);
	watch_free(w->watch);
	timer_free(w->guard);
	loop_free(w->loop);
	close(w->server);
	free(w);
	return 0;
}

static void answered(const struct ip_addr *addresses, size_t count,
		     bool complete, const char *why, void *arg)
{
	struct world *w = arg;

	w->calls++;
	w->count = count;
	w->complete = complete;
	w->why = why;
	for (size_t i = 0; i < count; i++)
		w->addresses[i] = addresses[i];
	loop_stop(w->loop);
}

static void look_up(struct world *w, const char *name)
{
	assert_int_equal(resolver_lookup(w->resolver, name, answered, w, NULL),
			 0);
	/* Never from inside the call. */
	assert_int_equal(w->calls, 0);
	assert_int_equal(loop_run(w->loop), 0);
	assert_false(w->hung);
	assert_int_equal(w->calls, 1);
}

static bool has(const struct world *w, const char *text)
{
	struct ip_addr ip;

	assert_int_equal(ip_parse(span_of(text), &ip), 0);
	for (size_t i = 0; i < w->count; i++)
		if (ip_equal(&w->addresses[i], &ip))
			return true;
	return false;
}

static void test_a_numeric_address_is_answered_without_asking(void **state)
{
	struct world *w = *state;

	look_up(w, "2001:db8::7");
	assert_int_equal(w->count, 1);
	assert_true(has(w, "2001:db8::7"));
	assert_null(w->why);
	assert_int_equal(w->queries, 0);
}

static void test_all_addresses_of_all_srv_targets_come_once(void **state)
{
	struct world *w = *state;

	look_up(w, "two.test");
	assert_int_equal(w->count, 3);
	assert_true(has(w, "192.0.2.1"));
	assert_true(has(w, "2001:db8::1"));
	assert_true(has(w, "192.0.2.2"));
	assert_null(w->why);
}

static void test_without_srv_the_name_itself_is_looked_up(void **state)
{
	struct world *w = *state;

	look_up(w, "plain.test");
	assert_int_equal(w->count, 1);
	assert_true(has(w, "192.0.2.7"));
	assert_true(w->complete);
}

static void test_an_srv_record_may_say_that_there_is_no_service(void **state)
{
	struct world *w = *state;

	look_up(w, "none.test");
	assert_int_equal(w->count, 0);
	assert_non_null(w->why);
}

static void test_a_name_that_does_not_exist_gives_a_reason(void **state)
{
	struct world *w = *state;

	look_up(w, "missing.test");
	assert_int_equal(w->count, 0);
	assert_non_null(w->why);
}

static void test_that_there_is_no_such_name_is_a_complete_answer(void **state)
{
	struct world *w = *state;

	look_up(w, "gone.test");
	assert_int_equal(w->count, 2);
	assert_true(w->complete);
	assert_null(w->why);
}

static void test_a_target_that_is_not_answered_makes_it_incomplete(void **state)
{
	struct world *w = *state;

	look_up(w, "half.test");
	assert_int_equal(w->count, 2);
	assert_true(has(w, "192.0.2.1"));
	assert_false(w->complete);
	assert_non_null(w->why);
}

static void test_an_srv_query_that_fails_makes_it_incomplete(void **state)
{
	struct world *w = *state;

	look_up(w, "unsure.test");
	assert_int_equal(w->count, 1);
	assert_true(has(w, "192.0.2.10"));
	assert_false(w->complete);
}

static void test_one_family_that_fails_makes_it_incomplete(void **state)
{
	struct world *w = *state;

	look_up(w, "family.test");
	assert_int_equal(w->count, 1);
	assert_true(has(w, "192.0.2.11"));
	assert_false(w->complete);
}

static void test_localhost_is_known_without_a_name_server(void **state)
{
	struct world *w = *state;

	look_up(w, "localhost");
	assert_true(w->count >= 1);
	assert_true(has(w, "127.0.0.1") || has(w, "::1"));
	assert_int_equal(w->queries, 0);
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

static void test_a_cancelled_query_calls_nobody(void **state)
{
	struct world *w = *state;
	struct resolver_query *asked, *numeric;

	assert_int_equal(
		resolver_lookup(w->resolver, "plain.test", answered, w, &asked),
		0);
	assert_int_equal(resolver_lookup(w->resolver, "192.0.2.1", answered, w,
					 &numeric),
			 0);
	resolver_cancel(asked);
	resolver_cancel(numeric);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(loop_defer(w->loop, stop_loop, w->loop), 0);
		assert_int_equal(loop_run(w->loop), 0);
	}
	assert_int_equal(w->calls, 0);
}

static void test_a_resolver_ends_with_its_queries(void **state)
{
	struct world *w = *state;

	assert_int_equal(
		resolver_lookup(w->resolver, "plain.test", answered, w, NULL),
		0);
	w->resolver = resolver_free(w->resolver);
	assert_int_equal(loop_defer(w->loop, stop_loop, w->loop), 0);
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(w->calls, 0);
}

static void free_resolver(const struct ip_addr *addresses, size_t count,
			  bool complete, const char *why, void *arg)
{
	struct world *w = arg;

	w->resolver = resolver_free(w->resolver);
	answered(addresses, count, complete, why, arg);
}

static void test_a_handler_may_free_the_resolver(void **state)
{
	struct world *w = *state;

	assert_int_equal(resolver_lookup(w->resolver, "plain.test",
					 free_resolver, w, NULL),
			 0);
	assert_int_equal(loop_run(w->loop), 0);
	assert_int_equal(w->calls, 1);
	assert_int_equal(w->count, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_world, end_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_numeric_address_is_answered_without_asking),
		CASE(test_all_addresses_of_all_srv_targets_come_once),
		CASE(test_without_srv_the_name_itself_is_looked_up),
		CASE(test_an_srv_record_may_say_that_there_is_no_service),
		CASE(test_a_name_that_does_not_exist_gives_a_reason),
		CASE(test_that_there_is_no_such_name_is_a_complete_answer),
		CASE(test_a_target_that_is_not_answered_makes_it_incomplete),
		CASE(test_an_srv_query_that_fails_makes_it_incomplete),
		CASE(test_one_family_that_fails_makes_it_incomplete),
		CASE(test_localhost_is_known_without_a_name_server),
		CASE(test_a_cancelled_query_calls_nobody),
		CASE(test_a_resolver_ends_with_its_queries),
		CASE(test_a_handler_may_free_the_resolver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
