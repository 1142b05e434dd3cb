#pragma once
/**
 * @file conf/conf.h  The configuration of both daemons: config.ini as const
 * structs
 *
 * One schema table (conf/schema.c) gives the parser, the defaults, the checks
 * and the list of keys in docs/configuration.md. Durations are seconds unless a
 * unit is written (ms, s, min, h, d).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/log.h"
#include "conf/passport.h"

#define CONF_MAX_TEXT 1024
#define CONF_MAX_DISPATCHERS 64
#define CONF_MAX_RANGES 32
#define CONF_MAX_ADDRESSES 16
#define CONF_TOS_KEEP 256

enum conf_learning {
	CONF_LEARNING_SAFE,
	CONF_LEARNING_STRICT,
	CONF_LEARNING_FIRST_PACKET
};
enum conf_forwarding {
	CONF_FORWARDING_AUTO,
	CONF_FORWARDING_XDP,
	CONF_FORWARDING_TC,
	CONF_FORWARDING_USERSPACE
};
enum conf_management_format { CONF_MANAGEMENT_LINES, CONF_MANAGEMENT_ARRAY };
enum conf_mi_format {
	CONF_MI_AUTO,
	CONF_MI_OPENSIPS,
	CONF_MI_KAMAILIO,
	CONF_MI_TEXT
};

/** A host that is looked up: a name or a numeric address, and a port (0: the
 * default). */
struct conf_host {
	char name[256];
	uint16_t port;
};

struct conf_host_list {
	size_t count;
	struct conf_host hosts[CONF_MAX_DISPATCHERS];
};

struct conf_network_list {
	size_t count;
	struct ip_network networks[CONF_MAX_RANGES];
};

/** An address of ours. */
struct conf_address {
	struct ip_addr ip;
	struct ip_addr advertised; /* what others are told; unset: nothing else
				    */
};

struct conf_address_list {
	size_t count; /* 0: default */
	struct conf_address addresses[CONF_MAX_ADDRESSES];
};

struct conf_port_range {
	uint32_t first, end; /* even numbers up to 65536; the pairs are inside
				[first, end) */
};

struct conf_tls {
	char certs_path[CONF_MAX_TEXT]; /* absolute, or relative to the config
					   folder */
	uint64_t verify_interval_us;    /* 0: never */
	bool crl_strict;
	bool check_extended_key_usage;
	int security_level; /* -1: OpenSSL's default */
};

struct conf_relay {
	struct conf_host_list dispatchers;
	struct passport passport;
	struct conf_address_list relay_ip; /* none: that of the default route */
	bool auto_detect_interfaces;
	struct conf_address_list advertised_ip; /* none: those that are bound */
	struct conf_port_range port_range;
	enum log_level log_level;
	uint64_t stream_timeout_us, on_hold_timeout_us, unanswered_timeout_us;
	uint64_t dns_check_interval_us, keepalive_interval_us,
		reconnect_delay_us;
	uint64_t traffic_sampling_period_us;
	struct conf_network_list routable_private_ranges;
	struct conf_network_list denied_ranges;
	unsigned max_stream_packets, max_stream_bytes; /* a second; 0: any */
	uint64_t port_rest_us;
	unsigned workers; /* 0: one for each core */
	enum conf_learning learning;
	uint64_t settle_time_us, rebind_silence_us, rtcp_silence_us;
	unsigned probation_packets;
	enum conf_forwarding forwarding;
	char forwarding_interfaces[CONF_MAX_TEXT];
	uint64_t restart_grace_us;
	unsigned tos;                  /* or CONF_TOS_KEEP */
	char state_dir[CONF_MAX_TEXT]; /* absolute, or relative to the config
					  folder */
};

struct conf_dispatcher {
	char socket_path[CONF_MAX_TEXT]; /* absolute, or relative to the runtime
					    folder */
	char socket_group[64]; /* "": opensips or kamailio, whichever exists
				  alone */
	struct endpoint listen, listen_management; /* unset ip: any */
	bool management_use_tls;
	enum conf_management_format management_format;
	struct passport passport, management_passport;
	enum log_level log_level;
	uint64_t relay_timeout_us, relay_recover_interval_us;
	uint64_t failover_timeout_us, answer_timeout_us;
	uint64_t cleanup_dead_relays_after_us,
		cleanup_expired_sessions_after_us;
	char accounting[CONF_MAX_TEXT]; /* names of backends, in order, with
					   ", " between; "": none */
	char state_dir[CONF_MAX_TEXT];
	uint64_t commit_timeout_us;
	unsigned max_proxy_connections, max_relay_connections,
		max_management_connections;
};

struct conf_accounting {
	uint64_t history_time_us;
	unsigned history_mib;
};

struct conf_database {
	char dburi[CONF_MAX_TEXT];
	char sessions_table[64], callid_column[64], fromtag_column[64],
		totag_column[64], info_column[64];
};

struct conf_radius {
	char config_file[CONF_MAX_TEXT], additional_dictionary[CONF_MAX_TEXT];
	uint64_t interim_interval_us; /* 0: never */
};

struct conf_file {
	char path[CONF_MAX_TEXT];
	unsigned rotate_mib, keep;
};

struct conf_opensips {
	char socket_path[CONF_MAX_TEXT];
	enum conf_mi_format mi_format;
};

/** The whole file. Made once, then const; do not copy (passports point inside).
 */
struct conf {
	struct conf_relay relay;
	struct conf_dispatcher dispatcher;
	struct conf_tls tls;
	struct conf_accounting accounting;
	struct conf_database database;
	struct conf_radius radius;
	struct conf_file file;
	struct conf_opensips opensips;
};

/** Which daemon reads the file: keys of sections that it does not use are
 * checked all the same, but its warnings are about its own sections. */
enum conf_daemon { CONF_DAEMON_RELAY, CONF_DAEMON_DISPATCHER };

/**
 * Read a configuration. A file that is not there gives the defaults and a
 * warning.
 *
 * @param path          config.ini
 * @param ret_warnings  Lines (each ends in \n): unknown keys, keys that are not
 * active yet
 * @param ret_error     On -EINVAL one line: file, line, key, value, and what is
 * allowed
 * @return 0, -EINVAL, -ENOMEM, or the error of reading the file
 */
int conf_load(struct conf **ret, const char *path, enum conf_daemon daemon,
	      struct buf *ret_warnings, struct buf *ret_error);

/** The same from memory, for tests and the fuzzer. name stands for the file in
 * messages. */
int conf_parse(struct conf **ret, const char *name, struct span text,
	       enum conf_daemon daemon, struct buf *ret_warnings,
	       struct buf *ret_error);

struct conf *conf_free(struct conf *conf);

/** Print every key in force as "Section.key = value", one a line (for --check).
 */
void conf_print(const struct conf *conf, enum conf_daemon daemon,
		struct buf *out);

/** The table of all keys for docs/configuration.md, as Markdown. */
void conf_print_reference(struct buf *out);
