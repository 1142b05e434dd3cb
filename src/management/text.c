#include "management/text.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "management/request_internal.h"
#include "net/conn.h"
#include "net/listener.h"
#include "version.h"

/* How many commands of a client may be open; the rest waits in the kernel. */
#define MAX_OPEN 4
#define MAX_LINE 1024
#define PAUSE_READING_AT (256 * 1024)
/* One answer may be long: 100,000 sessions make 70 MB. */
#define CLOSE_AT ((size_t)256 * 1024 * 1024)

#define MAX_NEWCOMERS_PER_SOURCE 16
/* So long a plain client may take for its first command. TLS has its own limit
 * for the handshake. */
#define NEWCOMER_US (60 * US_PER_S)
/* A plain client whose last command is so old gives way to another one. */
#define IDLE_US (60 * US_PER_S)

struct management_text {
	struct loop *loop;
	struct management_text_config config;
	struct management_handlers handlers;
	void *arg;
	struct listener *listener;
	struct timer *verify, *expiry;
	/* Those that have proved nothing yet: no certificate, or without TLS no
	 * command. They are limited apart, and the oldest one gives way, so
	 * that strangers keep no client out. */
	struct list newcomers; /* the oldest first */
	struct list clients;   /* the one whose last command is oldest first */
	unsigned newcomer_count, client_count;
	struct management_text_counts counts;
	struct log_limit refusals, failures;
};

struct client {
	struct list link;
	struct management_text *text;
	struct conn *conn;
	struct list requests; /* in the order of the commands */
	unsigned open;
	uint64_t since_us; /* of its coming, or its last command */
	bool ready, paused, quits;
	bool is_newcomer;
};

/* The connection is somebody else's affair. */
static void client_free(struct client *client)
{
	list_for_each_safe (link, &client->requests)
		request_detach(
			list_item(link, struct management_request, link));
	list_del(&client->link);
	if (client->is_newcomer)
		client->text->newcomer_count--;
	else
		client->text->client_count--;
	client->text->counts.connections--;
	free(client);
}

static void client_close(struct client *client)
{
	conn_close(client->conn);
	client_free(client);
}

static void refuse(struct management_text *text, const char *name,
		   const char *why)
{
	uint64_t suppressed;

	text->counts.refused++;
	if (log_limit_allows(&text->refusals, loop_now_us(text->loop),
			     &suppressed))
		log_warning("management client %s refused: %s "
			    "(%llu more not logged)",
			    name, why, (unsigned long long)suppressed);
}

static void give_way(struct client *client, const char *why)
{
	refuse(client->text, conn_peer_name(client->conn), why);
	client_close(client);
}

/* Without TLS nobody is known; whoever still asks matters more than whoever has
 * stopped asking. */
static bool idle_one_gives_way(struct management_text *text)
{
	uint64_t now_us = loop_now_us(text->loop);

	if (text->config.tls)
		return false;
	list_for_each (link, &text->clients) {
		struct client *client = list_item(link, struct client, link);

		if (now_us - client->since_us < text->config.idle_us)
			return false;
		if (client->open > 0)
			continue;
		give_way(client, "it is idle and others come");
		return true;
	}
	return false;
}

/* It has proved itself. @return false if it is gone: there are too many */
static bool let_in(struct client *client)
{
	struct management_text *text = client->text;

	if (text->client_count >= text->config.max_connections &&
	    !idle_one_gives_way(text)) {
		give_way(client, "max_management_connections is reached");
		return false;
	}
	list_del(&client->link);
	list_add_tail(&text->clients, &client->link);
	client->is_newcomer = false;
	text->newcomer_count--;
	text->client_count++;
	return true;
}

static void pause_or_resume(struct client *client)
{
	bool pause = client->open >= MAX_OPEN;

	if (pause == client->paused)
		return;
	client->paused = pause;
	if (pause)
		conn_pause(client->conn);
	else
		conn_resume(client->conn);
}

/* Send what is finished, up to the first answer that is not. */
static void send_finished(struct client *client)
{
	struct list *first;

	while ((first = list_first(&client->requests)) != NULL) {
		struct management_request *request =
			list_item(first, struct management_request, link);

		if (!request->finished)
			break;
		if (request->closes) {
			client_close(client);
			return;
		}
		conn_write(client->conn, buf_failed(&request->out)
						 ? SPAN("error\r\n")
						 : buf_span(&request->out));
		request_free(request);
		client->open--;
	}
	pause_or_resume(client);
}

static void request_finished(struct management_request *request)
{
	if (request->form == REQUEST_ARRAY)
		buf_add(&request->out, SPAN("\r\n"));
	send_finished(request->owner);
}

/* An answer that is there at once still waits for those before it. */
static void answer_now(struct management_request *request, struct span text)
{
	buf_reset(&request->out);
	buf_add(&request->out, text);
	request->finished = true;
	send_finished(request->owner);
}

static struct span version_line(enum conf_management_format format)
{
	return format == CONF_MANAGEMENT_LINES
		       ? SPAN(MEDIAPROXY_VERSION "\r\n\r\n")
		       : SPAN(MEDIAPROXY_VERSION "\r\n");
}

static void run_command(struct client *client,
			struct management_request *request, struct span line)
{
	struct management_text *text = client->text;

	text->counts.commands++;
	if (span_equal(line, SPAN("summary"))) {
		text->handlers.summary(request, text->arg);
	} else if (span_equal(line, SPAN("sessions"))) {
		text->handlers.sessions(request, text->arg);
	} else if (span_equal(line, SPAN("version"))) {
		answer_now(request, version_line(text->config.format));
	} else if (span_equal(line, SPAN("quit")) ||
		   span_equal(line, SPAN("exit"))) {
		client->quits = true;
		request->closes = true;
		answer_now(request, SPAN(""));
	} else {
		text->counts.commands_bad++;
		answer_now(request, SPAN("error\r\n"));
	}
}

static void client_line(struct conn *conn, struct span line, bool too_long,
			void *arg)
{
	struct client *client = arg;
	struct management_request *request;

	(void)conn;
	if (client->quits || (client->is_newcomer && !let_in(client)))
		return;
	client->since_us = loop_now_us(client->text->loop);
	list_del(&client->link);
	list_add_tail(&client->text->clients, &client->link);
	request =
		request_new(client->text->config.format == CONF_MANAGEMENT_LINES
				    ? REQUEST_LINES
				    : REQUEST_ARRAY,
			    request_finished, client);
	if (!request) {
		client_close(client);
		return;
	}
	list_add_tail(&client->requests, &request->link);
	client->open++;
	pause_or_resume(client);
	run_command(client, request, too_long ? SPAN("") : line);
}

static void client_ready(struct conn *conn, void *arg)
{
	struct client *client = arg;

	client->ready = true;
	log_debug("management client %s connected", conn_peer_name(conn));
	if (client->text->config.tls)
		let_in(client);
}

static void client_closed(struct conn *conn, const char *why, void *arg)
{
	struct client *client = arg;
	struct management_text *text = client->text;
	uint64_t suppressed;

	if (client->ready) {
		log_debug("management client %s: %s", conn_peer_name(conn),
			  why);
	} else {
		text->counts.failed++;
		if (log_limit_allows(&text->failures, loop_now_us(text->loop),
				     &suppressed))
			log_warning("management client %s refused: %s "
				    "(%llu more not logged)",
				    conn_peer_name(conn), why,
				    (unsigned long long)suppressed);
	}
	client_free(client);
}

static const struct conn_handlers client_handlers = {
	.ready = client_ready,
	.line = client_line,
	.closed = client_closed,
};

static const struct conn_limits client_limits = {
	.max_line = MAX_LINE,
	.pause_reading_at = PAUSE_READING_AT,
	.close_at = CLOSE_AT,
};

/* Newcomers who took too long. The list is in the order of their coming. */
static void expire_newcomers(void *arg)
{
	struct management_text *text = arg;
	uint64_t now_us = loop_now_us(text->loop);
	struct list *first;

	while ((first = list_first(&text->newcomers))) {
		struct client *client = list_item(first, struct client, link);
		uint64_t end_us = client->since_us + text->config.newcomer_us;

		if (end_us > now_us) {
			timer_start(text->expiry, end_us - now_us);
			return;
		}
		give_way(client, "it has said nothing");
	}
}

static void make_room(struct management_text *text, const struct ip_addr *ip)
{
	struct client *oldest = NULL;
	unsigned count = 0;

	list_for_each (link, &text->newcomers) {
		struct client *client = list_item(link, struct client, link);

		if (!ip_equal(&conn_peer(client->conn)->ip, ip))
			continue;
		if (count++ == 0)
			oldest = client;
	}
	if (count >= MAX_NEWCOMERS_PER_SOURCE)
		give_way(oldest,
			 "too many unfinished connections from its address");
	if (text->newcomer_count >= MANAGEMENT_TEXT_MAX_NEWCOMERS)
		give_way(list_item(list_first(&text->newcomers), struct client,
				   link),
			 "too many unfinished connections");
}

static void client_accepted(int fd, const struct endpoint *peer, void *arg)
{
	struct management_text *text = arg;
	struct client *client;

	make_room(text, &peer->ip);
	client = calloc(1, sizeof(*client));
	if (!client) {
		close(fd);
		return;
	}
	client->text = text;
	client->is_newcomer = true;
	client->since_us = loop_now_us(text->loop);
	list_init(&client->requests);
	if (conn_accept(&client->conn, text->loop, fd, text->config.tls,
			&client_limits, &client_handlers, client) < 0) {
		free(client);
		return;
	}
	list_add_tail(&text->newcomers, &client->link);
	text->newcomer_count++;
	text->counts.connections++;
	text->counts.accepted++;
	if (!text->config.tls && !timer_is_running(text->expiry))
		timer_start(text->expiry, text->config.newcomer_us);
}

/* Read the files again and hold every client against them. */
static void verify_clients(void *arg)
{
	struct management_text *text = arg;
	const char *why;

	if (tls_context_reload(text->config.tls, &why) < 0)
		log_warning("management: certificates stay as they were: %s",
			    why);
	list_for_each_safe (link, &text->clients) {
		struct client *client = list_item(link, struct client, link);

		if (conn_verify_again(client->conn, &why) == 0)
			continue;
		log_warning("management client %s is dropped: %s",
			    conn_peer_name(client->conn), why);
		text->counts.verifications_failed++;
		client_close(client);
	}
}

static int start(struct management_text *text)
{
	int r = timer_new(&text->expiry, text->loop, expire_newcomers, text);

	if (r == 0)
		r = listener_new_tcp(&text->listener, text->loop,
				     &text->config.listen, client_accepted,
				     text);
	if (r < 0 || !text->config.tls || !text->config.verify_interval_us)
		return r;
	r = timer_new(&text->verify, text->loop, verify_clients, text);
	if (r == 0)
		timer_start_every(text->verify,
				  text->config.verify_interval_us);
	return r;
}

int management_text_new(struct management_text **ret, struct loop *loop,
			const struct management_text_config *config,
			const struct management_handlers *handlers, void *arg)
{
	struct management_text *text = calloc(1, sizeof(*text));
	int r;

	if (!text)
		return -ENOMEM;
	text->loop = loop;
	text->config = *config;
	text->handlers = *handlers;
	text->arg = arg;
	text->refusals = LOG_LIMIT(5, 10 * US_PER_S);
	text->failures = LOG_LIMIT(5, 10 * US_PER_S);
	if (!text->config.newcomer_us)
		text->config.newcomer_us = NEWCOMER_US;
	if (!text->config.idle_us)
		text->config.idle_us = IDLE_US;
	list_init(&text->newcomers);
	list_init(&text->clients);
	r = start(text);
	if (r < 0) {
		management_text_free(text);
		return r;
	}
	*ret = text;
	return 0;
}

struct management_text *management_text_free(struct management_text *text)
{
	if (!text)
		return NULL;
	listener_free(text->listener);
	timer_free(text->verify);
	timer_free(text->expiry);
	list_for_each_safe (link, &text->newcomers)
		client_close(list_item(link, struct client, link));
	list_for_each_safe (link, &text->clients)
		client_close(list_item(link, struct client, link));
	free(text);
	return NULL;
}

struct endpoint management_text_address(const struct management_text *text)
{
	return listener_address(text->listener);
}

void management_text_count(const struct management_text *text,
			   struct management_text_counts *ret)
{
	*ret = text->counts;
}
