#pragma once
/**
 * @file accounting/backends.h  The table of backends
 */
#include "accounting/backend.h"
#include "base/span.h"

/** The backend with this name, or NULL. */
const struct backend *backend_find(struct span name);
