#pragma once
/**
 * @file ctl/show_internal.h  What show.c and its sisters share
 */
#include "ctl/show.h"
#include "ctl/table.h"

double show_number(const json_t *object, const char *key);
json_int_t show_integer(const json_t *object, const char *key);

#define SHOW_TIME_SIZE 32
/** "2026-01-31 12:00:00", or "" for what is no time. */
const char *show_local_time(double unix_time, char text[static SHOW_TIME_SIZE]);

/** A buffer's text, "" if there is none. */
const char *show_buf(const struct buf *buf);

/** Media, status, codecs, the remotes of caller and callee, packets. */
void show_stream_cells(struct table *table, const json_t *stream);
#define SHOW_STREAM_CELLS 6

void show_empty_cells(struct table *table, int count);
