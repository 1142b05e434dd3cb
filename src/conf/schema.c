#include "conf/schema.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "conf/value.h"
#include "version.h"

#define AT(member)                                                             \
	offsetof(struct conf, member), sizeof(((struct conf *)0)->member)

#define MS US_PER_MS
#define S US_PER_S
#define DAY (86400 * US_PER_S)
#define YEARS (3650 * DAY)

static const char *const learning_names[] = {"safe", "strict", "first-packet",
					     NULL};
static const char *const forwarding_names[] = {"auto", "xdp", "tc", "userspace",
					       NULL};
static const char *const management_names[] = {"lines", "array", NULL};
static const char *const mi_names[] = {"auto", "opensips", "kamailio", "text",
				       NULL};

const struct conf_section conf_sections[] = {
	{"Relay", true, false, "The relay, `media-relay`."},
	{"Dispatcher", false, true, "The dispatcher, `media-dispatcher`."},
	{"TLS", true, true,
	 "Certificates of both daemons. The folder holds `ca.pem`, `crl.pem`, "
	 "`dispatcher.crt`, `dispatcher.key`, `relay.crt` and `relay.key`."},
	{"Accounting", false, true,
	 "The records of ended sessions, by the dispatcher."},
	{"Database", false, true,
	 "Accounting to a database, by the dispatcher."},
	{"Radius", false, true, "Accounting to RADIUS, by the dispatcher."},
	{"File", false, true, "Accounting to a file, by the dispatcher."},
	{"OpenSIPS", false, true,
	 "The SIP proxy's management interface, by which the dispatcher ends "
	 "a dialog. OpenSIPS and Kamailio alike."},
};
const size_t conf_section_count = ARRAY_SIZE(conf_sections);

/* The order is that of docs/configuration.md. */
const struct conf_key conf_keys[] = {
	{"Relay", "dispatchers", KEY_HOSTS, AT(relay.dispatchers),
	 .fallback = "",
	 .doc = "The dispatchers to connect to. A name is looked up as "
		"`_sip._udp` SRV first, then as A and AAAA. The port is the "
		"one written here or 25060."},
	{"Relay", "passport", KEY_PASSPORT, AT(relay.passport),
	 .fallback = "None",
	 .doc = "What the subject of a dispatcher's certificate has to be."},
	{"Relay", "relay_ip", KEY_LOCALS, AT(relay.relay_ip),
	 .fallback = "default",
	 .doc = "The addresses that media ports are bound to, IPv4 and IPv6; "
		"by "
		"default that of the default route. Several of one family are "
		"used in turn. `ADVERTISED` is what the SIP proxy is told "
		"instead, when a 1:1 NAT stands before that address."},
	{"Relay", "advertised_ip", KEY_ADDRESSES, AT(relay.advertised_ip),
	 .fallback = "default",
	 .doc = "The same for addresses of `relay_ip` without `!`: one for all "
		"of its family, or as many as `relay_ip` has of that family, "
		"in the same order; by default those that are bound."},
	{"Relay", "auto_detect_interfaces", KEY_BOOL,
	 AT(relay.auto_detect_interfaces), .fallback = "no",
	 .doc = "Take for each party the address that the route to it prefers; "
		"those of `relay_ip` where no route is known."},
	{"Relay", "port_range", KEY_PORT_RANGE, AT(relay.port_range),
	 .fallback = "40000:60000",
	 .doc = "The UDP ports for media, without LAST itself. A stream takes "
		"four: two pairs."},
	{"Relay", "port_rest", KEY_DURATION, AT(relay.port_rest_us),
	 .fallback = "5", .max = 3600 * S,
	 .doc = "How long a freed port pair rests before it is used again, so "
		"that late packets of one call do not reach another."},
	{"Relay", "log_level", KEY_LOG_LEVEL, AT(relay.log_level),
	 .fallback = "INFO", .doc = "What is logged, from this level up."},
	{"Relay", "stream_timeout", KEY_DURATION, AT(relay.stream_timeout_us),
	 .fallback = "90", .min = S, .max = YEARS,
	 .doc = "A stream ends when neither party has sent media for this "
		"long."},
	{"Relay", "on_hold_timeout", KEY_DURATION, AT(relay.on_hold_timeout_us),
	 .fallback = "7200", .min = S, .max = YEARS,
	 .doc = "The same for a stream that is on hold."},
	{"Relay", "unanswered_timeout", KEY_DURATION,
	 AT(relay.unanswered_timeout_us), .fallback = "600", .min = S,
	 .max = YEARS,
	 .doc = "A session that nobody answered ends this long after its last "
		"offer."},
	{"Relay", "dns_check_interval", KEY_DURATION,
	 AT(relay.dns_check_interval_us), .fallback = "60", .min = S,
	 .max = YEARS,
	 .doc = "How often the names in `dispatchers` are looked up."},
	{"Relay", "keepalive_interval", KEY_DURATION,
	 AT(relay.keepalive_interval_us), .fallback = "10", .min = S,
	 .max = 3600 * S,
	 .doc = "How often a dispatcher is pinged; after three pings without "
		"an answer the relay connects anew."},
	{"Relay", "reconnect_delay", KEY_DURATION, AT(relay.reconnect_delay_us),
	 .fallback = "10", .min = S, .max = 3600 * S,
	 .doc = "How long to wait before another attempt to connect."},
	{"Relay", "traffic_sampling_period", KEY_DURATION,
	 AT(relay.traffic_sampling_period_us), .fallback = "15", .min = S,
	 .max = 3600 * S,
	 .doc = "Over how long the relayed traffic in the summary is "
		"measured."},
	{"Relay", "userspace_transmit_every", KEY_UNUSED, 0, 0,
	 .is_ignored = true, .fallback = "1", .allowed = "anything",
	 .doc = "Of the original; this relay forwards every packet."},
	{"Relay", "routable_private_ranges", KEY_NETWORKS,
	 AT(relay.routable_private_ranges), .fallback = "",
	 .doc = "Private networks that media may be sent to before a packet "
		"came from there, as to a public address."},
	{"Relay", "denied_ranges", KEY_NETWORKS, AT(relay.denied_ranges),
	 .fallback = "",
	 .doc = "Networks that media is never sent to and never taken from: "
		"SDP that names one is answered by `error`."},
	{"Relay", "max_stream_packets", KEY_NUMBER,
	 AT(relay.max_stream_packets), .fallback = "20000", .max = UINT32_MAX,
	 .doc = "The most packets a second that a party may send to one port; "
		"what is more is dropped. 0: any number."},
	{"Relay", "max_stream_bytes", KEY_NUMBER, AT(relay.max_stream_bytes),
	 .fallback = "25000000", .max = UINT32_MAX,
	 .doc = "The same in bytes, of whole IP packets. 0: any number."},
	{"Relay", "workers", KEY_NUMBER, AT(relay.workers), .fallback = "0",
	 .max = 256,
	 .doc = "Threads that forward media; 0: one for each core."},
	{"Relay", "learning", KEY_CHOICE, AT(relay.learning),
	 .fallback = "safe", .choices = learning_names,
	 .doc = "Who may send to a port: `safe` ranks the sources and lets a "
		"stranger in only after it has proved itself, `strict` knows "
		"no strangers, `first-packet` is the original's rule."},
	{"Relay", "settle_time", KEY_DURATION, AT(relay.settle_time_us),
	 .fallback = "300ms", .max = 60 * S,
	 .doc = "How long only known addresses are heard after the answer."},
	{"Relay", "probation_packets", KEY_NUMBER, AT(relay.probation_packets),
	 .fallback = "4", .min = 1, .max = 64,
	 .doc = "How many RTP packets in sequence prove a stranger."},
	{"Relay", "rebind_silence", KEY_DURATION, AT(relay.rebind_silence_us),
	 .fallback = "200ms", .max = 60 * S,
	 .doc = "How long a party has to be silent before its stream may go "
		"on from a new address."},
	{"Relay", "rtcp_silence", KEY_DURATION, AT(relay.rtcp_silence_us),
	 .fallback = "60", .min = S, .max = YEARS,
	 .doc = "After this long without RTCP its sender is learned anew."},
	{"Relay", "forwarding", KEY_CHOICE, AT(relay.forwarding),
	 .fallback = "auto", .choices = forwarding_names,
	 .doc = "What forwards confirmed flows: `auto` chooses for each "
		"interface xdp, else tc, else userspace. Whatever the kernel "
		"cannot forward goes through userspace."},
	{"Relay", "forwarding_interfaces", KEY_TEXT,
	 AT(relay.forwarding_interfaces), .fallback = "",
	 .doc = "The interfaces where the kernel forwards, by spaces or "
		"commas; empty: all but `lo`, later ones too."},
	{"Relay", "restart_grace", KEY_DURATION, AT(relay.restart_grace_us),
	 .fallback = "30", .min = 2 * S, .max = 3600 * S,
	 .doc = "How long the kernel goes on forwarding without a relay."},
	{"Relay", "tos", KEY_TOS, AT(relay.tos), .fallback = "184",
	 .doc = "The TOS byte, or traffic class, of what is sent, but for its "
		"last two bits, ECN: 184 is DSCP EF; `keep`: all of it as it "
		"was received."},
	{"Relay", "state_dir", KEY_TEXT, AT(relay.state_dir),
	 .fallback = DEFAULT_STATE_DIR, .min = 1,
	 .allowed = "a path, absolute or relative to the config folder",
	 .doc = "The folder for records that no dispatcher has taken yet."},

	{"Dispatcher", "socket_path", KEY_TEXT, AT(dispatcher.socket_path),
	 .fallback = "dispatcher.sock", .min = 1,
	 .allowed = "a path, absolute or relative to the runtime folder",
	 .doc = "The UNIX socket for the SIP proxy."},
	{"Dispatcher", "socket_group", KEY_TEXT, AT(dispatcher.socket_group),
	 .fallback = "", .allowed = "the name of a group, or nothing",
	 .doc = "The group that may use the socket (mode 0660); by default "
		"`opensips` or `kamailio`, whichever exists alone. Where there "
		"is none to choose, everybody may (0666)."},
	{"Dispatcher", "listen", KEY_LISTEN, AT(dispatcher.listen),
	 .fallback = "any:25060", .doc = "Where relays connect to."},
	{"Dispatcher", "listen_management", KEY_LISTEN,
	 AT(dispatcher.listen_management), .fallback = "any:25061",
	 .doc = "Where management clients connect to."},
	{"Dispatcher", "management_use_tls", KEY_BOOL,
	 AT(dispatcher.management_use_tls), .fallback = "yes",
	 .doc = "Management clients speak TLS and show a certificate."},
	{"Dispatcher", "management_format", KEY_CHOICE,
	 AT(dispatcher.management_format), .fallback = "lines",
	 .choices = management_names,
	 .doc = "`lines`: one JSON object a line, then an empty line; `array`: "
		"one line with a JSON array, which CDRTool reads."},
	{"Dispatcher", "passport", KEY_PASSPORT, AT(dispatcher.passport),
	 .fallback = "None",
	 .doc = "What the subject of a relay's certificate has to be."},
	{"Dispatcher", "management_passport", KEY_PASSPORT,
	 AT(dispatcher.management_passport), .fallback = "None",
	 .doc = "The same for management clients."},
	{"Dispatcher", "log_level", KEY_LOG_LEVEL, AT(dispatcher.log_level),
	 .fallback = "INFO", .doc = "What is logged, from this level up."},
	{"Dispatcher", "relay_timeout", KEY_DURATION,
	 AT(dispatcher.relay_timeout_us), .fallback = "5", .min = S,
	 .max = 3600 * S,
	 .doc = "A relay that leaves a command unanswered for this long gets "
		"no new calls until its next ping."},
	{"Dispatcher", "relay_recover_interval", KEY_DURATION,
	 AT(dispatcher.relay_recover_interval_us), .fallback = "60", .min = S,
	 .max = DAY,
	 .doc = "A relay that still has not answered after this long is "
		"disconnected."},
	{"Dispatcher", "failover_timeout", KEY_DURATION,
	 AT(dispatcher.failover_timeout_us), .fallback = "150ms", .min = MS,
	 .max = 60 * S,
	 .doc = "How long to wait for a relay before a new call is given to "
		"the next one."},
	{"Dispatcher", "answer_timeout", KEY_DURATION,
	 AT(dispatcher.answer_timeout_us), .fallback = "400ms", .min = MS,
	 .max = 60 * S,
	 .doc = "By when the SIP proxy has its answer, be it `error`. Keep it "
		"under the proxy's mediaproxy_timeout (500 ms)."},
	{"Dispatcher", "cleanup_dead_relays_after", KEY_DURATION,
	 AT(dispatcher.cleanup_dead_relays_after_us), .fallback = "43200",
	 .min = S, .max = YEARS,
	 .doc = "When the sessions of a relay that went away are forgotten."},
	{"Dispatcher", "cleanup_expired_sessions_after", KEY_DURATION,
	 AT(dispatcher.cleanup_expired_sessions_after_us), .fallback = "86400",
	 .min = S, .max = YEARS,
	 .doc = "When a session that expired, and that the SIP proxy never "
		"removed, is forgotten."},
	{"Dispatcher", "accounting", KEY_ACCOUNTING, AT(dispatcher.accounting),
	 .fallback = "", .doc = "Where the records of ended sessions go."},
	{"Dispatcher", "state_dir", KEY_TEXT, AT(dispatcher.state_dir),
	 .fallback = DEFAULT_STATE_DIR, .min = 1,
	 .allowed = "a path, absolute or relative to the config folder",
	 .doc = "The folder for what has to survive: records that are not "
		"delivered yet, the history, and which relay has which call."},
	{"Dispatcher", "commit_timeout", KEY_DURATION,
	 AT(dispatcher.commit_timeout_us), .fallback = "200ms", .min = MS,
	 .max = 60 * S,
	 .doc = "How long a `remove` waits for its record to be on disk before "
		"it is answered `error`; the record is kept all the same."},
	{"Dispatcher", "max_proxy_connections", KEY_NUMBER,
	 AT(dispatcher.max_proxy_connections), .fallback = "1024", .min = 1,
	 .max = 65536,
	 .doc = "The most connections of SIP proxies at one time."},
	{"Dispatcher", "max_relay_connections", KEY_NUMBER,
	 AT(dispatcher.max_relay_connections), .fallback = "1024", .min = 1,
	 .max = 65536, .doc = "The most connections of relays."},
	{"Dispatcher", "max_management_connections", KEY_NUMBER,
	 AT(dispatcher.max_management_connections), .fallback = "64", .min = 1,
	 .max = 65536, .doc = "The most connections of management clients."},

	{"TLS", "certs_path", KEY_TEXT, AT(tls.certs_path), .fallback = "tls",
	 .min = 1,
	 .allowed = "a path, absolute or relative to the config folder",
	 .doc = "The folder of certificates and keys."},
	{"TLS", "verify_interval", KEY_DURATION, AT(tls.verify_interval_us),
	 .fallback = "300", .max = YEARS,
	 .doc = "How often the certificates of connected peers are verified "
		"again, against files read anew; 0: never."},
	{"TLS", "crl_strict", KEY_BOOL, AT(tls.crl_strict), .fallback = "no",
	 .doc = "An expired `crl.pem` refuses everybody, instead of giving a "
		"warning."},
	{"TLS", "check_extended_key_usage", KEY_BOOL,
	 AT(tls.check_extended_key_usage), .fallback = "no",
	 .doc = "Certificates must be made for TLS servers or clients; those "
		"of the original may not say so."},
	{"TLS", "security_level", KEY_SECURITY_LEVEL, AT(tls.security_level),
	 .fallback = "default", .allowed = "default, or 0 to 5",
	 .doc = "OpenSSL's security level; 0 allows old keys and signatures "
		"of the original's certificates."},

	{"Accounting", "history_time", KEY_DURATION,
	 AT(accounting.history_time_us), .fallback = "7d", .max = YEARS,
	 .doc = "How long records that every backend has taken are kept, for "
		"`mediaproxy history`."},
	{"Accounting", "history_size", KEY_NUMBER, AT(accounting.history_mib),
	 .fallback = "1024", .max = 1048576,
	 .doc = "The most that they may take of the disk, in MiB."},

	{"Database", "dburi", KEY_DATABASE, AT(database.dburi),
	 .fallback = "mysql://mediaproxy:CHANGEME@localhost/mediaproxy",
	 .allowed = "scheme://user:password@host[:port]/database with mysql, "
		    "postgres, sqlite (sqlite:///path), mssql, sybase, "
		    "firebird or maxdb; or odbc:DSN",
	 .doc = "The database for accounting."},
	{"Database", "sessions_table", KEY_IDENTIFIER,
	 AT(database.sessions_table), .fallback = "media_sessions",
	 .doc = "The name of the table."},
	{"Database", "callid_column", KEY_IDENTIFIER,
	 AT(database.callid_column), .fallback = "call_id",
	 .doc = "The column of the call-id."},
	{"Database", "fromtag_column", KEY_IDENTIFIER,
	 AT(database.fromtag_column), .fallback = "from_tag",
	 .doc = "The column of the from-tag."},
	{"Database", "totag_column", KEY_IDENTIFIER, AT(database.totag_column),
	 .fallback = "to_tag", .doc = "The column of the to-tag."},
	{"Database", "info_column", KEY_IDENTIFIER, AT(database.info_column),
	 .fallback = "info", .doc = "The column of the session's statistics."},

	{"Radius", "config_file", KEY_TEXT, AT(radius.config_file),
	 .fallback = "/etc/opensips/radius/client.conf", .min = 1,
	 .allowed = "a path, absolute or relative to the config folder",
	 .doc = "The RADIUS client's configuration."},
	{"Radius", "additional_dictionary", KEY_TEXT,
	 AT(radius.additional_dictionary), .fallback = "radius/dictionary",
	 .allowed = "a path, absolute or relative to the config folder",
	 .doc = "A dictionary with the attributes of SIP."},

	{"Radius", "interim_interval", KEY_DURATION,
	 AT(radius.interim_interval_us), .fallback = "0", .max = DAY,
	 .doc = "How often the calls that are up are reported; 0: never."},

	{"File", "path", KEY_TEXT, AT(file.path), .fallback = "accounting.json",
	 .min = 1,
	 .allowed = "a path, absolute or relative to [Dispatcher] state_dir",
	 .doc = "The file that gets a line of JSON for each record."},
	{"File", "rotate_size", KEY_NUMBER, AT(file.rotate_mib),
	 .fallback = "100", .min = 1, .max = 1048576,
	 .doc = "From this size on, in MiB, a new file is begun."},
	{"File", "keep", KEY_NUMBER, AT(file.keep), .fallback = "10",
	 .max = 999,
	 .doc = "How many older files are kept, as PATH.1, PATH.2, ..."},

	{"OpenSIPS", "socket_path", KEY_TEXT, AT(opensips.socket_path),
	 .fallback = "/run/opensips/socket", .min = 1, .allowed = "a path",
	 .doc = "The datagram socket of the proxy's management interface."},
	{"OpenSIPS", "mi_format", KEY_CHOICE, AT(opensips.mi_format),
	 .fallback = "auto", .choices = mi_names,
	 .doc = "Which proxy stands there; `auto` tells it by its dialog "
		"ids."},
};
const size_t conf_key_count = ARRAY_SIZE(conf_keys);

_Static_assert(ARRAY_SIZE(conf_keys) <= CONF_MAX_KEYS, "CONF_MAX_KEYS");

const struct conf_section *conf_section_find(const char *name)
{
	for (size_t i = 0; i < conf_section_count; i++)
		if (strcmp(conf_sections[i].name, name) == 0)
			return &conf_sections[i];
	return NULL;
}

const struct conf_key *conf_key_find(const char *section, const char *name)
{
	for (size_t i = 0; i < conf_key_count; i++)
		if (strcmp(conf_keys[i].section, section) == 0 &&
		    strcasecmp(conf_keys[i].name, name) == 0)
			return &conf_keys[i];
	return NULL;
}

static void print_choices(const char *const *choices, struct buf *out)
{
	for (size_t i = 0; choices[i]; i++) {
		if (i > 0)
			buf_add(out,
				choices[i + 1] ? SPAN(", ") : SPAN(" or "));
		buf_add(out, span_of(choices[i]));
	}
}

/* A comma splits values, so none of these texts has one inside a value. */
static const char *type_allowed(enum key_type type)
{
	switch (type) {
	case KEY_BOOL:
		return "yes, no, true, false, on, off, 1 or 0";
	case KEY_IDENTIFIER:
		return "letters, digits and underscores, at most 63, no digit "
		       "first";
	case KEY_ACCOUNTING:
		return "any of database, radius and file, or nothing";
	case KEY_ADDRESSES:
		return "at most 16 IP addresses, separated by spaces or "
		       "commas; or default";
	case KEY_LOCALS:
		return "at most 16 of an IP address or ADDRESS!ADVERTISED (of "
		       "one family), separated by spaces or commas; or "
		       "default";
	case KEY_TOS:
		return "a number in 0..255, or keep";
	case KEY_LISTEN:
		return "ADDRESS:PORT, ADDRESS or PORT, where ADDRESS is an IP "
		       "address (IPv6 in brackets), localhost or any";
	case KEY_HOSTS:
		return "at most 64 of HOST or HOST:PORT (IPv6 in brackets), "
		       "separated by spaces or commas";
	case KEY_NETWORKS:
		return "at most 32 of ADDRESS/BITS or ADDRESS, separated by "
		       "spaces or commas; any; none";
	case KEY_PORT_RANGE:
		return "FIRST:LAST, even numbers in 1024..65536";
	case KEY_PASSPORT:
		return "AN:value[, AN:value...] with O, OU, CN, C, L, ST or "
		       "EMAIL, a `*` at the beginning or the end of a value, "
		       "`\\,` for a comma; or None";
	case KEY_LOG_LEVEL:
		return "DEBUG, INFO, WARNING, ERROR or CRITICAL (as ERROR)";
	default:
		return "any text";
	}
}

void conf_key_allowed(const struct conf_key *key, struct buf *out)
{
	if (key->allowed) {
		buf_add(out, span_of(key->allowed));
	} else if (key->type == KEY_CHOICE) {
		print_choices(key->choices, out);
	} else if (key->type == KEY_NUMBER) {
		buf_printf(out, "a number in %u..%u", (unsigned)key->min,
			   (unsigned)key->max);
	} else if (key->type == KEY_DURATION) {
		buf_add(out, SPAN("a time from "));
		value_print_duration(key->min, out);
		buf_add(out, SPAN(" to "));
		value_print_duration(key->max, out);
		buf_add(out, SPAN(", in seconds or with ms, s, min, h or d"));
	} else {
		buf_add(out, span_of(type_allowed(key->type)));
	}
}
