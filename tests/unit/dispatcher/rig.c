#include "rig.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "test.h"

#define LIMIT_US (20 * US_PER_S)

static void limit_reached(void *arg)
{
	struct rig *rig = arg;

	rig->timed_out = true;
	loop_stop(rig->loop);
}

void rig_init(struct rig *rig)
{
	struct conf_dispatcher *conf = &rig->conf.dispatcher;

	memset(rig, 0, sizeof(*rig));
	assert_int_equal(ip_parse(SPAN("127.0.0.1"), &conf->listen.ip), 0);
	conf->relay_timeout_us = 60 * US_PER_S;
	conf->relay_recover_interval_us = 60 * US_PER_S;
	conf->failover_timeout_us = 60 * US_PER_S;
	conf->answer_timeout_us = 60 * US_PER_S;
	conf->commit_timeout_us = 60 * US_PER_S;
	rig->conf.accounting.history_time_us = 60 * US_PER_S;
	conf->cleanup_dead_relays_after_us = 60 * US_PER_S;
	conf->cleanup_expired_sessions_after_us = 60 * US_PER_S;
	conf->max_proxy_connections = 8;
	conf->max_relay_connections = 8;
	log_set_level(LOG_LEVEL_ERROR);
}

static void start_store(struct rig *rig)
{
	const struct store_config config = {.loop = rig->loop,
					    .path = rig->store_path};
	struct buf why = {0};

	snprintf(rig->store_path, sizeof(rig->store_path), "%s/dispatcher.db",
		 rig->folder);
	rig->backend_config =
		(struct backend_config){&rig->conf, rig->folder, rig->folder};
	assert_int_equal(store_open(&rig->store, &config, &why), 0);
	assert_int_equal(directory_disk_open(&rig->disk, rig->store,
					     rig->directory,
					     loop_now_us(rig->loop), &why),
			 0);
	assert_int_equal(accounting_new(&rig->records.accounting, rig->loop,
					rig->store, rig->store_path,
					&rig->backend_config, &why),
			 0);
	assert_int_equal(store_start(rig->store), 0);
	assert_int_equal(accounting_start(rig->records.accounting), 0);
	buf_done(&why);
}

static void remove_store(struct rig *rig)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
	char path[128];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		snprintf(path, sizeof(path), "%s%s", rig->store_path,
			 suffixes[i]);
		unlink(path);
	}
}

static void start(struct rig *rig)
{
	const struct proxy_access access = {.mode = 0600, .group = (gid_t)-1};

	assert_int_equal(directory_new(&rig->directory), 0);
	start_store(rig);
	assert_int_equal(router_new(&rig->router, rig->loop,
				    &rig->conf.dispatcher, rig->directory,
				    &rig->records),
			 0);
	assert_int_equal(relay_events_start(&rig->events, rig->loop,
					    &rig->conf.dispatcher,
					    rig->directory, &rig->records),
			 0);
	rig->events.doubt_us = rig->doubt_us;
	assert_int_equal(relay_peers_new(&rig->peers, rig->loop, &rig->conf,
					 rig->tls, &relay_events_handlers,
					 &rig->events),
			 0);
	router_set_peers(rig->router, rig->peers);
	rig->records.peers = rig->peers;
	assert_int_equal(
		proxy_socket_new(&rig->proxy, rig->loop, rig->path, &access,
				 rig->conf.dispatcher.max_proxy_connections,
				 rig->router),
		0);
}

void rig_start(struct rig *rig)
{
	strcpy(rig->folder, "/tmp/mediaproxy-test.XXXXXX");
	assert_non_null(mkdtemp(rig->folder));
	snprintf(rig->path, sizeof(rig->path), "%s/sock", rig->folder);
	assert_int_equal(loop_new(&rig->loop), 0);
	assert_int_equal(timer_new(&rig->limit, rig->loop, limit_reached, rig),
			 0);
	start(rig);
}

static void stop(struct rig *rig)
{
	router_stop(rig->router);
	proxy_socket_free(rig->proxy);
	relay_peers_free(rig->peers);
	rig->records.peers = NULL;
	accounting_stop(rig->records.accounting, US_PER_S);
	store_free(rig->store, US_PER_S);
	relay_events_stop(&rig->events);
	router_free(rig->router);
	directory_free(rig->directory);
	directory_disk_free(rig->disk);
	accounting_free(rig->records.accounting);
}

void rig_restart(struct rig *rig)
{
	stop(rig);
	start(rig);
}

void rig_done(struct rig *rig)
{
	stop(rig);
	remove_store(rig);
	timer_free(rig->limit);
	loop_free(rig->loop);
	rmdir(rig->folder);
}

/* Ends */

static void end_line(struct conn *conn, struct span line, bool too_long,
		     void *arg)
{
	struct rig_end *end = arg;

	(void)conn;
	assert_false(too_long);
	assert_true(end->count < RIG_MAX_LINES);
	end->lines[end->count++] = span_dup(line);
	loop_stop(end->rig->loop);
}

static void end_closed(struct conn *conn, const char *why, void *arg)
{
	struct rig_end *end = arg;

	(void)conn;
	(void)why;
	end->conn = NULL;
	end->closed = true;
	loop_stop(end->rig->loop);
}

static const struct conn_handlers end_handlers = {
	.line = end_line,
	.closed = end_closed,
};

static const struct conn_limits limits = {
	.max_line = 1u << 20,
	.pause_reading_at = 8u << 20,
	.close_at = 16u << 20,
};

static struct rig_end *make_end(struct rig *rig)
{
	struct rig_end *end = calloc(1, sizeof(*end));

	assert_non_null(end);
	end->rig = rig;
	return end;
}

static struct rig_end *make_end_of(struct rig *rig, int fd)
{
	struct rig_end *end = make_end(rig);

	assert_int_equal(conn_accept(&end->conn, rig->loop, fd, NULL, &limits,
				     &end_handlers, end),
			 0);
	return end;
}

struct rig_end *rig_client(struct rig *rig, const struct endpoint *to)
{
	struct rig_end *end = make_end(rig);

	assert_int_equal(conn_dial(&end->conn, rig->loop, to, NULL, &limits,
				   &end_handlers, end),
			 0);
	return end;
}

struct rig_end *rig_dial(struct rig *rig, const char *address)
{
	struct endpoint to = relay_peers_address(rig->peers);
	struct endpoint from = {0};
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	if (rig->relay_tls) {
		struct rig_end *end = make_end(rig);

		assert_int_equal(conn_dial(&end->conn, rig->loop, &to,
					   rig->relay_tls, &limits,
					   &end_handlers, end),
				 0);
		return end;
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(ip_parse(span_of(address), &from.ip), 0);
	len = endpoint_to_sockaddr(&from, &sa);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	len = endpoint_to_sockaddr(&to, &sa);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return make_end_of(rig, fd);
}

static bool is_active(void *arg)
{
	const struct rig_end *end = arg;
	struct relay_peer *peer = NULL;

	while ((peer = relay_peers_next(end->rig->peers, peer)))
		if (relay_peer_state(peer) != RELAY_PEER_ACTIVE)
			return false;
	return true;
}

struct rig_end *rig_relay(struct rig *rig, const char *address,
			  const char *sessions)
{
	struct rig_end *end = rig_dial(rig, address);
	unsigned long seq = rig_expect_request(end, "sessions");

	rig_say(end, "%lu %s", seq, sessions);
	rig_until(rig, is_active, end);
	return end;
}

struct rig_end *rig_proxy(struct rig *rig)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(sa.sun_path, rig->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return make_end_of(rig, fd);
}

void rig_end_close(struct rig_end *end)
{
	if (end->conn)
		conn_close(end->conn);
	end->conn = NULL;
}

void rig_end_free(struct rig_end *end)
{
	if (!end)
		return;
	rig_end_close(end);
	for (size_t i = 0; i < end->count; i++)
		free(end->lines[i]);
	free(end);
}

void rig_say(struct rig_end *end, const char *format, ...)
{
	struct buf text = {0};
	va_list args;

	va_start(args, format);
	buf_vprintf(&text, format, args);
	va_end(args);
	buf_add(&text, SPAN("\r\n"));
	assert_non_null(end->conn);
	conn_write(end->conn, buf_span(&text));
	buf_done(&text);
}

/* Expectations */

/* Until the loop is stopped once, or the end of the test. */
static void run_within_limit(struct rig *rig)
{
	assert_int_equal(loop_run(rig->loop), 0);
	if (rig->timed_out)
		fail_msg("%s", "what was expected did not come");
}

static void run_once(struct rig *rig)
{
	timer_start(rig->limit, LIMIT_US);
	run_within_limit(rig);
	timer_stop(rig->limit);
}

const char *rig_hear(struct rig_end *end)
{
	while (end->next == end->count) {
		if (end->closed)
			fail_msg("%s", "the dispatcher closed the connection");
		run_once(end->rig);
	}
	return end->lines[end->next++];
}

void rig_expect(struct rig_end *end, const char *line)
{
	assert_string_equal(rig_hear(end), line);
}

unsigned long rig_expect_request_with(struct rig_end *end, const char *name,
				      const char *header)
{
	const char *line = rig_hear(end);
	size_t len = strlen(name);
	bool found = false;
	unsigned long seq;

	if (strncmp(line, name, len) != 0 || line[len] != ' ')
		fail_msg("expected %s, heard: %s", name, line);
	seq = strtoul(line + len + 1, NULL, 10);
	while (*(line = rig_hear(end)) != '\0')
		if (header && strcmp(line, header) == 0)
			found = true;
	if (header && !found)
		fail_msg("no header %s", header);
	return seq;
}

unsigned long rig_expect_request(struct rig_end *end, const char *name)
{
	return rig_expect_request_with(end, name, NULL);
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

void rig_until(struct rig *rig, bool (*fact)(void *arg), void *arg)
{
	struct timer *poll;

	/* Facts do not wake the loop. */
	assert_int_equal(timer_new(&poll, rig->loop, stop_loop, rig->loop), 0);
	timer_start_every(poll, US_PER_MS);
	timer_start(rig->limit, LIMIT_US);
	while (!fact(arg))
		run_within_limit(rig);
	timer_stop(rig->limit);
	timer_free(poll);
}

/* A ping and its pong pass all that was sent before. */
void rig_expect_nothing(struct rig_end *end)
{
	rig_say(end, "ping");
	rig_expect(end, "pong");
}

static bool is_closed(void *arg)
{
	return ((struct rig_end *)arg)->closed;
}

void rig_expect_closed(struct rig_end *end)
{
	rig_until(end->rig, is_closed, end);
}

struct proxy_count {
	struct rig *rig;
	unsigned count;
};

static bool has_proxies(void *arg)
{
	const struct proxy_count *wanted = arg;

	return proxy_socket_counters(wanted->rig->proxy)->connections ==
	       wanted->count;
}

void rig_until_proxies(struct rig *rig, unsigned count)
{
	struct proxy_count wanted = {rig, count};

	rig_until(rig, has_proxies, &wanted);
}

/* Requests */

void rig_update(struct rig_end *proxy, const char *call_id,
		const char *from_tag, const char *more_headers)
{
	rig_say(proxy,
		"update\r\ntype: request\r\ndialog_id: 1:2\r\ncall_id: "
		"%s\r\ncseq: 1\r\nfrom_uri: a@example.com\r\nto_uri: "
		"b@example.com\r\nfrom_tag: %s\r\nto_tag: \r\nuser_agent: "
		"UA\r\nsignaling_ip: 10.0.0.1\r\nmedia: "
		"audio:10.0.0.1:5000:sendrecv:ice=no\r\n%s",
		call_id, from_tag, more_headers);
}

void rig_remove(struct rig_end *proxy, const char *call_id,
		const char *from_tag)
{
	rig_say(proxy, "remove\r\ncall_id: %s\r\nfrom_tag: %s\r\nto_tag: \r\n",
		call_id, from_tag);
}
