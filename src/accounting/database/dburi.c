#include "accounting/database/dburi.h"

#include <errno.h>
#include <strings.h>

#include "base/cleanup.h"

#define ALLOWED                                                                \
	"allowed: scheme://user:password@host[:port]/database with mysql, "    \
	"postgres, sqlite (sqlite:///path), mssql, sybase, firebird or maxdb;" \
	" or odbc:DSN"

static int refuse(struct buf *ret_why, const char *what)
{
	buf_printf(ret_why, "%s; " ALLOWED, what);
	return -EINVAL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A `%` that is no %XX stands for itself, as in SQLObject. */
static int decode(char ret[static CONF_MAX_TEXT], struct span text)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '%' && i + 2 < text.len &&
		    hex_digit(text.ptr[i + 1]) >= 0 &&
		    hex_digit(text.ptr[i + 2]) >= 0) {
			c = (char)(hex_digit(text.ptr[i + 1]) * 16 +
				   hex_digit(text.ptr[i + 2]));
			i += 2;
		}
		if (c == '\0' || len + 1 >= CONF_MAX_TEXT)
			return -EINVAL;
		ret[len++] = c;
	}
	ret[len] = '\0';
	return 0;
}

static const char *const scheme_names[] = {
	[DBURI_MYSQL] = "mysql",   [DBURI_POSTGRES] = "postgres",
	[DBURI_SQLITE] = "sqlite", [DBURI_MSSQL] = "mssql",
	[DBURI_SYBASE] = "sybase", [DBURI_FIREBIRD] = "firebird",
	[DBURI_MAXDB] = "maxdb",   [DBURI_ODBC] = "odbc",
};

const char *dburi_scheme_name(enum dburi_scheme scheme)
{
	return scheme_names[scheme];
}

static int parse_scheme(enum dburi_scheme *ret, struct span name)
{
	for (size_t i = 0; i < ARRAY_SIZE(scheme_names); i++)
		if (span_equal(name, span_of(scheme_names[i]))) {
			*ret = (enum dburi_scheme)i;
			return 0;
		}
	return -EINVAL;
}

/* Behind the last @: a password that was not encoded may have a `?`. */
static struct span cut_parameters(struct span text, struct span *ret_parameters)
{
	struct span head = text;
	struct span tail = text;

	span_cut_last(&head, '@', &tail);
	*ret_parameters = SPAN("");
	if (span_cut(&tail, '?', &head)) {
		*ret_parameters = tail;
		text.len = (size_t)(tail.ptr - 1 - text.ptr);
	}
	return text;
}

static int parse_parameters(struct dburi *uri, struct span rest)
{
	while (rest.len > 0) {
		struct span name, value;

		if (!span_cut(&rest, '&', &value)) {
			value = rest;
			rest = SPAN("");
		}
		if (!span_cut(&value, '=', &name))
			continue;
		if (span_equal(name, SPAN("unix_socket")) &&
		    decode(uri->unix_socket, value) < 0)
			return -EINVAL;
		if (span_equal(name, SPAN("sslmode")) &&
		    decode(uri->sslmode, value) < 0)
			return -EINVAL;
	}
	return 0;
}

static int parse_user(struct dburi *uri, struct span text)
{
	struct span user;

	if (!span_cut(&text, ':', &user)) {
		user = text;
		text = SPAN("");
	}
	return decode(uri->user, user) < 0 || decode(uri->password, text) < 0
		       ? -EINVAL
		       : 0;
}

static int parse_host(struct dburi *uri, struct span text)
{
	struct span host = text;
	struct span port = SPAN("");
	uint64_t number = 0;

	if (span_starts_with(text, SPAN("["))) {
		text = span_make(text.ptr + 1, text.len - 1);
		if (!span_cut(&text, ']', &host))
			return -EINVAL;
		if (text.len > 0 && text.ptr[0] != ':')
			return -EINVAL;
		if (text.len > 0)
			port = span_make(text.ptr + 1, text.len - 1);
	} else if (span_cut(&text, ':', &host)) {
		port = text;
	}
	if (port.len > 0 &&
	    (span_to_u64(port, UINT16_MAX, &number) < 0 || number == 0))
		return -EINVAL;
	uri->port = (uint16_t)number;
	return decode(uri->host, host);
}

/* The value at the beginning of rest, up to the next semicolon; or in braces,
 * where } is doubled and a semicolon is a character. */
static void take_value(struct span *rest, char ret[static CONF_MAX_TEXT])
{
	struct span value;
	size_t len = 0, at = 1;

	*rest = span_trim(*rest);
	if (!span_starts_with(*rest, SPAN("{"))) {
		if (!span_cut(rest, ';', &value)) {
			value = *rest;
			*rest = SPAN("");
		}
		value = span_trim(value);
		memcpy(ret, value.ptr, value.len);
		ret[value.len] = '\0';
		return;
	}
	while (at < rest->len) {
		char c = rest->ptr[at++];

		if (c == '}' && (at == rest->len || rest->ptr[at++] != '}'))
			break;
		ret[len++] = c;
	}
	ret[len] = '\0';
	*rest = span_make(rest->ptr + at, rest->len - at);
}

/* Only to keep it out of log lines: the driver gets the attributes as they
 * are. */
static void note_password(struct dburi *uri, struct span rest)
{
	char value[CONF_MAX_TEXT] = "";
	struct span name;

	while (span_cut(&rest, '=', &name)) {
		struct span before = name;

		/* What follows braces, or has no value. */
		while (span_cut(&before, ';', &name))
			;
		name = span_trim(before);
		take_value(&rest, value);
		if ((name.len == 3 && strncasecmp(name.ptr, "PWD", 3) == 0) ||
		    (name.len == 8 &&
		     strncasecmp(name.ptr, "PASSWORD", 8) == 0))
			memcpy(uri->password, value, sizeof(value));
	}
	explicit_bzero(value, sizeof(value));
}

static int parse_data_source(struct dburi *ret, struct span text,
			     struct buf *ret_why)
{
	struct dburi uri = {.scheme = DBURI_ODBC};
	struct span name = text;

	if (span_cut(&text, ';', &name))
		memcpy(uri.attributes, text.ptr, text.len);
	else
		text = SPAN("");
	name = span_trim(name);
	if (name.len == 0 || memchr(name.ptr, '=', name.len))
		return refuse(ret_why, "odbc: needs the name of a data source "
				       "of odbc.ini");
	memcpy(uri.database, name.ptr, name.len);
	note_password(&uri, text);
	*ret = uri;
	return 0;
}

static int parse_file(struct dburi *uri, struct span place, struct buf *ret_why)
{
	if (!span_starts_with(place, SPAN("/")))
		return refuse(ret_why, "sqlite has three slashes and an "
				       "absolute path");
	return place.len > 1 && decode(uri->database, place) == 0
		       ? 0
		       : refuse(ret_why, "sqlite needs a path");
}

/* What follows `scheme://`, without the parameters. A host has no @ and no
 * slash, but a password that was not encoded may have both. */
static int parse_place(struct dburi *uri, struct span place,
		       struct buf *ret_why)
{
	struct span user = place;
	struct span host;

	if (span_cut_last(&user, '@', &place) && parse_user(uri, user) < 0)
		return refuse(ret_why, "user and password cannot be read");
	if (!span_cut(&place, '/', &host))
		return refuse(ret_why, "there is no /database");
	if (parse_host(uri, host) < 0)
		return refuse(ret_why, "the host or its port cannot be read");
	/* A whole path needs its slash back; a word is an alias of the server.
	 */
	if (uri->scheme == DBURI_FIREBIRD && place.len > 0 &&
	    memchr(place.ptr, '/', place.len))
		place = span_make(place.ptr - 1, place.len + 1);
	if (place.len == 0 || decode(uri->database, place) < 0)
		return refuse(ret_why, "there is no database after the host");
	return 0;
}

int dburi_parse(struct dburi *ret, struct span text, struct buf *ret_why)
{
	struct dburi uri = {0};
	struct span scheme, place, parameters;

	if (text.len >= CONF_MAX_TEXT || memchr(text.ptr, '\0', text.len))
		return refuse(ret_why, "too long, or with a NUL in it");
	if (!span_cut(&text, ':', &scheme))
		return refuse(ret_why, "there is no scheme");
	if (parse_scheme(&uri.scheme, scheme) < 0)
		return refuse(ret_why, "the scheme is unknown");
	if (uri.scheme == DBURI_ODBC)
		return parse_data_source(ret, text, ret_why);
	if (!span_starts_with(text, SPAN("//")))
		return refuse(ret_why, "there is no // after the scheme");
	text = span_make(text.ptr + 2, text.len - 2);
	place = cut_parameters(text, &parameters);
	if (parse_parameters(&uri, parameters) < 0)
		return refuse(ret_why, "its parameters cannot be read");
	if (uri.scheme == DBURI_SQLITE ? parse_file(&uri, place, ret_why) < 0
				       : parse_place(&uri, place, ret_why) < 0)
		return -EINVAL;
	*ret = uri;
	return 0;
}
