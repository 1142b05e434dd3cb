#pragma once
/**
 * @file dispatcher/dispatcher.h  The dispatcher's parts and how they are wired
 *
 * One control thread: the proxy socket brings requests, the router asks relays
 * for them, the directory knows which relay has which call. main.c only
 * connects them.
 */
#include "conf/conf.h"
#include "dispatcher/dialog_end.h"
#include "dispatcher/directory.h"
#include "dispatcher/directory_disk.h"
#include "dispatcher/interims.h"
#include "dispatcher/proxy_socket.h"
#include "dispatcher/relay_events.h"
#include "dispatcher/router.h"
#include "link/relay_peers.h"
#include "net/daemon.h"
#include "net/loop.h"

struct control;

struct dispatcher {
	struct daemon *daemon;
	const struct conf_dispatcher *conf;
	struct loop *loop;
	struct tls_context *tls, *management_tls;
	struct store *store;
	struct backend_config backend_config;
	struct records records;
	struct directory *directory;
	struct directory_disk *disk;
	struct router *router;
	struct dialog_end *dialogs;
	struct relay_events events;
	struct relay_peers *peers;
	struct interims *interims;
	struct proxy_socket *proxy;
	struct control *control;
	uint64_t started_us;
	char socket_path[CONF_MAX_TEXT * 2];
	char state_dir[CONF_MAX_TEXT * 2], store_path[CONF_MAX_TEXT * 2 + 16];
};

/** A configured address as its key is written: "any:25060". @return text */
const char *dispatcher_listen_text(const struct endpoint *at,
				   char text[static ADDR_TEXT_SIZE]);
