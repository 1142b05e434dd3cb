#include "proto/update.h"

#include <errno.h>
#include <jansson.h>

#include "base/utf8.h"

#define MEDIA_MAX_TYPE 32

/* token of RFC 4566, section 9 */
static bool is_token(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c <= ' ' || c > '~' || strchr("\"(),/:;<=>?@[\\]", c))
			return false;
	}
	return s.len > 0;
}

static int direction_decode(struct span word, enum direction *ret)
{
	static const struct {
		struct span word;
		enum direction direction;
	} words[] = {
		{{"sendrecv", 8}, DIRECTION_SENDRECV},
		{{"sendonly", 8}, DIRECTION_SENDONLY},
		{{"recvonly", 8}, DIRECTION_RECVONLY},
		{{"inactive", 8}, DIRECTION_INACTIVE},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (span_equal(word, words[i].word)) {
			*ret = words[i].direction;
			return 0;
		}
	}
	return -EBADMSG;
}

/* ice=yes or ice=no, once; other keys are for others. */
static int parameter_decode(struct span text, bool *has_ice, bool *ret_ice)
{
	struct span key, value = text;

	if (!span_cut(&value, '=', &key) || key.len == 0)
		return -EBADMSG;
	if (!span_equal(key, SPAN("ice")))
		return 0;
	if (*has_ice)
		return -EBADMSG;
	if (span_equal(value, SPAN("yes")))
		*ret_ice = true;
	else if (!span_equal(value, SPAN("no")))
		return -EBADMSG;
	*has_ice = true;
	return 0;
}

static int media_line_decode(struct span text, struct media_line *ret)
{
	struct media_line line = {0};
	bool has_ice = false, has_parameter = false;
	struct span part;
	uint64_t port;

	if (!span_cut(&text, ':', &line.type) ||
	    line.type.len > MEDIA_MAX_TYPE || !is_token(line.type))
		return -EBADMSG;

	for (;;) {
		if (!span_cut_last(&text, ':', &part))
			return -EBADMSG;
		if (part.len == 0 || !memchr(part.ptr, '=', part.len))
			break;
		if (parameter_decode(part, &has_ice, &line.ice) < 0)
			return -EBADMSG;
		has_parameter = true;
	}
	if (!has_parameter || direction_decode(part, &line.direction) < 0 ||
	    !span_cut_last(&text, ':', &part) ||
	    span_to_u64(part, UINT16_MAX, &port) < 0 ||
	    ip_parse(text, &line.sdp.ip) < 0)
		return -EBADMSG;

	line.sdp.port = (uint16_t)port;
	*ret = line;
	return 0;
}

int media_lines_decode(struct span value,
		       struct media_line ret[UPDATE_MAX_STREAMS],
		       size_t *ret_count)
{
	size_t count = 0;
	bool more;

	do {
		struct span text = value;

		more = span_cut(&value, ',', &text);
		if (count == UPDATE_MAX_STREAMS ||
		    media_line_decode(text, &ret[count]) < 0)
			return -EBADMSG;
		count++;
	} while (more);
	*ret_count = count;
	return 0;
}

/*
 * An address in the JSON form comes from the proxy's script, which may put a
 * domain there. It is left unset then and no name is looked up: a lookup
 * would stop the loop for all calls, and all that the address does is to rank
 * a source of media a little higher.
 */
static int json_address(const json_t *object, const char *key,
			struct ip_addr *ret)
{
	const json_t *value = json_object_get(object, key);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return -EBADMSG;
	(void)ip_parse(
		span_make(json_string_value(value), json_string_length(value)),
		ret);
	return 0;
}

/* As much as fits, without a piece of a character. */
static size_t cut_utf8(struct span text, size_t max)
{
	size_t len = 0, next;
	uint32_t code;

	while ((next = utf8_decode(span_make(text.ptr + len, text.len - len),
				   &code)) > 0 &&
	       len + next <= max)
		len += next;
	return len;
}

static int json_username(const json_t *object,
			 char ret[static UPDATE_MAX_USERNAME])
{
	const json_t *value = json_object_get(object, "username");
	size_t len = json_string_length(value);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return -EBADMSG;
	if (len >= UPDATE_MAX_USERNAME)
		len = cut_utf8(span_make(json_string_value(value), len),
			       UPDATE_MAX_USERNAME - 1);
	memcpy(ret, json_string_value(value), len);
	ret[len] = '\0';
	return 0;
}

/* One address, or SOURCE_DESTINATION: where the message came from and where it
 * goes. */
static int addresses_decode(struct span text, struct update *u)
{
	struct span source = text;

	if (span_cut(&text, '_', &source) &&
	    ip_parse(text, &u->destination_ip) < 0)
		return -EBADMSG;
	return ip_parse(source, &u->signaling_ip) < 0 ? -EBADMSG : 0;
}

static int signaling_decode(struct span text, struct update *u)
{
	json_t *object;
	int err = -EBADMSG;

	/* The bare words name no address. */
	if (text.len == 0 || span_equal(text, SPAN("src_dst")) ||
	    span_equal(text, SPAN("source_destination")))
		return 0;
	if (text.ptr[0] != '{')
		return addresses_decode(text, u);

	object = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
	if (object &&
	    json_address(object, "signaling_ip", &u->signaling_ip) == 0 &&
	    json_address(object, "destination_ip", &u->destination_ip) == 0 &&
	    json_username(object, u->username) == 0)
		err = 0;
	json_decref(object);
	return err;
}

static const char *decode(const struct command *command, struct update *u)
{
	struct span type = command_header(command, "type");
	struct span media = command_header(command, "media");
	uint64_t cseq;

	if (u->call_id.len == 0)
		return "no call_id";
	if (u->from_tag.len == 0)
		return "no from_tag";
	if (!span_equal(type, SPAN("request")) &&
	    !span_equal(type, SPAN("reply")))
		return "type is neither request nor reply";
	u->is_reply = span_equal(type, SPAN("reply"));
	if (span_to_u64(command_header(command, "cseq"), UINT32_MAX, &cseq) < 0)
		return "cseq is no number of 32 bits";
	u->cseq = (uint32_t)cseq;
	if (signaling_decode(command_header(command, "signaling_ip"), u) < 0)
		return "signaling_ip is no IP address and no JSON object of "
		       "addresses";
	u->has_media = media.len > 0;
	if (u->has_media &&
	    media_lines_decode(media, u->streams, &u->stream_count) < 0)
		return "malformed media";
	return NULL;
}

int update_decode(const struct command *command, struct update *ret,
		  const char **ret_why)
{
	struct update u = {
		.call_id = command_header(command, "call_id"),
		.from_tag = command_header(command, "from_tag"),
		.to_tag = command_header(command, "to_tag"),
		.from_uri = command_header(command, "from_uri"),
		.to_uri = command_header(command, "to_uri"),
		.user_agent = command_header(command, "user_agent"),
		.dialog_id = command_header(command, "dialog_id"),
		.media_relay = command_header(command, "media_relay"),
	};
	const char *why = decode(command, &u);

	if (why) {
		*ret_why = why;
		return -EBADMSG;
	}
	*ret = u;
	return 0;
}

int removal_decode(const struct command *command, struct removal *ret,
		   const char **ret_why)
{
	struct removal r = {
		.call_id = command_header(command, "call_id"),
		.from_tag = command_header(command, "from_tag"),
		.to_tag = command_header(command, "to_tag"),
	};

	if (r.call_id.len == 0) {
		*ret_why = "no call_id";
		return -EBADMSG;
	}
	if (r.from_tag.len == 0) {
		*ret_why = "no from_tag";
		return -EBADMSG;
	}
	*ret = r;
	return 0;
}
