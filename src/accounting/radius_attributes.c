#include "accounting/radius_attributes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "proto/json_read.h"

#define STATUS_INTERIM_UPDATE 3
#define DEFAULT_USER "mediaproxy@default"

/* A number of whatever kind as a whole one; what is below zero is zero. */
static uint64_t whole(const json_t *number)
{
	double value = json_number_value(number);

	if (json_is_integer(number))
		return json_integer_value(number) > 0
			       ? (uint64_t)json_integer_value(number)
			       : 0;
	if (!(value > 0))
		return 0;
	return value < 0x1p63 ? (uint64_t)value : UINT64_MAX;
}

size_t radius_cut(struct span text, size_t max)
{
	size_t len = text.len;

	if (len <= max)
		return len;
	len = max;
	/* At most three: more continuation bytes in a row are no UTF-8. */
	while (len > 0 && max - len < 3 &&
	       ((uint8_t)text.ptr[len] & 0xc0) == 0x80)
		len--;
	return ((uint8_t)text.ptr[len] & 0xc0) == 0x80 ? max : len;
}

static void add(struct radius_attributes *list, enum radius_name name,
		const void *value, size_t len)
{
	struct radius_attribute *attribute = &list->items[list->count++];

	attribute->name = name;
	attribute->len = (uint8_t)len;
	memcpy(attribute->value, value, len);
}

static void add_number(struct radius_attributes *list, enum radius_name name,
		       uint64_t number)
{
	uint32_t be =
		htonl(number < UINT32_MAX ? (uint32_t)number : UINT32_MAX);

	add(list, name, &be, sizeof(be));
}

static void add_text(struct radius_attributes *list, enum radius_name name,
		     struct span text)
{
	if (text.len > 0)
		add(list, name, text.ptr, radius_cut(text, RADIUS_MAX_VALUE));
}

static uint64_t sum_of(const json_t *streams, const char *key)
{
	const json_t *stream;
	uint64_t sum = 0;
	size_t i;

	json_array_foreach(
		streams, i,
		stream) if (__builtin_add_overflow(sum,
						   whole(json_object_get(stream,
									 key)),
						   &sum)) return UINT64_MAX;
	return sum;
}

/* The high words are for counters over 4 GiB alone, so that the packet of an
 * ordinary call is what it always was. */
static void add_octets(struct radius_attributes *list, const json_t *streams)
{
	uint64_t input = sum_of(streams, "caller_bytes");
	uint64_t output = sum_of(streams, "callee_bytes");

	add_number(list, RADIUS_ACCT_INPUT_OCTETS, (uint32_t)input);
	add_number(list, RADIUS_ACCT_OUTPUT_OCTETS, (uint32_t)output);
	if (input >> 32)
		add_number(list, RADIUS_ACCT_INPUT_GIGAWORDS, input >> 32);
	if (output >> 32)
		add_number(list, RADIUS_ACCT_OUTPUT_GIGAWORDS, output >> 32);
}

/* "10.0.0.1:40000", "[2001:db8::1]:40000", and the latter without brackets. */
static struct ip_addr ip_of_endpoint(struct span text)
{
	struct ip_addr ip = {0};
	struct span port;

	if (span_cut_last(&text, ':', &port))
		(void)ip_parse(text, &ip);
	return ip;
}

static void add_relay(struct radius_attributes *list, const json_t *session,
		      const json_t *streams)
{
	struct ip_addr ip = {0};

	if (ip_parse(json_member_text(session, "relay"), &ip) < 0 ||
	    ip_is_unspecified(&ip))
		ip = ip_of_endpoint(json_member_text(json_array_get(streams, 0),
						     "caller_local"));
	if (ip.family == AF_INET)
		add(list, RADIUS_NAS_IP_ADDRESS, ip.bytes, 4);
	else if (ip.family == AF_INET6)
		add(list, RADIUS_NAS_IPV6_ADDRESS, ip.bytes, 16);
}

static void add_user_agents(struct radius_attributes *list,
			    const json_t *session, struct buf *text)
{
	struct span caller = json_member_text(session, "caller_ua");
	struct span callee = json_member_text(session, "callee_ua");

	if (caller.len == 0 && callee.len == 0)
		return;
	buf_add(text, caller);
	buf_char(text, '+');
	buf_add(text, callee);
	add_text(list, RADIUS_SIP_USER_AGENTS, buf_span(text));
}

/* A stream lasted if its end is another moment than its start. One without an
 * end is up (an interim report). */
static bool lasted(const json_t *stream)
{
	const json_t *start = json_object_get(stream, "start_time");
	const json_t *end = json_object_get(stream, "end_time");

	if (!json_is_number(start))
		return false;
	return !json_is_number(end) ||
	       json_number_value(start) != json_number_value(end);
}

static int compare_spans(const void *a_arg, const void *b_arg)
{
	const struct span *a = a_arg, *b = b_arg;
	int order = memcmp(a->ptr, b->ptr, a->len < b->len ? a->len : b->len);

	if (order == 0)
		order = (a->len > b->len) - (a->len < b->len);
	return order;
}

static void add_applications(struct radius_attributes *list,
			     const json_t *streams, struct buf *text)
{
	CLEANUP(freep) struct span *types = NULL;
	size_t count = 0, i;
	const json_t *stream;

	types = calloc(json_array_size(streams) + 1, sizeof(*types));
	if (!types) {
		text->failed = true;
		return;
	}
	json_array_foreach(streams, i, stream)
	{
		types[count] = json_member_text(stream, "media_type");
		if (types[count].len > 0 && lasted(stream))
			count++;
	}
	qsort(types, count, sizeof(*types), compare_spans);
	for (i = 0; i < count; i++) {
		if (i > 0 && span_equal(types[i], types[i - 1]))
			continue;
		if (i > 0)
			buf_add(text, SPAN(", "));
		buf_add(text, types[i]);
	}
	add_text(list, RADIUS_SIP_APPLICATIONS, buf_span(text));
}

static void add_codecs(struct radius_attributes *list, const json_t *streams,
		       struct buf *text)
{
	const json_t *stream;
	size_t i;

	json_array_foreach(streams, i, stream)
	{
		struct span codec = json_member_text(stream, "caller_codec");

		if (codec.len == 0)
			continue;
		if (text->len > 0)
			buf_add(text, SPAN(", "));
		buf_add(text, codec);
	}
	add_text(list, RADIUS_MEDIA_CODECS, buf_span(text));
}

/* A session whose streams all went on without the relay, as ICE does, did time
 * out here, and is no call that broke. */
static void add_media_info(struct radius_attributes *list,
			   const json_t *session)
{
	if (json_is_true(json_object_get(session, "all_streams_ice")))
		add_text(list, RADIUS_MEDIA_INFO, SPAN("ICE session"));
	else if (json_is_true(json_object_get(session, "timed_out")))
		add_text(list, RADIUS_MEDIA_INFO, SPAN("timeout"));
}

static void add_delay(struct radius_attributes *list, const json_t *streams)
{
	const json_t *stream;
	size_t i;

	json_array_foreach(streams, i, stream)
	{
		const json_t *delay =
			json_object_get(stream, "post_dial_delay");

		if (json_is_number(delay)) {
			add_number(list, RADIUS_ACCT_DELAY_TIME, whole(delay));
			return;
		}
	}
}

static int build(struct radius_attributes *list, const json_t *session)
{
	CLEANUP(buf_done) struct buf agents = {0};
	CLEANUP(buf_done) struct buf applications = {0};
	CLEANUP(buf_done) struct buf codecs = {0};
	const json_t *streams = json_object_get(session, "streams");
	const json_t *duration = json_object_get(session, "duration");
	struct span user = json_member_text(session, "username");

	add_number(list, RADIUS_ACCT_STATUS_TYPE, STATUS_INTERIM_UPDATE);
	add_text(list, RADIUS_USER_NAME,
		 user.len > 0 ? user : SPAN(DEFAULT_USER));
	add_text(list, RADIUS_ACCT_SESSION_ID,
		 json_member_text(session, "call_id"));
	if (json_is_number(duration))
		add_number(list, RADIUS_ACCT_SESSION_TIME, whole(duration));
	add_octets(list, streams);
	add_text(list, RADIUS_SIP_FROM_TAG,
		 json_member_text(session, "from_tag"));
	add_text(list, RADIUS_SIP_TO_TAG, json_member_text(session, "to_tag"));
	add_relay(list, session, streams);
	add_user_agents(list, session, &agents);
	add_applications(list, streams, &applications);
	add_codecs(list, streams, &codecs);
	add_media_info(list, session);
	add_delay(list, streams);
	if (buf_failed(&agents) || buf_failed(&applications) ||
	    buf_failed(&codecs))
		return -ENOMEM;
	return 0;
}

int radius_attributes_of(struct radius_attributes *ret, struct span json)
{
	CLEANUP(json_freep)
	json_t *session = json_loadb(json.ptr, json.len, JSON_ALLOW_NUL, NULL);
	struct radius_attributes list = {0};
	int err;

	if (!json_is_object(session))
		return -EBADMSG;
	err = build(&list, session);
	if (err < 0)
		return err;
	*ret = list;
	return 0;
}
