#pragma once
/** @file media/socket.h  The UDP sockets that media arrives at */
#include <stdbool.h>
#include <sys/socket.h>

#include "base/addr.h"

/**
 * Open and bind a socket: non-blocking, close-on-exec, shared with nobody, IPv6
 * * without IPv4.
 *
 * @param tos        The TOS byte, or traffic class, of what it sends
 * @param keeps_tos  Not that: it tells the byte of what it receives, and
 * media_socket_set_tos() is to pass it on
 * @return the file descriptor, or a negative errno: -EADDRINUSE, -EMFILE, ...
 */
int media_socket_open(const struct endpoint *local, unsigned tos,
		      bool keeps_tos);

/** From now on. @return 0 or a negative errno */
int media_socket_set_tos(int fd, int family, unsigned tos);

/** Room for what comes with a packet of a socket that keeps_tos. */
#define MEDIA_SOCKET_CONTROL CMSG_SPACE(sizeof(int))

/** The TOS byte that a packet came with; 0 if it is not told. */
unsigned media_socket_received_tos(struct msghdr *msg);
