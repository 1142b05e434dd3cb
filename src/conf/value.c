#include "conf/value.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"

static bool is_word(struct span text, const char *word)
{
	return text.len == strlen(word) &&
	       strncasecmp(text.ptr, word, text.len) == 0;
}

static bool is_default(struct span text)
{
	return text.len == 0 || is_word(text, "default");
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

/* The next word of a list that spaces and commas separate. */
static bool next_word(struct span *rest, struct span *ret_word)
{
	size_t len = 0;

	while (rest->len > 0 && strchr(" \t,", rest->ptr[0]))
		*rest = span_make(rest->ptr + 1, rest->len - 1);
	while (len < rest->len && !strchr(" \t,", rest->ptr[len]))
		len++;
	*ret_word = span_make(rest->ptr, len);
	*rest = span_make(rest->ptr + len, rest->len - len);
	return len > 0;
}

static int parse_bool(struct span text, bool *ret)
{
	static const char *const no_and_yes[][4] = {{"no", "false", "off", "0"},
						    {"yes", "true", "on", "1"}};

	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < 4; j++)
			if (is_word(text, no_and_yes[i][j])) {
				*ret = i == 1;
				return 0;
			}
	return -EINVAL;
}

static int parse_number(const struct conf_key *key, struct span text,
			unsigned *ret)
{
	uint64_t value;

	if (span_to_u64(text, key->max, &value) < 0 || value < key->min)
		return -EINVAL;
	*ret = (unsigned)value;
	return 0;
}

static int parse_duration(const struct conf_key *key, struct span text,
			  uint64_t *ret)
{
	uint64_t unit_us = US_PER_S;
	uint64_t value;
	size_t digits = 0;
	struct span unit;

	while (digits < text.len && text.ptr[digits] >= '0' &&
	       text.ptr[digits] <= '9')
		digits++;
	unit = span_trim(span_make(text.ptr + digits, text.len - digits));
	if (unit.len > 0) {
		unit_us = 0;
		/* Microseconds are for our own eyes. */
		for (size_t i = 0; i + 1 < VALUE_UNIT_COUNT; i++)
			if (is_word(unit, value_units[i].name))
				unit_us = value_units[i].us;
		if (unit_us == 0)
			return -EINVAL;
	}
	if (span_to_u64(span_make(text.ptr, digits), key->max / unit_us,
			&value) < 0 ||
	    value * unit_us < key->min)
		return -EINVAL;
	*ret = value * unit_us;
	return 0;
}

static int parse_text(const struct conf_key *key, struct span text, char *ret)
{
	if (text.len >= key->size || text.len < key->min)
		return -EINVAL;
	memset(ret, 0, key->size);
	if (text.len > 0)
		memcpy(ret, text.ptr, text.len);
	return 0;
}

static int parse_identifier(const struct conf_key *key, struct span text,
			    char *ret)
{
	if (text.len == 0 || (text.ptr[0] >= '0' && text.ptr[0] <= '9'))
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++)
		if (!is_alnum(text.ptr[i]) && text.ptr[i] != '_')
			return -EINVAL;
	return parse_text(key, text, ret);
}

static int parse_database(const struct conf_key *key, struct span text,
			  char *ret)
{
	static const char *const schemes[] = {
		"mysql://",  "postgres://", "sqlite:///", "mssql://",
		"sybase://", "firebird://", "maxdb://",   "odbc:"};

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		struct span scheme = span_of(schemes[i]);

		if (span_starts_with(text, scheme) && text.len > scheme.len)
			return parse_text(key, text, ret);
	}
	return -EINVAL;
}

static int parse_accounting(const struct conf_key *key, struct span text,
			    char *ret)
{
	static const char *const names[] = {"database", "radius", "file"};
	bool wanted[ARRAY_SIZE(names)] = {false};
	CLEANUP(buf_done) struct buf list = {0};
	struct span word;

	if (is_word(text, "none"))
		text = SPAN("");
	while (next_word(&text, &word)) {
		size_t i = 0;

		while (i < ARRAY_SIZE(names) && !is_word(word, names[i]))
			i++;
		if (i == ARRAY_SIZE(names))
			return -EINVAL;
		wanted[i] = true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (wanted[i])
			buf_printf(&list, "%s%s", list.len ? ", " : "",
				   names[i]);
	return buf_failed(&list) ? -ENOMEM
				 : parse_text(key, buf_span(&list), ret);
}

static int parse_security_level(struct span text, int *ret)
{
	uint64_t level;

	if (is_default(text)) {
		*ret = -1;
		return 0;
	}
	if (span_to_u64(text, 5, &level) < 0)
		return -EINVAL;
	*ret = (int)level;
	return 0;
}

static int parse_ip(struct span text, struct ip_addr *ret)
{
	struct ip_addr ip;

	if (ip_parse(text, &ip) < 0 || ip_is_unspecified(&ip) ||
	    ip_is_multicast(&ip))
		return -EINVAL;
	*ret = ip;
	return 0;
}

/* ADDRESS, or ADDRESS!ADVERTISED. */
static int parse_local(struct span word, struct conf_address *ret)
{
	struct span bound;

	*ret = (struct conf_address){0};
	if (!span_cut(&word, '!', &bound))
		return parse_ip(word, &ret->ip);
	if (parse_ip(bound, &ret->ip) < 0 ||
	    parse_ip(word, &ret->advertised) < 0 ||
	    ret->ip.family != ret->advertised.family)
		return -EINVAL;
	return 0;
}

/* The same address twice is a slip of the pen, but for what is advertised. */
static int parse_addresses(const struct conf_key *key, struct span text,
			   struct conf_address_list *ret)
{
	struct conf_address_list list = {0};
	struct span word;

	if (is_default(text))
		text = SPAN("");
	while (next_word(&text, &word)) {
		struct conf_address *next = &list.addresses[list.count];

		if (list.count == CONF_MAX_ADDRESSES)
			return -EINVAL;
		if (key->type == KEY_LOCALS ? parse_local(word, next) < 0
					    : parse_ip(word, &next->ip) < 0)
			return -EINVAL;
		for (size_t i = 0; key->type == KEY_LOCALS && i < list.count;
		     i++)
			if (ip_equal(&list.addresses[i].ip, &next->ip))
				return -EINVAL;
		list.count++;
	}
	*ret = list;
	return 0;
}

static int parse_tos(struct span text, unsigned *ret)
{
	uint64_t value = CONF_TOS_KEEP;

	if (!is_word(text, "keep") && span_to_u64(text, 255, &value) < 0)
		return -EINVAL;
	*ret = (unsigned)value;
	return 0;
}

static int parse_port(struct span text, uint16_t *ret)
{
	uint64_t port;

	if (span_to_u64(text, 65535, &port) < 0 || port == 0)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

static int parse_listen_address(struct span text, struct ip_addr *ret)
{
	struct ip_addr any = {0};

	if (is_word(text, "any") || is_word(text, "*")) {
		*ret = any;
		return 0;
	}
	if (is_word(text, "localhost"))
		text = SPAN("127.0.0.1");
	return ip_parse(text, ret);
}

/* What is not written stays as it is: the default. */
static int parse_listen(struct span text, struct endpoint *ret)
{
	struct endpoint at = *ret;
	struct span port;

	if (parse_port(text, &at.port) < 0 &&
	    parse_listen_address(text, &at.ip) < 0) {
		if (!span_cut_last(&text, ':', &port) ||
		    parse_port(port, &at.port) < 0 ||
		    parse_listen_address(text, &at.ip) < 0)
			return -EINVAL;
		/* 2001:db8::1:5000 could be either thing. */
		if (at.ip.family == AF_INET6 && text.ptr[0] != '[')
			return -EINVAL;
	}
	*ret = at;
	return 0;
}

/* Letters, digits, points, dashes and, as people have them, underscores. Not
 * all digits at the end: that would be an IP address with a mistake in it. */
static bool is_host_name(struct span name)
{
	struct span last = name;

	if (name.len == 0 || name.len > 253 || name.ptr[0] == '.' ||
	    name.ptr[0] == '-' || memmem(name.ptr, name.len, "..", 2))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!is_alnum(name.ptr[i]) && !strchr(".-_", name.ptr[i]))
			return false;
	if (last.ptr[last.len - 1] == '.')
		last.len--;
	for (size_t i = last.len; i > 0 && last.ptr[i - 1] != '.'; i--)
		if (last.ptr[i - 1] < '0' || last.ptr[i - 1] > '9')
			return true;
	return false;
}

static int parse_host(struct span text, struct conf_host *ret)
{
	struct conf_host host = {0};
	struct ip_addr ip;
	struct span name = text;
	struct span port;
	char numeric[ADDR_TEXT_SIZE];

	if (ip_parse(name, &ip) < 0 && span_cut_last(&name, ':', &port)) {
		if (parse_port(port, &host.port) < 0)
			return -EINVAL;
		if (ip_parse(name, &ip) == 0 && ip.family == AF_INET6 &&
		    name.ptr[0] != '[')
			return -EINVAL;
	}
	if (ip_parse(name, &ip) == 0)
		name = span_of(ip_format(&ip, numeric));
	else if (!is_host_name(name))
		return -EINVAL;
	memcpy(host.name, name.ptr, name.len);
	*ret = host;
	return 0;
}

static int parse_hosts(struct span text, struct conf_host_list *ret)
{
	struct conf_host_list list = {0};
	struct span word;

	while (next_word(&text, &word)) {
		if (list.count == CONF_MAX_DISPATCHERS ||
		    parse_host(word, &list.hosts[list.count]) < 0)
			return -EINVAL;
		list.count++;
	}
	*ret = list;
	return 0;
}

static int add_network(struct conf_network_list *list, struct span word)
{
	if (list->count == CONF_MAX_RANGES ||
	    ip_network_parse(word, &list->networks[list->count]) < 0)
		return -EINVAL;
	list->count++;
	return 0;
}

static int parse_networks(struct span text, struct conf_network_list *ret)
{
	struct conf_network_list list = {0};
	struct span word;

	while (next_word(&text, &word)) {
		if (is_word(word, "none"))
			continue;
		if (is_word(word, "any")) {
			if (add_network(&list, SPAN("0.0.0.0/0")) < 0)
				return -EINVAL;
			word = SPAN("::/0");
		}
		if (add_network(&list, word) < 0)
			return -EINVAL;
	}
	*ret = list;
	return 0;
}

static int parse_port_range(struct span text, struct conf_port_range *ret)
{
	struct span head;
	uint64_t first, end;

	if (!span_cut(&text, ':', &head) ||
	    span_to_u64(span_trim(head), 65536, &first) < 0 ||
	    span_to_u64(span_trim(text), 65536, &end) < 0)
		return -EINVAL;
	if (first % 2 || end % 2 || first < 1024 || first >= end)
		return -EINVAL;
	*ret = (struct conf_port_range){(uint32_t)first, (uint32_t)end};
	return 0;
}

static int parse_log_level(struct span text, enum log_level *ret)
{
	for (int level = LOG_LEVEL_DEBUG; level <= (int)LOG_LEVEL_ERROR;
	     level++)
		if (is_word(text, log_level_name((enum log_level)level))) {
			*ret = (enum log_level)level;
			return 0;
		}
	if (!is_word(text, "CRITICAL"))
		return -EINVAL;
	*ret = LOG_LEVEL_ERROR;
	return 0;
}

static int parse_choice(const struct conf_key *key, struct span text,
			unsigned *ret)
{
	for (unsigned i = 0; key->choices[i]; i++)
		if (is_word(text, key->choices[i])) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

int value_parse(const struct conf_key *key, struct span text, struct conf *conf)
{
	void *member = (char *)conf + key->offset;

	text = text.len > 0 ? span_trim(text) : SPAN("");
	switch (key->type) {
	case KEY_UNUSED:
		return 0;
	case KEY_BOOL:
		return parse_bool(text, member);
	case KEY_NUMBER:
		return parse_number(key, text, member);
	case KEY_DURATION:
		return parse_duration(key, text, member);
	case KEY_TEXT:
		return parse_text(key, text, member);
	case KEY_IDENTIFIER:
		return parse_identifier(key, text, member);
	case KEY_DATABASE:
		return parse_database(key, text, member);
	case KEY_ACCOUNTING:
		return parse_accounting(key, text, member);
	case KEY_SECURITY_LEVEL:
		return parse_security_level(text, member);
	case KEY_ADDRESSES:
	case KEY_LOCALS:
		return parse_addresses(key, text, member);
	case KEY_TOS:
		return parse_tos(text, member);
	case KEY_LISTEN:
		return parse_listen(text, member);
	case KEY_HOSTS:
		return parse_hosts(text, member);
	case KEY_NETWORKS:
		return parse_networks(text, member);
	case KEY_PORT_RANGE:
		return parse_port_range(text, member);
	case KEY_PASSPORT:
		return passport_parse(text, member);
	case KEY_LOG_LEVEL:
		return parse_log_level(text, member);
	case KEY_CHOICE:
		return parse_choice(key, text, member);
	}
	return -EINVAL;
}
