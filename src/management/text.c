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

struct management_text {
	struct loop *loop;
	struct management_text_config config;
	struct management_handlers handlers;
	void *arg;
	struct listener *listener;
	struct timer *verify;
	struct list clients;
	struct management_text_counts counts;
	struct log_limit refusals, failures;
};

struct client {
	struct list link;
	struct management_text *text;
	struct conn *conn;
	struct list requests; /* in the order of the commands */
	unsigned open;
	bool ready, paused, quits;
};

/* The connection is somebody else's affair. */
static void client_free(struct client *client)
{
	list_for_each_safe (link, &client->requests)
		request_detach(
			list_item(link, struct management_request, link));
	list_del(&client->link);
	client->text->counts.connections--;
	free(client);
}

static void client_close(struct client *client)
{
	conn_close(client->conn);
	client_free(client);
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
	if (client->quits)
		return;
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

static void refuse(struct management_text *text, int fd,
		   const struct endpoint *peer)
{
	char name[ADDR_TEXT_SIZE];
	uint64_t suppressed;

	close(fd);
	text->counts.refused++;
	if (log_limit_allows(&text->refusals, loop_now_us(text->loop),
			     &suppressed))
		log_warning("management client %s refused: "
			    "max_management_connections = %u is reached "
			    "(%llu more not logged)",
			    endpoint_format(peer, name),
			    text->config.max_connections,
			    (unsigned long long)suppressed);
}

static void client_accepted(int fd, const struct endpoint *peer, void *arg)
{
	struct management_text *text = arg;
	struct client *client;

	if (text->counts.connections >= text->config.max_connections) {
		refuse(text, fd, peer);
		return;
	}
	client = calloc(1, sizeof(*client));
	if (!client) {
		close(fd);
		return;
	}
	client->text = text;
	list_init(&client->requests);
	if (conn_accept(&client->conn, text->loop, fd, text->config.tls,
			&client_limits, &client_handlers, client) < 0) {
		free(client);
		return;
	}
	list_add_tail(&text->clients, &client->link);
	text->counts.connections++;
	text->counts.accepted++;
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

		if (!client->ready ||
		    conn_verify_again(client->conn, &why) == 0)
			continue;
		log_warning("management client %s is dropped: %s",
			    conn_peer_name(client->conn), why);
		text->counts.verifications_failed++;
		client_close(client);
	}
}

static int start(struct management_text *text)
{
	int r = listener_new_tcp(&text->listener, text->loop,
				 &text->config.listen, client_accepted, text);

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
