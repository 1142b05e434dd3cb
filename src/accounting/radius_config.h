#pragma once
/**
 * @file accounting/radius_config.h  What the RADIUS client's files say
 *
 * config_file is in the format of radiusclient, freeradius-client and radcli:
 * a keyword, white space, a value. Known are acctserver (HOST[:PORT[:SECRET]],
 * several of them with commas or on lines of their own), servers (the file of
 * the secrets: HOST, white space, SECRET), dictionary, radius_timeout,
 * radius_retries and bindaddr; the other keywords of those libraries are
 * passed over. Relative paths in it start at its own folder.
 *
 * The dictionaries are read by radcli (accounting/radius_dictionary.c). An
 * attribute that none of them names has its usual number, so that accounting
 * needs no dictionary at all.
 */
#include <stddef.h>
#include <stdint.h>

#include "accounting/radius_packet.h"
#include "base/addr.h"
#include "base/buf.h"

#define RADIUS_MAX_SERVERS 8

struct radius_server {
	char host[256]; /* a name or an address, without brackets */
	uint16_t port;
	char secret[256];
};

struct radius_config {
	size_t server_count; /* at least one */
	struct radius_server servers[RADIUS_MAX_SERVERS];
	unsigned timeout_s;     /* for each try */
	unsigned retries;       /* after the first try */
	struct ip_addr bind_ip; /* unset: any */
	struct radius_code codes[RADIUS_NAME_COUNT];
};

/**
 * Read all the files. It looks up no name.
 *
 * @param path        client.conf
 * @param dictionary  The additional dictionary; NULL: none. One that is not
 *                    there is no error
 * @param ret_why     On -EINVAL one line: what is wrong, and what to write
 * @param ret_warnings  Lines, each with its newline
 * @return 0, -EINVAL or -ENOMEM
 */
int radius_config_load(struct radius_config *ret, const char *path,
		       const char *dictionary, struct buf *ret_why,
		       struct buf *ret_warnings);

/** The same for the dictionaries alone; either may be NULL. */
int radius_dictionary_load(struct radius_code ret[static RADIUS_NAME_COUNT],
			   const char *dictionary, const char *additional,
			   struct buf *ret_why, struct buf *ret_warnings);
