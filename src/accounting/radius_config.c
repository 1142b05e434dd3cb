#include "accounting/radius_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define DEFAULT_PORT 1813
#define DEFAULT_TIMEOUT_S 10
#define DEFAULT_RETRIES 3
#define BLANKS " \t\r\n\v\f"

struct reader {
	const char *path; /* client.conf */
	unsigned line;
	struct radius_config *config;
	char *servers, *dictionary; /* paths; NULL: not named */
	struct buf *why, *warnings;
};

static void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* Lines hold secrets, and so does getline()'s memory. */
static void wipe(char *line, size_t size)
{
	if (line)
		explicit_bzero(line, size);
	free(line);
}

static int refuse(struct reader *reader, const char *text, struct span value)
{
	buf_printf(reader->why, "%s:%u: %s", reader->path, reader->line, text);
	if (value.len > 0)
		buf_printf(reader->why, ", not \"%.*s\"", SPAN_ARG(value));
	return -EINVAL;
}

/* Cut a line into its first word and the rest. */
static bool split(char *line, char **ret_word, char **ret_rest)
{
	char *word = line + strspn(line, BLANKS);
	char *end = word + strlen(word);

	while (end > word && strchr(BLANKS, end[-1]))
		*--end = '\0';
	if (*word == '\0' || *word == '#')
		return false;
	*ret_word = word;
	word += strcspn(word, BLANKS);
	*ret_rest = word + strspn(word, BLANKS);
	*word = '\0';
	return true;
}

static int copy(struct reader *reader, char *to, size_t size, struct span text)
{
	if (text.len >= size)
		return refuse(reader, "a text is too long", (struct span){0});
	(void)snprintf(to, size, "%.*s", SPAN_ARG(text));
	return 0;
}

/* HOST, [IPv6] or a bare IPv6 address; then maybe :PORT, then maybe :SECRET. */
static bool cut_server(struct span text, struct span *host, struct span *port,
		       struct span *secret)
{
	struct ip_addr ip;

	*host = text;
	*port = *secret = (struct span){0};
	if (text.ptr[0] == '[') {
		text = span_make(text.ptr + 1, text.len - 1);
		if (!span_cut(&text, ']', host))
			return false;
		if (text.len == 0)
			return host->len > 0;
		if (text.ptr[0] != ':')
			return false;
		text = span_make(text.ptr + 1, text.len - 1);
	} else if (ip_parse(text, &ip) == 0 || !span_cut(&text, ':', host)) {
		return true;
	}
	if (span_cut(&text, ':', port))
		*secret = text;
	else
		*port = text;
	return host->len > 0;
}

/* What is wrong is not shown: there may be a secret in it. */
static int add_server(struct reader *reader, struct span text)
{
	struct radius_server *server =
		&reader->config->servers[reader->config->server_count];
	struct span host, port, secret;
	uint64_t number = DEFAULT_PORT;

	if (reader->config->server_count == RADIUS_MAX_SERVERS)
		return refuse(reader, "at most 8 servers", (struct span){0});
	if (!cut_server(text, &host, &port, &secret) ||
	    (port.len > 0 && span_to_u64(port, 65535, &number) < 0) ||
	    number == 0)
		return refuse(reader,
			      "acctserver is HOST[:PORT[:SECRET]], with a port "
			      "from 1 to 65535",
			      (struct span){0});
	if (copy(reader, server->host, sizeof(server->host), host) < 0 ||
	    copy(reader, server->secret, sizeof(server->secret), secret) < 0)
		return -EINVAL;
	server->port = (uint16_t)number;
	reader->config->server_count++;
	return 0;
}

static int add_servers(struct reader *reader, char *value)
{
	char *state = NULL;
	int err = 0;

	for (char *word = strtok_r(value, ", \t", &state); word && err == 0;
	     word = strtok_r(NULL, ", \t", &state))
		err = add_server(reader, span_of(word));
	return err;
}

static int take_number(struct reader *reader, unsigned *ret, struct span value,
		       unsigned least, const char *allowed)
{
	uint64_t number;

	if (span_to_u64(value, 3600, &number) < 0 || number < least)
		return refuse(reader, allowed, value);
	*ret = (unsigned)number;
	return 0;
}

/* A path in client.conf starts at its folder. */
static int take_path(struct reader *reader, char **ret, struct span value)
{
	const char *slash = strrchr(reader->path, '/');
	CLEANUP(buf_done) struct buf path = {0};

	if (value.len == 0)
		return refuse(reader, "a path is missing", value);
	if (value.ptr[0] != '/' && slash)
		buf_add(&path, span_make(reader->path,
					 (size_t)(slash + 1 - reader->path)));
	buf_add(&path, value);
	free(*ret);
	*ret = buf_failed(&path) ? NULL : span_dup(buf_span(&path));
	return *ret ? 0 : -ENOMEM;
}

/* What radcli and its ancestors know and we have no use for. */
static bool is_passed_over(const char *keyword)
{
	static const char *const keywords[] = {
		"authserver",      "auth_order",      "default_realm",
		"radius_deadtime", "nas-ip",          "nas-identifier",
		"login_radius",    "login_tries",     "login_timeout",
		"login_local",     "nologin",         "issue",
		"seqfile",         "mapfile",         "clientdebug",
		"config_file",     "use-public-addr",
	};

	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
		if (strcmp(keyword, keywords[i]) == 0)
			return true;
	return false;
}

static int take(struct reader *reader, const char *keyword, char *text)
{
	struct radius_config *config = reader->config;
	struct span value = span_of(text);

	if (strcmp(keyword, "acctserver") == 0)
		return add_servers(reader, text);
	if (strcmp(keyword, "servers") == 0)
		return take_path(reader, &reader->servers, value);
	if (strcmp(keyword, "dictionary") == 0)
		return take_path(reader, &reader->dictionary, value);
	if (strcmp(keyword, "radius_timeout") == 0)
		return take_number(reader, &config->timeout_s, value, 1,
				   "radius_timeout is 1 to 3600 seconds");
	if (strcmp(keyword, "radius_retries") == 0)
		return take_number(reader, &config->retries, value, 0,
				   "radius_retries is a number up to 3600");
	if (strcmp(keyword, "bindaddr") == 0) {
		if (value.len > 0 && strcmp(text, "*") != 0 &&
		    ip_parse(value, &config->bind_ip) < 0)
			return refuse(reader, "bindaddr is * or an IP address",
				      value);
		return 0;
	}
	if (strcmp(keyword, "serv-type") == 0 ||
	    strcmp(keyword, "serv-auth-type") == 0) {
		if (strcasecmp(text, "udp") != 0)
			return refuse(reader, "accounting speaks udp", value);
		return 0;
	}
	if (!is_passed_over(keyword))
		buf_printf(reader->warnings,
			   "%s:%u: unknown keyword \"%s\": not used\n",
			   reader->path, reader->line, keyword);
	return 0;
}

static int read_client(struct reader *reader)
{
	CLEANUP(fclosep) FILE *file = fopen(reader->path, "re");
	char *line = NULL, *keyword, *value;
	size_t size = 0;
	int err = 0;

	if (!file) {
		buf_printf(reader->why,
			   "[Radius] config_file: cannot read %s: %s; it is to "
			   "hold `acctserver HOST` and `servers FILE`",
			   reader->path, strerror(errno));
		return -EINVAL;
	}
	while (err == 0 && getline(&line, &size, file) >= 0) {
		reader->line++;
		if (split(line, &keyword, &value))
			err = take(reader, keyword, value);
	}
	wipe(line, size);
	return err;
}

/* The original compares texts, radcli what lookups give. Nothing is looked up
 * while a daemon starts, so: texts, and addresses in whatever form. */
static bool is_host(struct span name, const char *host)
{
	struct ip_addr a, b;

	if (name.len == strlen(host) &&
	    strncasecmp(name.ptr, host, name.len) == 0)
		return true;
	return ip_parse(name, &a) == 0 && ip_parse(span_of(host), &b) == 0 &&
	       ip_equal(&a, &b);
}

/* "HOST SECRET", or "HOST/HOST SECRET" for both ways between two hosts. */
static void offer_secret(struct radius_config *config, struct span names,
			 const char *secret)
{
	struct span rest = names, first = {0};

	(void)span_cut(&rest, '/', &first);
	for (size_t i = 0; i < config->server_count; i++) {
		struct radius_server *server = &config->servers[i];

		if (server->secret[0] == '\0' &&
		    (is_host(rest, server->host) ||
		     (first.len > 0 && is_host(first, server->host))))
			(void)snprintf(server->secret, sizeof(server->secret),
				       "%s", secret);
	}
}

static int read_secrets(struct reader *reader)
{
	CLEANUP(fclosep) FILE *file = fopen(reader->servers, "re");
	char *line = NULL, *names, *secret;
	size_t size = 0;

	if (!file) {
		buf_printf(reader->why,
			   "%s: `servers`: cannot read %s: %s; it is to hold "
			   "`HOST SECRET` for each acctserver",
			   reader->path, reader->servers, strerror(errno));
		return -EINVAL;
	}
	while (getline(&line, &size, file) >= 0) {
		if (!split(line, &names, &secret))
			continue;
		secret[strcspn(secret, BLANKS)] = '\0';
		offer_secret(reader->config, span_of(names), secret);
	}
	wipe(line, size);
	return 0;
}

static int check(struct reader *reader)
{
	struct radius_config *config = reader->config;
	int err = 0;

	if (config->server_count == 0) {
		buf_printf(reader->why,
			   "%s names no server for accounting: write "
			   "`acctserver HOST[:PORT]`",
			   reader->path);
		return -EINVAL;
	}
	if (reader->servers)
		err = read_secrets(reader);
	for (size_t i = 0; err == 0 && i < config->server_count; i++) {
		const char *host = config->servers[i].host;

		if (config->servers[i].secret[0] != '\0')
			continue;
		buf_printf(reader->why,
			   "there is no secret for the acctserver %s of %s: ",
			   host, reader->path);
		if (reader->servers)
			buf_printf(reader->why, "write `%s SECRET` into %s",
				   host, reader->servers);
		else
			buf_printf(reader->why,
				   "write `servers FILE` there, and `%s "
				   "SECRET` into that file",
				   host);
		err = -EINVAL;
	}
	return err;
}

int radius_config_load(struct radius_config *ret, const char *path,
		       const char *dictionary, struct buf *ret_why,
		       struct buf *ret_warnings)
{
	struct reader reader = {.path = path,
				.config = ret,
				.why = ret_why,
				.warnings = ret_warnings};
	int err;

	*ret = (struct radius_config){.timeout_s = DEFAULT_TIMEOUT_S,
				      .retries = DEFAULT_RETRIES};
	err = read_client(&reader);
	if (err == 0)
		err = check(&reader);
	if (err == 0)
		err = radius_dictionary_load(ret->codes, reader.dictionary,
					     dictionary, ret_why, ret_warnings);
	free(reader.servers);
	free(reader.dictionary);
	return err;
}
