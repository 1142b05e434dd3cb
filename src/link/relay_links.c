#include "link/relay_links.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "link/relay_link.h"
#include "net/resolver.h"

/* A relay that stops reports all its sessions at once: room for more than it
 * can have, and for an hour or two of a dispatcher that is away. */
#define DEFAULT_MAX_RECORDS 262144
#define MAX_RECORD_BYTES (256u << 20)
/* With a disk behind them. */
#define DEFAULT_MAX_STORED_RECORDS 2048
#define MAX_STORED_RECORD_BYTES (8u << 20)
#define CLOSE_LOOK_EVERY_US (10 * US_PER_MS)

/* A dispatcher as the configuration names it. */
struct host {
	struct relay_links *links;
	const struct conf_host *conf;
	struct resolver_query *query; /* while one is under way */
	size_t count;
	struct ip_addr addresses[RELAY_LINKS_MAX_ADDRESSES];
	struct log_limit log_failure;
};

struct relay_links {
	struct relay_link_shared shared;
	struct relay_links_config config;
	struct resolver *resolver;
	struct timer *dns, *verify, *close;
	uint64_t close_at_us;
	relay_links_closed_h *closed;
	void *closed_arg;
	bool told_full, told_strangers;
	size_t count; /* of links; the index is the owner */
	struct relay_link *links[RELAY_LINKS_MAX];
	size_t host_count;
	struct host hosts[];
};

static uint16_t host_port(const struct host *host)
{
	return host->conf->port ? host->conf->port : LINK_DEFAULT_PORT;
}

static bool host_has(const struct host *host, const struct endpoint *ep)
{
	if (host_port(host) != ep->port)
		return false;
	for (size_t i = 0; i < host->count; i++) {
		if (ip_equal(&host->addresses[i], &ep->ip))
			return true;
	}
	return false;
}

static struct relay_link *find(const struct relay_links *links,
			       const struct endpoint *ep)
{
	for (size_t i = 0; i < links->count; i++) {
		if (endpoint_equal(relay_link_endpoint(links->links[i]), ep))
			return links->links[i];
	}
	return NULL;
}

static void add(struct relay_links *links, const struct host *host,
		const struct endpoint *ep)
{
	char text[ADDR_TEXT_SIZE], label[352];
	struct ip_addr ip;

	if (links->count == RELAY_LINKS_MAX) {
		if (!links->told_full)
			log_error("more than %d addresses of dispatchers; %s "
				  "is not dialled",
				  RELAY_LINKS_MAX, endpoint_format(ep, text));
		links->told_full = true;
		return;
	}
	endpoint_format(ep, text);
	if (ip_parse(span_of(host->conf->name), &ip) == 0)
		snprintf(label, sizeof(label), "%s", text);
	else
		snprintf(label, sizeof(label), "%s (%s)", text,
			 host->conf->name);
	if (relay_link_new(&links->links[links->count], &links->shared,
			   (unsigned)links->count, ep, label) < 0) {
		log_error("out of memory for a link to dispatcher %s", label);
		return;
	}
	links->count++;
}

/* Once, when all that is configured is known. */
static void tell_strangers(struct relay_links *links)
{
	CLEANUP(buf_done) struct buf names = {0};
	size_t count;

	if (!links->shared.file || links->told_strangers)
		return;
	for (size_t i = 0; i < links->host_count; i++)
		if (links->hosts[i].count == 0)
			return;
	links->told_strangers = true;
	count = relay_record_file_strangers(links->shared.file, &names);
	if (count > 0)
		log_warning("%zu records on disk are for dispatchers that are "
			    "not configured any more, and stay there: %s",
			    count, buf_failed(&names) ? "" : names.data);
}

/* Dial what the hosts have, hang up on what they have no more. */
static void apply(struct relay_links *links)
{
	for (size_t i = 0; i < links->host_count; i++) {
		const struct host *host = &links->hosts[i];

		for (size_t j = 0; j < host->count; j++) {
			struct endpoint ep = {host->addresses[j],
					      host_port(host)};

			if (!find(links, &ep))
				add(links, host, &ep);
		}
	}
	for (size_t i = 0; i < links->count; i++) {
		struct relay_link *link = links->links[i];
		bool wanted = false;

		for (size_t j = 0; j < links->host_count && !wanted; j++)
			wanted = host_has(&links->hosts[j],
					  relay_link_endpoint(link));
		if (wanted)
			relay_link_start(link);
		else
			relay_link_stop(link, "its name has this address no "
					      "more");
	}
	tell_strangers(links);
}

static void lookup_failed(struct host *host, bool in_part, const char *why)
{
	struct relay_links *links = host->links;
	uint64_t suppressed;

	links->shared.counts.lookups_failed++;
	if (!log_limit_allows(&host->log_failure,
			      loop_now_us(links->config.loop), &suppressed))
		return;
	if (in_part)
		log_warning("dispatcher %s is found in part, and what is known "
			    "stays: %s (%" PRIu64 " more not shown)",
			    host->conf->name, why, suppressed);
	else
		log_warning("dispatcher %s is not found: %s (%" PRIu64
			    " more not shown)",
			    host->conf->name, why ? why : "no address",
			    suppressed);
}

static void add_address(struct host *host, const struct ip_addr *ip)
{
	for (size_t i = 0; i < host->count; i++)
		if (ip_equal(&host->addresses[i], ip))
			return;
	if (host->count < RELAY_LINKS_MAX_ADDRESSES)
		host->addresses[host->count++] = *ip;
}

/* A name server that is down must not cut the links that are up: addresses
 * stay until a lookup succeeds whole. */
static void on_lookup(const struct ip_addr *addresses, size_t count,
		      bool complete, const char *why, void *arg)
{
	struct host *host = arg;

	host->query = NULL;
	if (count == 0) {
		lookup_failed(host, /* in_part= */ false, why);
		return;
	}
	if (count > RELAY_LINKS_MAX_ADDRESSES)
		log_warning("dispatcher %s has %zu addresses; %d are used",
			    host->conf->name, count, RELAY_LINKS_MAX_ADDRESSES);
	if (complete)
		host->count = 0;
	else
		lookup_failed(host, /* in_part= */ true, why ? why : "failed");
	for (size_t i = 0; i < count; i++)
		add_address(host, &addresses[i]);
	apply(host->links);
}

static void look_up(struct host *host)
{
	struct relay_links *links = host->links;

	if (host->query)
		return;
	if (ip_parse(span_of(host->conf->name), &host->addresses[0]) == 0) {
		host->count = 1;
		return;
	}
	if (resolver_lookup(links->resolver, host->conf->name, on_lookup, host,
			    &host->query) < 0)
		log_warning("out of memory to look up dispatcher %s",
			    host->conf->name);
}

/* A name that was never found is tried as often as a link would be. */
static void on_dns(void *arg)
{
	struct relay_links *links = arg;
	uint64_t next_us = links->config.dns_check_interval_us;

	for (size_t i = 0; i < links->host_count; i++) {
		struct host *host = &links->hosts[i];

		look_up(host);
		if (host->count == 0 &&
		    links->config.reconnect_delay_us < next_us)
			next_us = links->config.reconnect_delay_us;
	}
	apply(links);
	timer_start(links->dns, next_us);
}

static void on_verify(void *arg)
{
	struct relay_links *links = arg;
	const char *why;

	if (tls_context_reload(links->config.tls, &why) < 0)
		log_error("the certificates cannot be read again, the old ones "
			  "stay in force: %s",
			  why);
	for (size_t i = 0; i < links->count; i++)
		relay_link_verify(links->links[i]);
}

static void on_close(void *arg)
{
	struct relay_links *links = arg;
	bool flushed = true;

	for (size_t i = 0; i < links->count; i++)
		flushed = flushed && relay_link_is_flushed(links->links[i]);
	if (!flushed && loop_now_us(links->config.loop) < links->close_at_us)
		return;
	timer_stop(links->close);
	timer_stop(links->dns);
	timer_stop(links->verify);
	for (size_t i = 0; i < links->count; i++)
		relay_link_stop(links->links[i], "the relay stops");
	links->closed(links->closed_arg);
}

/* Without a disk calls work all the same. */
static void open_file(struct relay_links *links)
{
	CLEANUP(buf_done) struct buf why = {0};
	struct store *store = links->config.store;

	if (store &&
	    relay_record_file_new(&links->shared.file, store, &why) < 0)
		log_warning("records are kept in memory alone, and are lost if "
			    "the relay is killed: %s",
			    why.len > 0 ? why.data : "out of memory");
}

static int start(struct relay_links *links)
{
	struct loop *loop = links->config.loop;
	bool stored;

	open_file(links);
	stored = links->shared.file != NULL;
	if (links->shared.max_records == 0)
		links->shared.max_records = stored ? DEFAULT_MAX_STORED_RECORDS
						   : DEFAULT_MAX_RECORDS;
	links->shared.max_record_bytes =
		stored ? MAX_STORED_RECORD_BYTES : MAX_RECORD_BYTES;
	if (resolver_new(&links->resolver, loop) < 0 ||
	    timer_new(&links->dns, loop, on_dns, links) < 0 ||
	    timer_new(&links->verify, loop, on_verify, links) < 0 ||
	    timer_new(&links->close, loop, on_close, links) < 0)
		return -ENOMEM;
	/* From the loop, so that no handler runs inside relay_links_new(). */
	timer_start(links->dns, 0);
	if (links->config.tls && links->config.verify_interval_us > 0)
		timer_start_every(links->verify,
				  links->config.verify_interval_us);
	return 0;
}

int relay_links_new(struct relay_links **ret,
		    const struct relay_links_config *config,
		    const struct relay_links_handlers *handlers, void *arg)
{
	size_t hosts = config->dispatchers->count;
	struct relay_links *links =
		calloc(1, sizeof(*links) + hosts * sizeof(links->hosts[0]));

	if (!links)
		return -ENOMEM;
	links->config = *config;
	links->shared = (struct relay_link_shared){
		.loop = config->loop,
		.tls = config->tls,
		.keepalive_us = config->keepalive_interval_us,
		.first_reconnect_us = config->first_reconnect_us
					      ? config->first_reconnect_us
					      : US_PER_S,
		.reconnect_us = config->reconnect_delay_us,
		.max_records = config->max_records,
		.hello = config->hello,
		.handlers = *handlers,
		.arg = arg,
	};
	links->host_count = hosts;
	for (size_t i = 0; i < hosts; i++) {
		links->hosts[i].links = links;
		links->hosts[i].conf = &config->dispatchers->hosts[i];
		links->hosts[i].log_failure = LOG_LIMIT(1, 600 * US_PER_S);
	}
	if (start(links) < 0) {
		relay_links_free(links);
		return -ENOMEM;
	}
	*ret = links;
	return 0;
}

struct relay_links *relay_links_free(struct relay_links *links)
{
	if (!links)
		return NULL;
	resolver_free(links->resolver);
	for (size_t i = 0; i < links->count; i++)
		relay_link_free(links->links[i]);
	relay_record_file_free(links->shared.file);
	timer_free(links->dns);
	timer_free(links->verify);
	timer_free(links->close);
	free(links);
	return NULL;
}

int relay_links_reply(struct relay_links *links,
		      const struct relay_request *request, struct span text)
{
	if (request->owner >= links->count)
		return -ENOTCONN;
	return relay_link_reply(links->links[request->owner], request, text);
}

void relay_links_removed(struct relay_links *links,
			 const struct relay_request *request,
			 struct span record_id, struct span reply,
			 struct span expired)
{
	if (request->owner < links->count)
		relay_link_removed(links->links[request->owner], request,
				   record_id, reply, expired);
	else
		relay_links_expired(links, request->owner, record_id, expired);
}

void relay_links_expired(struct relay_links *links, unsigned owner,
			 struct span record_id, struct span json)
{
	if (owner < links->count) {
		relay_link_expired(links->links[owner], record_id, json);
		return;
	}
	log_error("a record without a dispatcher: %.*s", SPAN_ARG(json));
	links->shared.counts.records_dropped++;
}

bool relay_links_has_feature(const struct relay_links *links, unsigned owner,
			     enum link_feature feature)
{
	return owner < links->count &&
	       relay_link_features(links->links[owner]) & (unsigned)feature;
}

const char *relay_links_owner_name(const struct relay_links *links,
				   unsigned owner)
{
	return owner < links->count ? relay_link_label(links->links[owner])
				    : "unknown";
}

void relay_links_count(const struct relay_links *links,
		       struct relay_links_counts *ret)
{
	const struct relay_record_file *file = links->shared.file;

	*ret = links->shared.counts;
	ret->known = 0;
	for (size_t i = 0; i < links->count; i++) {
		struct relay_records_counts records;

		ret->known += relay_link_is_started(links->links[i]);
		relay_link_count_records(links->links[i], &records);
		ret->records_waiting += records.waiting;
		ret->records_on_disk += records.on_disk;
		ret->records_sent += records.sent;
		ret->records_resent += records.resent;
		ret->records_acked += records.acked;
		ret->acks_unknown += records.acks_unknown;
		ret->records_dropped += records.dropped;
	}
	if (!file)
		return;
	ret->records_on_disk += relay_record_file_strangers(file, NULL);
	ret->disk_failing = store_is_failing(relay_record_file_store(file));
}

void relay_links_close(struct relay_links *links, uint64_t grace_us,
		       relay_links_closed_h *closed, void *arg)
{
	if (links->closed)
		return;
	links->closed = closed;
	links->closed_arg = arg;
	links->close_at_us = loop_now_us(links->config.loop) + grace_us;
	timer_start_every(links->close, CLOSE_LOOK_EVERY_US);
}
