#pragma once
/**
 * @file ctl/table.h  Columns of text for a terminal
 *
 * Cells may hold what strangers wrote (call-ids, user agents): bytes that are
 * not printable come out as \xNN, so that nobody's words can move the cursor.
 * Width is counted in characters.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define TABLE_MAX_COLUMNS 16

struct table_column {
	const char *title;
	bool right;       /* numbers stand to the right */
	size_t max_width; /* longer cells are cut and end in "..."; 0: any width
			   */
};

struct table {
	const struct table_column *columns;
	size_t column_count;
	char **cells; /* row by row */
	size_t cell_count, size;
	bool failed; /* no memory */
};

void table_init(struct table *table, const struct table_column *columns,
		size_t count);
void table_done(struct table *table);

/** The next cell; a row is complete with its last column. */
void table_cell(struct table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Titles, then the rows, columns two spaces apart, no space at the end of a
 * line. */
void table_write(const struct table *table, struct buf *out);

/** A text made safe for a terminal, at most max characters long (0: any
 * length). */
void table_safe_text(struct buf *out, const char *text, size_t max);
