#pragma once
/**
 * @file ctl/show_internal.h  What show.c and show_records.c share
 */
#include "ctl/show.h"
#include "ctl/table.h"

double show_number(const json_t *object, const char *key);
json_int_t show_integer(const json_t *object, const char *key);

/** A buffer's text, "" if there is none. */
const char *show_buf(const struct buf *buf);

/** Media, status, codecs, the remotes of caller and callee, packets. */
void show_stream_cells(struct table *table, const json_t *stream);
#define SHOW_STREAM_CELLS 6

void show_empty_cells(struct table *table, int count);
