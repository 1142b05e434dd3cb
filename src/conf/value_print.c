/**
 * @file conf/value_print.c  From a member of struct conf to the text of a value
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "conf/value.h"

const struct value_unit value_units[VALUE_UNIT_COUNT] = {
	{"d", 86400 * US_PER_S}, {"h", 3600 * US_PER_S}, {"min", 60 * US_PER_S},
	{"s", US_PER_S},         {"ms", US_PER_MS},      {"us", 1},
};

void value_print_duration(uint64_t us, struct buf *out)
{
	size_t i = 0;

	if (us == 0) {
		buf_char(out, '0');
		return;
	}
	while (us % value_units[i].us != 0)
		i++;
	buf_printf(out, "%" PRIu64 " %s", us / value_units[i].us,
		   value_units[i].name);
}

/* Everything between the user's colon and the last @ may be the password; an
 * ODBC string may hold one in its attributes. */
static void print_database(const char *uri, struct buf *out)
{
	struct span rest = span_of(uri);
	bool is_odbc = span_starts_with(rest, SPAN("odbc:"));
	const char *start = strstr(uri, "://");
	const char *colon = start ? strchr(start + 3, ':') : NULL;
	const char *at = strrchr(uri, '@');
	const char *attributes = strchr(uri, ';');

	if (is_odbc && attributes) {
		buf_add(out, span_make(uri, (size_t)(attributes - uri) + 1));
		buf_add(out, SPAN("***"));
	} else if (colon && at && colon < at) {
		buf_add(out, span_make(uri, (size_t)(colon - uri) + 1));
		buf_add(out, SPAN("***"));
		buf_add(out, span_of(at));
	} else {
		buf_add(out, rest);
	}
}

static void print_ip(const struct ip_addr *ip, const char *none,
		     struct buf *out)
{
	char text[ADDR_TEXT_SIZE];

	buf_add(out, span_of(ip_is_set(ip) ? ip_format(ip, text) : none));
}

static void print_addresses(const struct conf_address_list *list,
			    struct buf *out)
{
	if (list->count == 0)
		buf_add(out, SPAN("default"));
	for (size_t i = 0; i < list->count; i++) {
		const struct conf_address *address = &list->addresses[i];

		buf_add(out, i > 0 ? SPAN(", ") : SPAN(""));
		print_ip(&address->ip, "", out);
		if (!ip_is_set(&address->advertised))
			continue;
		buf_char(out, '!');
		print_ip(&address->advertised, "", out);
	}
}

static void print_listen(const struct endpoint *at, struct buf *out)
{
	char text[ADDR_TEXT_SIZE];

	if (ip_is_set(&at->ip))
		buf_add(out, span_of(endpoint_format(at, text)));
	else
		buf_printf(out, "any:%u", at->port);
}

static void print_hosts(const struct conf_host_list *list, struct buf *out)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct conf_host *host = &list->hosts[i];
		bool brackets = strchr(host->name, ':') != NULL;

		buf_printf(out, "%s%s%s%s", i > 0 ? ", " : "",
			   brackets ? "[" : "", host->name,
			   brackets ? "]" : "");
		if (host->port)
			buf_printf(out, ":%u", host->port);
	}
}

static void print_networks(const struct conf_network_list *list,
			   struct buf *out)
{
	for (size_t i = 0; i < list->count; i++) {
		buf_add(out, i > 0 ? SPAN(", ") : SPAN(""));
		print_ip(&list->networks[i].ip, "", out);
		buf_printf(out, "/%u", list->networks[i].prefix_len);
	}
}

static void print_passport(const struct passport *passport, struct buf *out)
{
	if (passport->count == 0)
		buf_add(out, SPAN("None"));
	for (size_t i = 0; i < passport->count; i++) {
		buf_printf(out, "%s%s:%s", i > 0 ? ", " : "",
			   passport->checks[i].attribute,
			   passport->checks[i].any_prefix ? "*" : "");
		for (const char *c = passport->checks[i].value; *c; c++) {
			if (*c == ',')
				buf_char(out, '\\');
			buf_char(out, *c);
		}
		if (passport->checks[i].any_suffix)
			buf_char(out, '*');
	}
}

/* A member of struct conf, read as what its key's type says it is. */
#define MEMBER(type) (*(const type *)member)

void value_print(const struct conf_key *key, const struct conf *conf,
		 struct buf *out)
{
	const void *member = (const char *)conf + key->offset;

	switch (key->type) {
	case KEY_UNUSED:
		buf_add(out, span_of(key->fallback));
		break;
	case KEY_BOOL:
		buf_add(out, MEMBER(bool) ? SPAN("yes") : SPAN("no"));
		break;
	case KEY_NUMBER:
		buf_printf(out, "%u", MEMBER(unsigned));
		break;
	case KEY_DURATION:
		value_print_duration(MEMBER(uint64_t), out);
		break;
	case KEY_TEXT:
	case KEY_IDENTIFIER:
	case KEY_ACCOUNTING:
		buf_add(out, span_of(member));
		break;
	case KEY_DATABASE:
		print_database(member, out);
		break;
	case KEY_SECURITY_LEVEL:
		if (MEMBER(int) < 0)
			buf_add(out, SPAN("default"));
		else
			buf_printf(out, "%d", MEMBER(int));
		break;
	case KEY_ADDRESSES:
	case KEY_LOCALS:
		print_addresses(member, out);
		break;
	case KEY_TOS:
		if (MEMBER(unsigned) == CONF_TOS_KEEP)
			buf_add(out, SPAN("keep"));
		else
			buf_printf(out, "%u", MEMBER(unsigned));
		break;
	case KEY_LISTEN:
		print_listen(member, out);
		break;
	case KEY_HOSTS:
		print_hosts(member, out);
		break;
	case KEY_NETWORKS:
		print_networks(member, out);
		break;
	case KEY_PORT_RANGE:
		buf_printf(out, "%u:%u", MEMBER(struct conf_port_range).first,
			   MEMBER(struct conf_port_range).end);
		break;
	case KEY_PASSPORT:
		print_passport(member, out);
		break;
	case KEY_LOG_LEVEL:
		buf_add(out, span_of(log_level_name(MEMBER(enum log_level))));
		break;
	case KEY_CHOICE:
		buf_add(out, span_of(key->choices[MEMBER(unsigned)]));
		break;
	}
}

void value_print_quoted(const struct conf_key *key, struct span text,
			struct buf *out)
{
	if (key->type == KEY_DATABASE) {
		buf_add(out, SPAN("***"));
		return;
	}
	for (size_t i = 0; i < text.len && i < 100; i++) {
		uint8_t c = (uint8_t)text.ptr[i];

		buf_char(out, c < 0x20 || c == 0x7f ? '?' : text.ptr[i]);
	}
	if (text.len > 100)
		buf_add(out, SPAN("..."));
}
