#pragma once
/**
 * @file net/conn_socket.h  Sockets for net/conn.c: options, dialling, error
 * texts
 */
#include <stdbool.h>

#include "base/addr.h"

/** Non-blocking, close-on-exec; TCP: no delay, keepalive. */
void conn_socket_prepare(int fd);

/** Begin to connect. @return the descriptor or negative errno */
int conn_socket_dial(const struct endpoint *to);

/** Who is at the other end; unset for UNIX. */
struct endpoint conn_socket_peer(int fd);

/** The error that a connect ended with; 0: it is connected. */
int conn_socket_take_error(int fd);

/** Are both directions closed, or was there an error? */
bool conn_socket_is_gone(int fd);

/** Bytes that the peer's TCP has not acknowledged; 0 for UNIX. */
int conn_socket_unsent(int fd);

/** A few words for what ends connections, strerror() for the rest. */
const char *conn_socket_error(int error);
