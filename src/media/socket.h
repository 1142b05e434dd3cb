#pragma once
/** @file media/socket.h  The UDP sockets that media arrives at */
#include "base/addr.h"

/**
 * Open and bind a socket: non-blocking, close-on-exec, shared with nobody, IPv6
 * * without IPv4.
 *
 * @param tos  The TOS byte, or traffic class, of what it sends
 * @return the file descriptor, or a negative errno: -EADDRINUSE, -EMFILE, ...
 */
int media_socket_open(const struct endpoint *local, unsigned tos);
