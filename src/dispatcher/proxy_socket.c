#include "dispatcher/proxy_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/utf8.h"
#include "net/conn.h"
#include "net/listener.h"

static const struct conn_limits proxy_limits = {
	.max_line = COMMAND_MAX_LINE,
	.pause_reading_at = 64u << 10,
	.close_at = 1u << 20,
};

struct proxy_socket {
	struct loop *loop;
	struct router *router;
	struct listener *listener;
	struct list connections;
	unsigned max_connections;
	struct proxy_socket_counters counters;
	struct log_limit refused_limit;
};

struct proxy_connection {
	struct proxy_socket *sock;
	struct list link;
	struct conn *conn;
	struct command_reader *reader;
	struct list requests; /* open ones, in the order of their coming */
	unsigned request_count;
	bool paused;
};

/* A request that waits for its answer, or for the ones before it. */
struct open_request {
	struct list link;
	struct proxy_connection *connection;
	struct transaction *transaction; /* NULL: answered */
	bool answered;
	char *reply; /* NULL: `error` */
	size_t reply_len;
};

struct proxy_access proxy_access_choose(gid_t opensips, gid_t kamailio)
{
	const gid_t none = (gid_t)-1;

	if ((opensips == none) == (kamailio == none))
		return (struct proxy_access){0666, none, true};
	return (struct proxy_access){
		0660, opensips != none ? opensips : kamailio, false};
}

/* Answers */

static void write_reply(struct proxy_connection *connection, struct span reply)
{
	conn_write(connection->conn, reply);
	conn_write(connection->conn, SPAN("\r\n"));
}

static void free_request(struct open_request *request)
{
	list_del(&request->link);
	request->connection->request_count--;
	free(request->reply);
	free(request);
}

static void write_answered(struct proxy_connection *connection)
{
	struct list *first;

	while ((first = list_first(&connection->requests))) {
		struct open_request *request =
			list_item(first, struct open_request, link);

		if (!request->answered)
			break;
		write_reply(connection, request->reply
						? span_make(request->reply,
							    request->reply_len)
						: SPAN("error"));
		free_request(request);
	}
	if (connection->paused &&
	    connection->request_count <= PROXY_MAX_OPEN_REQUESTS / 2) {
		connection->paused = false;
		conn_resume(connection->conn);
	}
}

static void answered(struct span reply, void *arg)
{
	struct open_request *request = arg;
	struct proxy_connection *connection = request->connection;

	request->transaction = NULL;
	request->answered = true;
	if (list_first(&connection->requests) == &request->link) {
		write_reply(connection, reply);
		free_request(request);
		write_answered(connection);
		return;
	}
	/* Without memory it becomes `error`, and the relay's session ends by
	 * itself. */
	request->reply = span_dup(reply);
	request->reply_len = reply.len;
}

/* Requests */

static struct open_request *add_request(struct proxy_connection *connection)
{
	struct open_request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->connection = connection;
	list_add_tail(&connection->requests, &request->link);
	connection->request_count++;
	return request;
}

/* Eight bytes of ASCII at a time, since nearly all text is. */
static bool is_utf8(struct span text)
{
	while (text.len > 0) {
		size_t len = sizeof(uint64_t);
		uint64_t eight = 0;
		uint32_t code;

		memcpy(&eight, text.ptr, text.len < len ? text.len : len);
		if (eight & 0x8080808080808080u)
			len = utf8_decode(text, &code);
		if (len == 0)
			return false;
		if (len >= text.len)
			return true;
		text = span_make(text.ptr + len, text.len - len);
	}
	return true;
}

static bool is_utf8_throughout(const struct command *command)
{
	for (size_t i = 0; i < command->header_count; i++)
		if (!is_utf8(command->headers[i].name) ||
		    !is_utf8(command->headers[i].value))
			return false;
	return true;
}

static void request_came(struct proxy_connection *connection,
			 enum command_status status)
{
	struct router *router = connection->sock->router;
	const struct command *command =
		command_reader_command(connection->reader);
	struct open_request *request = add_request(connection);
	struct transaction *transaction;
	const char *why = NULL;

	if (!request) {
		/* No answer can be kept in order: the proxy sees it at once. */
		conn_write(connection->conn, SPAN("error\r\n"));
		return;
	}
	if (status == COMMAND_BAD)
		why = command_reader_why(connection->reader);
	else if (!is_utf8_throughout(command))
		why = "a header is not UTF-8";
	if (why) {
		router_refuse_unreadable(
			router, command_header(command, "call_id"), why);
		answered(SPAN("error"), request);
		return;
	}
	transaction = router_submit(router, command, answered, request);
	/* NULL: answered, and perhaps freed by now */
	if (transaction)
		request->transaction = transaction;
}

static void line_came(struct conn *conn, struct span line, bool too_long,
		      void *arg)
{
	struct proxy_connection *connection = arg;
	enum command_status status;

	status = command_reader_line(connection->reader, line, too_long);
	if (status == COMMAND_MORE)
		return;
	request_came(connection, status);
	if (connection->request_count >= PROXY_MAX_OPEN_REQUESTS &&
	    !connection->paused) {
		connection->paused = true;
		connection->sock->counters.paused++;
		conn_pause(conn);
	}
}

/* While a connection is not read from, its end is not told. */
static bool is_gone(void *arg)
{
	const struct open_request *request = arg;

	return conn_peer_is_gone(request->connection->conn);
}

/* Connections */

static void free_connection(struct proxy_connection *connection)
{
	struct list *first;

	while ((first = list_first(&connection->requests))) {
		struct open_request *request =
			list_item(first, struct open_request, link);

		if (request->transaction)
			router_abandon(request->transaction);
		free_request(request);
	}
	list_del(&connection->link);
	connection->sock->counters.connections--;
	command_reader_free(connection->reader);
	free(connection);
}

static void connection_closed(struct conn *conn, const char *why, void *arg)
{
	(void)conn;
	log_debug("SIP proxy connection closed: %s", why);
	free_connection(arg);
}

static const struct conn_handlers proxy_handlers = {
	.line = line_came,
	.closed = connection_closed,
};

static void refuse(struct proxy_socket *sock, int fd, const char *why)
{
	uint64_t suppressed;
	char left_out[LOG_LEFT_OUT_SIZE];

	close(fd);
	sock->counters.refused++;
	if (log_limit_allows(&sock->refused_limit, loop_now_us(sock->loop),
			     &suppressed))
		log_warning("SIP proxy connection refused: %s%s", why,
			    log_left_out(suppressed, left_out));
}

static void accepted(int fd, const struct endpoint *peer, void *arg)
{
	struct proxy_socket *sock = arg;
	struct proxy_connection *connection;

	(void)peer;
	if (sock->counters.connections >= sock->max_connections) {
		refuse(sock, fd, "max_proxy_connections is reached");
		return;
	}
	connection = calloc(1, sizeof(*connection));
	if (!connection ||
	    command_reader_new(&connection->reader, COMMAND_FORM_SOCKET) < 0) {
		free(connection);
		refuse(sock, fd, "no memory");
		return;
	}
	connection->sock = sock;
	list_init(&connection->requests);
	list_add_tail(&sock->connections, &connection->link);
	sock->counters.connections++;
	sock->counters.accepted++;
	if (conn_accept(&connection->conn, sock->loop, fd, NULL, &proxy_limits,
			&proxy_handlers, connection) < 0)
		free_connection(connection);
}

/* The socket */

int proxy_socket_new(struct proxy_socket **ret, struct loop *loop,
		     const char *path, const struct proxy_access *access,
		     unsigned max_connections, struct router *router)
{
	struct proxy_socket *sock = calloc(1, sizeof(*sock));
	int err;

	if (!sock)
		return -ENOMEM;
	sock->loop = loop;
	sock->router = router;
	sock->max_connections = max_connections;
	sock->refused_limit = LOG_LIMIT(5, 60 * US_PER_S);
	list_init(&sock->connections);
	router_set_is_gone(router, is_gone);
	err = listener_new_unix(&sock->listener, loop, path, access->mode,
				access->group, accepted, sock);
	if (err < 0) {
		free(sock);
		return err;
	}
	*ret = sock;
	return 0;
}

struct proxy_socket *proxy_socket_free(struct proxy_socket *sock)
{
	struct list *first;

	if (!sock)
		return NULL;
	listener_free(sock->listener);
	while ((first = list_first(&sock->connections))) {
		struct proxy_connection *connection =
			list_item(first, struct proxy_connection, link);

		conn_close(connection->conn);
		free_connection(connection);
	}
	free(sock);
	return NULL;
}

const struct proxy_socket_counters *
proxy_socket_counters(const struct proxy_socket *sock)
{
	return &sock->counters;
}
