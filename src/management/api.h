#pragma once
/**
 * @file management/api.h  The control channel: HTTP with JSON under /api/v1
 *
 * Both daemons serve it on a UNIX socket in their runtime folder (0660).
 *
 *     GET /api/v1/version             {"name": ..., "version": ...}
 *     GET /api/v1/summary             a relay: its summary; a dispatcher:
 *                                     {"relays": [...], and its own facts}
 *     GET /api/v1/sessions[?call_id=] an array of statistics
 *     GET /api/v1/explain?call_id=    an array: what happened to this call, as
 *                                     far as it is remembered
 *
 *     GET /api/v1/forwarding          a relay: what forwards, and why
 *     PUT /api/v1/forwarding          {"forwarding": "tc"} changes it, and is
 *                                     answered as GET; 400 or 503 if not
 *
 *     GET /api/v1/history             a dispatcher: an array of records, newest
 *                                     first; ?call_id=, ?before=, ?limit=
 *     GET /api/v1/accounting          what its backends do
 *     GET /api/v1/accounting/set-aside
 *                                     an array of what they have refused;
 *                                     ?backend=, ?before=, ?limit=
 *     PUT /api/v1/accounting/retry    has that tried again: all of it, or by
 *                                     "backend" and "record_id"
 *
 * Everything else: 404 or 405 with {"error": ...}.
 */
#include "management/request.h"
#include "net/loop.h"

struct management_api;

/**
 * Serve on a UNIX socket. The handlers are copied.
 *
 * @return 0, -ENOMEM, -EADDRINUSE (somebody answers there), or negative errno
 */
int management_api_new(struct management_api **ret, struct loop *loop,
		       const char *path,
		       const struct management_handlers *handlers, void *arg);

/** Stop; open requests are still to be finished by those who have them, and
 * lead nowhere. NULL is fine. @return NULL */
struct management_api *management_api_free(struct management_api *api);
