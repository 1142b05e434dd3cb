#include "accounting/backends.h"

#include <stddef.h>

#include "accounting/backend.h"

static const struct backend *const backends[] = {
	&radius_backend,
	&file_backend,
	&database_backend,
	NULL,
};

const struct backend *backend_find(struct span name)
{
	for (size_t i = 0; backends[i]; i++)
		if (span_equal(name, span_of(backends[i]->name)))
			return backends[i];
	return NULL;
}
