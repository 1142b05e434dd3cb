#include "accounting/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "proto/json_read.h"

int record_decode(struct span json, record_h *handler, void *arg)
{
	CLEANUP(json_freep) json_t *object = NULL;
	struct record record;

	if (json.len > RECORD_MAX_BYTES)
		return -EBADMSG;
	object = json_loadb(json.ptr, json.len, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(object))
		return -EBADMSG;
	record = (struct record){
		.record_id = json_member_text(object, "record_id"),
		.call_id = json_member_text(object, "call_id"),
		.from_tag = json_member_text(object, "from_tag"),
		.to_tag = json_member_text(object, "to_tag"),
		.has_start_time =
			json_is_number(json_object_get(object, "start_time")),
		.json = json,
	};
	if (record.call_id.len == 0)
		return -EBADMSG;
	handler(&record, arg);
	return 0;
}

static struct span copy(char **at, struct span from)
{
	struct span to = span_make(*at, from.len);

	if (from.len > 0)
		memcpy(*at, from.ptr, from.len);
	*at += from.len;
	return to;
}

int record_dup(struct record *ret, const struct record *record)
{
	char *at = malloc(record->json.len + record->record_id.len +
			  record->call_id.len + record->from_tag.len +
			  record->to_tag.len + 1);

	if (!at)
		return -ENOMEM;
	*ret = *record;
	/* The JSON first: record_done() finds the memory by it. */
	ret->json = copy(&at, record->json);
	ret->record_id = copy(&at, record->record_id);
	ret->call_id = copy(&at, record->call_id);
	ret->from_tag = copy(&at, record->from_tag);
	ret->to_tag = copy(&at, record->to_tag);
	return 0;
}

void record_done(struct record *record)
{
	free((char *)record->json.ptr);
	*record = (struct record){0};
}
