#pragma once
/**
 * @file proto/json_read.h  Members of what jansson has read
 */
#include <jansson.h>

#include "base/span.h"

/** For CLEANUP(). */
static inline void json_freep(json_t **json)
{
	json_decref(*json);
}

/** A member's text, which lives as long as the object; empty if it is none. */
static inline struct span json_member_text(const json_t *object,
					   const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_string(value))
		return (struct span){0};
	return span_make(json_string_value(value), json_string_length(value));
}
