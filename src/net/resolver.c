/**
 * @file net/resolver.c
 *
 * Every query has a c-ares channel of its own: dropping the channel drops the
 * query, whatever it waits for. c-ares may answer from inside a call; ours is
 * always deferred to the loop.
 */
#include "net/resolver.h"

#include <ares.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "net/loop_event.h"

#define TRY_TIMEOUT_MS 2000
#define TRIES 2
#define T_SRV_TYPE 33
#define C_IN_CLASS 1

struct resolver {
	struct loop *loop;
	struct endpoint server; /* unset: the host's */
	struct list queries;
};

/* A socket of c-ares that the loop watches. */
struct query_socket {
	struct list link;
	struct event event;
	struct resolver_query *query;
};

struct resolver_query {
	struct list link;
	struct loop *loop;
	ares_channel channel; /* NULL: there was nothing to ask */
	struct list sockets;
	struct event timeout;
	struct loop_task finish;
	char *name;
	unsigned pending; /* answers that c-ares owes us */
	bool finishing;   /* its handler runs */
	bool ended;       /* dropped: what c-ares still says is nothing to us */
	bool incomplete;  /* something was not answered */
	const char *why;  /* the last failure that tells most, static text */
	struct ip_addr addresses[RESOLVER_MAX_ADDRESSES];
	size_t count;
	resolver_h *handler;
	void *arg;
};

/* The addresses of a name are on their way. */
struct lookup {
	struct resolver_query *query;
	int family; /* AF_UNSPEC: both */
	char name[];
};

static void query_free(struct resolver_query *query)
{
	query->ended = true;
	list_del(&query->link);
	loop_task_stop(&query->finish);
	if (query->channel)
		ares_destroy(query->channel); /* closes all sockets */
	event_del(&query->timeout);
	list_for_each_safe (link, &query->sockets) {
		struct query_socket *socket =
			list_item(link, struct query_socket, link);

		event_del(&socket->event);
		free(socket);
	}
	free(query->name);
	free(query);
}

static void query_finished(void *arg)
{
	struct resolver_query *query = arg;
	const char *why = NULL;

	if (query->count == 0 || query->incomplete)
		why = query->why ? query->why : "it has no address";
	/* The handler may end the resolver: nothing is touched after it. */
	list_del(&query->link);
	query->finishing = true;
	query->handler(query->addresses, query->count, !query->incomplete, why,
		       query->arg);
	query_free(query);
}

/* One answer less to wait for. */
static void answer_came(struct resolver_query *query)
{
	if (--query->pending == 0)
		loop_task_start(&query->finish);
}

static void add_address(struct resolver_query *query, const struct ip_addr *ip)
{
	if (!ip_is_set(ip) || query->count == RESOLVER_MAX_ADDRESSES)
		return;
	for (size_t i = 0; i < query->count; i++)
		if (ip_equal(&query->addresses[i], ip))
			return;
	query->addresses[query->count++] = *ip;
}

static void note_failure(struct resolver_query *query, int status)
{
	bool is_answer = status == ARES_ENOTFOUND || status == ARES_ENODATA;

	if (!is_answer || !query->incomplete)
		query->why = ares_strerror(status);
	query->incomplete |= !is_answer;
}

static bool is_in_hosts(struct resolver_query *query, const char *name)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct hostent *host = NULL;

		if (ares_gethostbyname_file(query->channel, name, families[i],
					    &host) == ARES_SUCCESS) {
			ares_free_hostent(host);
			return true;
		}
	}
	return false;
}

static void ask_addresses(struct resolver_query *query, const char *name,
			  int family);

/* c-ares calls it a success where the A records came and the AAAA records were
 * not answered, or the other way round. So what did not come is asked for
 * again, alone, to tell that there is none from that nobody knows. */
static void take_addresses(const struct lookup *lookup,
			   const struct ares_addrinfo *result)
{
	bool has_4 = false, has_6 = false;

	for (const struct ares_addrinfo_node *node = result->nodes; node;
	     node = node->ai_next) {
		struct endpoint ep = endpoint_from_sockaddr(node->ai_addr);

		add_address(lookup->query, &ep.ip);
		has_4 |= node->ai_family == AF_INET;
		has_6 |= node->ai_family == AF_INET6;
	}
	if (lookup->family == AF_UNSPEC && has_4 != has_6 &&
	    !is_in_hosts(lookup->query, lookup->name))
		ask_addresses(lookup->query, lookup->name,
			      has_4 ? AF_INET6 : AF_INET);
}

static void addresses_came(void *arg, int status, int timeouts,
			   struct ares_addrinfo *result)
{
	CLEANUP(freep) struct lookup *lookup = arg;
	struct resolver_query *query = lookup->query;

	(void)timeouts;
	if (!query->ended && status == ARES_SUCCESS)
		take_addresses(lookup, result);
	else if (!query->ended)
		note_failure(query, status);
	ares_freeaddrinfo(result);
	if (!query->ended)
		answer_came(query);
}

static void ask_addresses(struct resolver_query *query, const char *name,
			  int family)
{
	/* Not sorted: all of them will be dialled. */
	struct ares_addrinfo_hints hints = {.ai_family = family,
					    .ai_flags = ARES_AI_NOSORT};
	size_t size = strlen(name) + 1;
	struct lookup *lookup = malloc(sizeof(*lookup) + size);

	query->pending++;
	if (!lookup) {
		note_failure(query, ARES_ENOMEM);
		answer_came(query);
		return;
	}
	*lookup = (struct lookup){.query = query, .family = family};
	memcpy(lookup->name, name, size);
	ares_getaddrinfo(query->channel, name, NULL, &hints, addresses_came,
			 lookup);
}

/* The targets of an SRV answer; "." says that there is no such service. */
static size_t ask_targets(struct resolver_query *query,
			  const unsigned char *answer, int len)
{
	struct ares_srv_reply *records = NULL;
	int status = ares_parse_srv_reply(answer, len, &records);
	size_t count = 0;

	if (status != ARES_SUCCESS)
		note_failure(query, status);
	for (const struct ares_srv_reply *record = records;
	     record && count < RESOLVER_MAX_TARGETS; record = record->next) {
		count++;
		if (record->host[0] && strcmp(record->host, ".") != 0)
			ask_addresses(query, record->host, AF_UNSPEC);
	}
	ares_free_data(records);
	return count;
}

static void srv_came(void *arg, int status, int timeouts, unsigned char *answer,
		     int len)
{
	struct resolver_query *query = arg;

	(void)timeouts;
	if (query->ended)
		return;
	if (status != ARES_SUCCESS)
		note_failure(query, status);
	if (status != ARES_SUCCESS || ask_targets(query, answer, len) == 0)
		ask_addresses(query, query->name, AF_UNSPEC);
	answer_came(query);
}

/* c-ares says when to look again, after everything that it did. */
static void set_timeout(struct resolver_query *query)
{
	struct timeval tv;

	if (ares_timeout(query->channel, NULL, &tv))
		event_add(&query->timeout, &tv);
	else
		event_del(&query->timeout);
}

static void socket_ready(evutil_socket_t fd, short what, void *arg)
{
	struct query_socket *socket = arg;
	struct resolver_query *query = socket->query;

	/* c-ares may close the socket, and end it with that. */
	ares_process_fd(query->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
			what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	set_timeout(query);
}

static void timeout_came(evutil_socket_t fd, short what, void *arg)
{
	struct resolver_query *query = arg;

	(void)fd;
	(void)what;
	ares_process_fd(query->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_timeout(query);
}

static struct query_socket *find_socket(struct resolver_query *query, int fd)
{
	list_for_each (link, &query->sockets) {
		struct query_socket *socket =
			list_item(link, struct query_socket, link);

		if (event_get_fd(&socket->event) == fd)
			return socket;
	}
	return NULL;
}

/* c-ares opened a socket, wants something else of it, or is about to close
 * it. Without memory to watch it, the query runs into its timeout. */
static void socket_changed(void *arg, ares_socket_t fd, int read, int write)
{
	struct resolver_query *query = arg;
	struct query_socket *socket = find_socket(query, fd);
	short what = (short)((read ? EV_READ : 0) | (write ? EV_WRITE : 0));

	if (socket)
		event_del(&socket->event);
	if (socket && !what) {
		list_del(&socket->link);
		free(socket);
	}
	if (!what)
		return;
	if (!socket) {
		socket = calloc(1, sizeof(*socket));
		if (!socket)
			return;
		socket->query = query;
		list_add_tail(&query->sockets, &socket->link);
	}
	event_assign(&socket->event, loop_event_base(query->loop), fd,
		     (short)(what | EV_PERSIST), socket_ready, socket);
	event_add(&socket->event, NULL);
}

static int open_channel(struct resolver_query *query,
			const struct endpoint *server)
{
	struct ares_options options = {
		.timeout = TRY_TIMEOUT_MS,
		.tries = TRIES,
		.sock_state_cb = socket_changed,
		.sock_state_cb_data = query,
	};
	char text[ADDR_TEXT_SIZE];
	int rc = ares_init_options(&query->channel, &options,
				   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
					   ARES_OPT_SOCK_STATE_CB);

	if (rc != ARES_SUCCESS) {
		query->channel = NULL;
		return rc;
	}
	if (ip_is_set(&server->ip))
		rc = ares_set_servers_ports_csv(query->channel,
						endpoint_format(server, text));
	return rc;
}

/* Everything that may be known at once, or the first question. */
static int ask(struct resolver_query *query, const struct endpoint *server)
{
	CLEANUP(freep) char *service = NULL;
	struct ip_addr ip;
	int rc;

	if (ip_parse(span_of(query->name), &ip) == 0) {
		add_address(query, &ip);
		loop_task_start(&query->finish);
		return 0;
	}
	rc = open_channel(query, server);
	if (rc != ARES_SUCCESS) {
		note_failure(query, rc);
		loop_task_start(&query->finish);
		return rc == ARES_ENOMEM ? -ENOMEM : 0;
	}
	if (!strchr(query->name, '.')) {
		ask_addresses(query, query->name, AF_UNSPEC);
	} else {
		if (asprintf(&service, "_sip._udp.%s", query->name) < 0) {
			service = NULL;
			return -ENOMEM;
		}
		query->pending++;
		ares_query(query->channel, service, C_IN_CLASS, T_SRV_TYPE,
			   srv_came, query);
	}
	set_timeout(query);
	return 0;
}

int resolver_new(struct resolver **ret, struct loop *loop)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));

	if (!resolver)
		return -ENOMEM;
	resolver->loop = loop;
	list_init(&resolver->queries);
	*ret = resolver;
	return 0;
}

struct resolver *resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return NULL;
	list_for_each_safe (link, &resolver->queries)
		query_free(list_item(link, struct resolver_query, link));
	free(resolver);
	return NULL;
}

void resolver_use_server(struct resolver *resolver, const struct endpoint *at)
{
	resolver->server = *at;
}

int resolver_lookup(struct resolver *resolver, const char *name,
		    resolver_h *handler, void *arg, struct resolver_query **ret)
{
	struct resolver_query *query = calloc(1, sizeof(*query));
	int rc;

	if (!query)
		return -ENOMEM;
	query->loop = resolver->loop;
	query->handler = handler;
	query->arg = arg;
	list_init(&query->sockets);
	list_add_tail(&resolver->queries, &query->link);
	loop_task_init(&query->finish, resolver->loop, query_finished, query);
	evtimer_assign(&query->timeout, loop_event_base(resolver->loop),
		       timeout_came, query);
	query->name = strdup(name);
	rc = query->name ? ask(query, &resolver->server) : -ENOMEM;
	if (rc < 0) {
		query_free(query);
		return rc;
	}
	if (ret)
		*ret = query;
	return 0;
}

void resolver_cancel(struct resolver_query *query)
{
	if (query && !query->finishing)
		query_free(query);
}
