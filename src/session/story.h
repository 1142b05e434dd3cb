#pragma once
/**
 * @file session/story.h  What happened to a call, sentence by sentence
 *
 * story_tell() in story_events.c finds the sentences; story.c writes them, with
 * which party hears the other.
 */
#include "session/internal.h"

/** One sentence. */
struct event {
	uint64_t at_us, until_us; /* since the session began */
	size_t number;            /* as added: for equal times */
	const char *what;         /* a word for programs */
	const char *stream;       /* media type; NULL: none */
	const char *reason;       /* a word; NULL: none */
	struct endpoint source;
	uint64_t packets;
	char text[240];
};

/** All of them, in the order of time. */
struct story {
	const struct session *session;
	uint64_t now_us;
	struct event *events; /* the caller frees them */
	size_t count, size;
	struct event nowhere; /* for those that memory has no room for */
};

/** Zero it, but for session and now_us. */
void story_tell(struct story *story, size_t skip_streams);

/** A time on the story's clock. */
uint64_t story_time_us(const struct story *story, uint64_t us);
