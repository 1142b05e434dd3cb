/**
 * @file ctl/call.c  mediaproxy call: a test call through a dispatcher and a
 * relay
 *
 * Plays SIP proxy, caller and callee: asks the dispatcher for ports as the
 * proxy does, sends RTP and RTCP both ways through the relay, and says what
 * came through.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ctl/call_media.h"
#include "ctl/ctl.h"
#include "ctl/proxy.h"
#include "ctl/table.h"
#include "version.h"

#define REPLY_TIMEOUT_MS 5000
#define MAX_STREAMS 16

static const char help[] =
	"Usage: mediaproxy call [OPTION]...\n"
	"\n"
	"Make a test call through the dispatcher of this host: ask it for "
	"ports as a SIP\n"
	"proxy does, send G.711 packets and RTCP both ways through the relay, "
	"and say for\n"
	"each direction what arrived, and how late. The call is removed at the "
	"end; it is\n"
	"accounted like any other.\n"
	"\n"
	"  --dispatcher-socket PATH  where SIP proxies talk to the dispatcher\n"
	"                            (default RUNTIME_DIR/dispatcher.sock)\n"
	"  --runtime-dir DIR         default " DEFAULT_RUNTIME_DIR "\n"
	"  --ip ADDRESS              our address for both phones (default "
	"127.0.0.1);\n"
	"                            for a relay on another host: one that it "
	"can reach\n"
	"  --seconds N               how long media flows (default 2)\n"
	"  --streams N               so many audio streams (default 1, at most "
	"16)\n"
	"\n"
	"Exit status 0: every packet of both directions arrived, whole and "
	"once.\n"
	"\n"
	"Examples:\n"
	"  mediaproxy call\n"
	"  mediaproxy call --ip 192.0.2.10 --seconds 30\n";

struct call_options {
	char socket[512];
	const char *ip_text;
	struct ip_addr ip;
	uint64_t seconds, streams;
};

/* One call, from its names to its end. */
struct test_call {
	const struct call_options *options;
	struct proxy_call names;
	char call_id[64], from_tag[24], to_tag[24];
	struct call_media *media;
	int fd;
	bool asked; /* the dispatcher may know of it */
	struct proxy_reply ports[PARTY_COUNT]; /* for what this party sent */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

/* @return 0 to go on, or an exit status + 1 */
static int read_options(int argc, char **argv, struct call_options *o)
{
	static const struct option options[] = {
		{"dispatcher-socket", required_argument, NULL, 'd'},
		{"runtime-dir", required_argument, NULL, 'r'},
		{"ip", required_argument, NULL, 'i'},
		{"seconds", required_argument, NULL, 's'},
		{"streams", required_argument, NULL, 'n'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	const char *socket = NULL, *runtime_dir = DEFAULT_RUNTIME_DIR;
	bool ok = true;
	int c;

	opterr = 0;
	while (ok && (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			socket = optarg;
			break;
		case 'r':
			runtime_dir = optarg;
			break;
		case 'i':
			o->ip_text = optarg;
			break;
		case 's':
			ok = ctl_number("call", "--seconds", optarg, 1,
					CALL_MAX_SECONDS, &o->seconds);
			break;
		case 'n':
			ok = ctl_number("call", "--streams", optarg, 1,
					MAX_STREAMS, &o->streams);
			break;
		case 'h':
			(void)fputs(help, stdout);
			return CTL_OK + 1;
		default:
			return ctl_bad_option("call", argc, argv) + 1;
		}
	}
	if (!ok)
		return CTL_USAGE + 1;
	if (optind < argc)
		return ctl_usage_error("call", "\"%s\" is one word too many",
				       argv[optind]) +
		       1;
	if (ip_parse(span_of(o->ip_text), &o->ip) < 0)
		return ctl_usage_error("call", "--ip %s is no address",
				       o->ip_text) +
		       1;
	if (socket)
		(void)snprintf(o->socket, sizeof(o->socket), "%s", socket);
	else
		(void)snprintf(o->socket, sizeof(o->socket),
			       "%s/dispatcher.sock", runtime_dir);
	return 0;
}

/* Names that no other call has. */
static int name_call(struct test_call *call)
{
	struct hash_table random;
	uint64_t value;

	if (hash_init(&random) < 0)
		return -ENOMEM;
	value = hash_span(&random, SPAN("call"));
	hash_done(&random);
	(void)snprintf(call->call_id, sizeof(call->call_id),
		       "%016llx@mediaproxy-call", (unsigned long long)value);
	(void)snprintf(call->from_tag, sizeof(call->from_tag), "f%08x",
		       (unsigned)value);
	(void)snprintf(call->to_tag, sizeof(call->to_tag), "t%08x",
		       (unsigned)(value >> 32));
	call->names = (struct proxy_call){
		.call_id = call->call_id,
		.from_tag = call->from_tag,
		.to_tag = call->to_tag,
		.from_uri = "caller@mediaproxy-call",
		.to_uri = "callee@mediaproxy-call",
	};
	return 0;
}

static void write_media_header(struct buf *out, const struct test_call *call,
			       enum party party)
{
	for (size_t i = 0; i < call->options->streams; i++)
		buf_printf(out, "%saudio:%s:%u:sendrecv:ice=no",
			   i > 0 ? "," : "", call->options->ip_text,
			   (unsigned)call_media_port(call->media, i, party));
}

/* Ask, print the reply as it came, decode it. @return CTL_OK or CTL_FAILED */
static int ask(struct test_call *call, const char *what, struct span request,
	       struct proxy_reply *ret)
{
	CLEANUP(buf_done) struct buf safe = {0};
	uint64_t start_us = clock_mono_us();
	char text[PROXY_MAX_REPLY];
	size_t len;
	int rc = proxy_ask(call->fd, request, REPLY_TIMEOUT_MS, text, &len);

	if (rc == -ECONNRESET)
		return ctl_fail("call",
				"the dispatcher closed the connection instead "
				"of answering %s",
				what);
	if (rc < 0)
		return ctl_fail("call", "no answer to %s: %s", what,
				strerror(-rc));
	proxy_reply_decode(span_make(text, len), ret);
	table_safe_text(&safe, text, 0);
	(void)printf("%-14s %s  (%.1f ms)\n", what, safe.data ? safe.data : "",
		     (double)(clock_mono_us() - start_us) / US_PER_MS);
	return CTL_OK;
}

static int refuse(const struct test_call *call, const struct proxy_reply *reply)
{
	if (reply->kind == PROXY_REPLY_PORTS)
		return ctl_fail("call",
				"the reply has %zu ports for %llu streams",
				reply->count,
				(unsigned long long)call->options->streams);
	if (reply->kind == PROXY_REPLY_STRANGE)
		return ctl_fail("call", "that is no reply of a dispatcher");
	if (reply->kind == PROXY_REPLY_ERROR &&
	    ip_is_loopback(&call->options->ip))
		return ctl_fail("call",
				"the dispatcher gives no ports: no relay is "
				"connected, or it refuses\n%s (is it on "
				"another host? then give --ip); its log says "
				"why",
				call->options->ip_text);
	return ctl_fail("call", "the dispatcher gives no ports; its log, or "
				"the relay's, says why");
}

/* The offer or the answer. */
static int send_update(struct test_call *call, enum party party)
{
	CLEANUP(buf_done) struct buf media = {0};
	CLEANUP(buf_done) struct buf request = {0};
	struct proxy_reply *reply = &call->ports[party];
	int rc;

	write_media_header(&media, call, party);
	proxy_write_update(&request, &call->names, party == PARTY_CALLEE,
			   call->options->ip_text, buf_span(&media));
	if (buf_failed(&media) || buf_failed(&request))
		return ctl_fail("call", "out of memory");
	call->asked = true;
	rc = ask(call,
		 party == PARTY_CALLER ? "update request" : "update reply",
		 buf_span(&request), reply);
	if (rc != CTL_OK)
		return rc;
	if (reply->kind != PROXY_REPLY_PORTS ||
	    reply->count != call->options->streams) {
		/* A refused offer leaves nothing to remove. */
		if (party == PARTY_CALLER && reply->kind == PROXY_REPLY_ERROR)
			call->asked = false;
		return refuse(call, reply);
	}
	for (size_t i = 0; i < reply->count; i++) {
		/* What one party's SDP is answered with is for the other. */
		struct endpoint to = {reply->ip, reply->ports[i]};

		if (to.port == 0)
			return ctl_fail("call", "stream %zu was rejected",
					i + 1);
		call_media_set_relay(call->media, i, party_other(party), &to);
	}
	return CTL_OK;
}

static int send_remove(struct test_call *call)
{
	CLEANUP(buf_done) struct buf request = {0};
	struct proxy_reply reply = {.kind = PROXY_REPLY_STRANGE};
	int rc;

	proxy_write_remove(&request, &call->names);
	if (buf_failed(&request))
		return ctl_fail("call", "out of memory");
	rc = ask(call, "remove", buf_span(&request), &reply);
	if (rc == CTL_OK && reply.kind != PROXY_REPLY_REMOVED)
		return ctl_fail("call", "the call was not removed");
	return rc;
}

static void add_delay(struct table *table, const struct call_flow *flow)
{
	const struct distribution *d = &flow->delay_us;
	const uint64_t values[] = {d->min, distribution_percentile(d, 50),
				   distribution_percentile(d, 99), d->max};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		table_cell(table, d->count ? "%.3f" : "-",
			   (double)values[i] / US_PER_MS);
}

static void add_flow(struct table *table, const struct test_call *call,
		     size_t stream, enum party from, enum component c)
{
	const struct call_flow *flow =
		call_media_flow(call->media, stream, from, c);
	const char *name = c == COMPONENT_RTP ? "RTP" : "RTCP";

	table_cell(table, "%s -> %s", party_name(from),
		   party_name(party_other(from)));
	if (call->options->streams > 1)
		table_cell(table, "%s %zu", name, stream + 1);
	else
		table_cell(table, "%s", name);
	table_cell(table, "%llu", (unsigned long long)flow->sent);
	table_cell(table, "%llu", (unsigned long long)flow->received);
	table_cell(table, "%llu",
		   (unsigned long long)(flow->sent - flow->received));
	table_cell(table, "%llu", (unsigned long long)flow->duplicated);
	table_cell(table, "%llu", (unsigned long long)flow->out_of_order);
	add_delay(table, flow);
}

static void print_oddities(const struct test_call *call, size_t stream,
			   enum party from, enum component c)
{
	const struct call_flow *flow =
		call_media_flow(call->media, stream, from, c);
	const char *who = party_name(from);

	if (flow->unsent)
		(void)printf("%llu packets of the %s could not be sent.\n",
			     (unsigned long long)flow->unsent, who);
	if (flow->damaged)
		(void)printf("%llu packets of the %s arrived changed.\n",
			     (unsigned long long)flow->damaged, who);
	if (flow->misrouted)
		(void)printf("%llu packets for the %s came from another "
			     "address than the relay gave.\n",
			     (unsigned long long)flow->misrouted,
			     party_name(party_other(from)));
}

static void print_report(const struct test_call *call)
{
	static const struct table_column columns[] = {
		{"Direction", false, 0}, {"Media", false, 0},
		{"Sent", true, 0},       {"Received", true, 0},
		{"Lost", true, 0},       {"Doubled", true, 0},
		{"Disordered", true, 0}, {"Delay min", true, 0},
		{"median", true, 0},     {"p99", true, 0},
		{"max (ms)", true, 0},
	};
	CLEANUP(buf_done) struct buf text = {0};
	struct table table;

	table_init(&table, columns, ARRAY_SIZE(columns));
	for (int c = 0; c < COMPONENT_COUNT; c++)
		for (size_t i = 0; i < call->options->streams; i++)
			for (int party = 0; party < PARTY_COUNT; party++)
				add_flow(&table, call, i, (enum party)party,
					 (enum component)c);
	table_write(&table, &text);
	table_done(&table);
	(void)printf("\n%s\n", text.data ? text.data : "");
	for (int c = 0; c < COMPONENT_COUNT; c++)
		for (size_t i = 0; i < call->options->streams; i++)
			for (int party = 0; party < PARTY_COUNT; party++)
				print_oddities(call, i, (enum party)party,
					       (enum component)c);
}

static void print_relay(const struct test_call *call)
{
	char ip[ADDR_TEXT_SIZE];

	(void)printf("\nRelay %s",
		     ip_format(&call->ports[PARTY_CALLER].ip, ip));
	for (size_t i = 0; i < call->options->streams; i++)
		(void)printf("%s port %u for the caller, %u for the callee",
			     i > 0 ? ";" : ",",
			     (unsigned)call->ports[PARTY_CALLEE].ports[i],
			     (unsigned)call->ports[PARTY_CALLER].ports[i]);
	(void)printf("\nSending for %llu s ...\n",
		     (unsigned long long)call->options->seconds);
	(void)fflush(stdout);
}

static int exchange_media(struct test_call *call)
{
	int rc;

	print_relay(call);
	rc = call_media_run(call->media, &interrupted);
	if (rc < 0)
		return ctl_fail("call", "cannot send or receive: %s",
				strerror(-rc));
	return CTL_OK;
}

static int make_call(struct test_call *call)
{
	int rc;

	(void)printf("Dispatcher     %s\nCall-ID        %s\n",
		     call->options->socket, call->call_id);
	rc = send_update(call, PARTY_CALLER);
	if (rc == CTL_OK && !interrupted)
		rc = send_update(call, PARTY_CALLEE);
	if (rc == CTL_OK && !interrupted) {
		rc = exchange_media(call);
		if (rc == CTL_OK)
			print_report(call);
		if (rc == CTL_OK && !call_media_is_complete(call->media))
			rc = CTL_FAILED;
	}
	/* Whatever happened, the call ends here. */
	if (call->asked && send_remove(call) != CTL_OK)
		rc = CTL_FAILED;
	if (interrupted)
		return ctl_fail("call", "interrupted");
	(void)printf("%s\n", rc == CTL_OK ? "\nAll packets arrived."
					  : "\nNot all went well.");
	return rc;
}

static void catch_interrupts(void)
{
	struct sigaction action = {.sa_handler = on_interrupt};

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

int ctl_call(int argc, char **argv)
{
	struct call_options options = {
		.ip_text = "127.0.0.1", .seconds = 2, .streams = 1};
	struct test_call call = {.options = &options, .fd = -1};
	int rc = read_options(argc, argv, &options);

	if (rc > 0)
		return rc - 1;
	rc = proxy_connect(options.socket, false, &call.fd);
	if (rc < 0)
		return ctl_fail_to_reach("call", options.socket, rc);
	rc = name_call(&call);
	if (rc == 0)
		rc = call_media_new(&call.media, &options.ip, options.streams,
				    (unsigned)options.seconds *
					    CALL_PACKETS_PER_S);
	if (rc < 0) {
		rc = ctl_fail("call", "cannot open ports at %s: %s",
			      options.ip_text, strerror(-rc));
	} else {
		catch_interrupts();
		rc = make_call(&call);
	}
	(void)call_media_free(call.media);
	close(call.fd);
	return rc;
}
