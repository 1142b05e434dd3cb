#include "link/link.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "proto/json_read.h"

/* More than enough for a hello, and little enough for jansson. */
#define MAX_HELLO 4096

static const struct {
	enum link_feature feature;
	const char *word;
} features_known[] = {
	{LINK_FEATURE_SCOPE, "scope"},
	{LINK_FEATURE_DIALOG_ID, "dialog_id"},
	{LINK_FEATURE_PAGED, "paged"},
	{LINK_FEATURE_ACK, "ack"},
	{LINK_FEATURE_EXPLAIN, "explain"},
};

static unsigned feature_of(struct span word)
{
	for (size_t i = 0; i < ARRAY_SIZE(features_known); i++)
		if (span_equal(word, span_of(features_known[i].word)))
			return (unsigned)features_known[i].feature;
	return 0;
}

void link_features_encode(struct buf *out, unsigned features)
{
	const char *before = "";

	for (size_t i = 0; i < ARRAY_SIZE(features_known); i++) {
		if (!(features & (unsigned)features_known[i].feature))
			continue;
		buf_printf(out, "%s%s", before, features_known[i].word);
		before = " ";
	}
}

unsigned link_features_decode(struct span text)
{
	unsigned features = 0;
	size_t from = 0;

	if (text.len == 0)
		return 0; /* it may have no address either */
	for (size_t at = 0; at <= text.len; at++) {
		if (at < text.len && text.ptr[at] != ' ' && text.ptr[at] != ',')
			continue;
		features |= feature_of(span_make(text.ptr + from, at - from));
		from = at + 1;
	}
	return features;
}

void link_hello_encode(struct buf *out, const struct link_hello *hello)
{
	struct json_writer w = json_writer_over(out);

	json_object_begin(&w, NULL);
	json_text(&w, "name", hello->name);
	json_text(&w, "version", hello->version);
	json_array_begin(&w, "features");
	for (size_t i = 0; i < ARRAY_SIZE(features_known); i++)
		if (hello->features & (unsigned)features_known[i].feature)
			json_text(&w, NULL, features_known[i].word);
	json_array_end(&w);
	json_object_end(&w);
}

static void copy_text(char *to, size_t size, const json_t *text)
{
	if (json_is_string(text))
		snprintf(to, size, "%s", json_string_value(text));
}

int link_hello_decode(struct span json, struct link_hello *ret)
{
	CLEANUP(json_freep) json_t *object = NULL;
	struct link_hello hello = {0};
	const json_t *features;

	if (json.len > MAX_HELLO)
		return -EBADMSG;
	object = json_loadb(json.ptr, json.len, 0, NULL);
	if (!json_is_object(object))
		return -EBADMSG;
	copy_text(hello.name, sizeof(hello.name),
		  json_object_get(object, "name"));
	copy_text(hello.version, sizeof(hello.version),
		  json_object_get(object, "version"));
	features = json_object_get(object, "features");
	for (size_t i = 0; i < json_array_size(features); i++) {
		const json_t *word = json_array_get(features, i);

		if (json_is_string(word))
			hello.features |=
				feature_of(span_make(json_string_value(word),
						     json_string_length(word)));
	}
	*ret = hello;
	return 0;
}
