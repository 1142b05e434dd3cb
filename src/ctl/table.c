/** @file ctl/table.c */
#include "ctl/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/utf8.h"

void table_init(struct table *table, const struct table_column *columns,
		size_t count)
{
	*table = (struct table){.columns = columns, .column_count = count};
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct table){0};
}

static size_t width_of(const char *text)
{
	struct span rest = span_of(text);
	size_t width = 0;

	while (rest.len > 0) {
		uint32_t code;
		size_t len = utf8_decode(rest, &code);

		if (len == 0)
			len = 1;
		rest = span_make(rest.ptr + len, rest.len - len);
		width++;
	}
	return width;
}

/* One character, or the escapes of a byte. @return how many bytes it took */
static size_t add_safe(struct buf *out, struct span rest)
{
	uint32_t code;
	size_t len = utf8_decode(rest, &code);

	/* C0, DEL, C1, and the marks that turn the direction of a line. */
	if (len == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0) ||
	    (code >= 0x200e && code <= 0x200f) ||
	    (code >= 0x2028 && code <= 0x202e) ||
	    (code >= 0x2066 && code <= 0x2069)) {
		buf_printf(out, "\\x%02x", (unsigned char)rest.ptr[0]);
		return 1;
	}
	buf_add(out, span_make(rest.ptr, len));
	return len;
}

/* Cut to max characters, the last three being dots. */
static void shorten(char *text, size_t max)
{
	struct span rest = span_of(text);

	if (max < 4 || width_of(text) <= max)
		return;
	for (size_t i = 0; i < max - 3; i++) {
		uint32_t code;
		size_t len = utf8_decode(rest, &code);

		if (len == 0)
			len = 1;
		rest = span_make(rest.ptr + len, rest.len - len);
	}
	/* More than three characters are left, so there is room. */
	(void)snprintf(text + (rest.ptr - text), 4, "...");
}

void table_safe_text(struct buf *out, const char *text, size_t max)
{
	CLEANUP(buf_done) struct buf safe = {0};
	struct span rest = span_of(text);

	while (rest.len > 0) {
		size_t len = add_safe(&safe, rest);

		rest = span_make(rest.ptr + len, rest.len - len);
	}
	if (safe.len == 0)
		return;
	if (max > 0 && !buf_failed(&safe))
		shorten(safe.data, max);
	buf_add(out, buf_failed(&safe) ? SPAN("?") : span_of(safe.data));
}

static bool make_room(struct table *table)
{
	size_t size = table->size ? 2 * table->size : 64;
	char **cells;

	if (table->cell_count < table->size)
		return true;
	cells = realloc(table->cells, size * sizeof(*cells));
	if (!cells)
		return false;
	table->cells = cells;
	table->size = size;
	return true;
}

void table_cell(struct table *table, const char *format, ...)
{
	const struct table_column *column =
		&table->columns[table->cell_count % table->column_count];
	CLEANUP(buf_done) struct buf text = {0};
	CLEANUP(buf_done) struct buf safe = {0};
	va_list args;

	if (table->failed)
		return;
	va_start(args, format);
	buf_vprintf(&text, format, args);
	va_end(args);
	buf_char(&text, '\0');
	table_safe_text(&safe, buf_failed(&text) ? "?" : text.data,
			column->max_width);
	buf_char(&safe, '\0');
	if (buf_failed(&safe) || !make_room(table)) {
		table->failed = true;
		return;
	}
	table->cells[table->cell_count++] = TAKE_PTR(safe.data);
}

static void write_cell(struct buf *out, const char *text, size_t width,
		       bool right, bool last)
{
	size_t fill = width - width_of(text);

	if (right)
		buf_printf(out, "%*s", (int)fill, "");
	buf_add(out, span_of(text));
	if (!right && !last)
		buf_printf(out, "%*s", (int)fill, "");
	buf_add(out, last ? SPAN("\n") : SPAN("  "));
}

/* Trailing empty cells leave no spaces behind. */
static size_t used_columns(const char *const *row, size_t count)
{
	while (count > 1 && row[count - 1][0] == '\0')
		count--;
	return count;
}

static void write_row(const struct table *table, struct buf *out,
		      const char *const *row, const size_t *widths)
{
	size_t used = used_columns(row, table->column_count);

	for (size_t i = 0; i < used; i++)
		write_cell(out, row[i], widths[i], table->columns[i].right,
			   i + 1 == used);
}

void table_write(const struct table *table, struct buf *out)
{
	const char *titles[TABLE_MAX_COLUMNS] = {0};
	size_t widths[TABLE_MAX_COLUMNS] = {0};
	size_t n = table->column_count;

	if (n == 0 || n > TABLE_MAX_COLUMNS)
		return;
	for (size_t i = 0; i < n; i++) {
		titles[i] = table->columns[i].title;
		widths[i] = width_of(titles[i]);
	}
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t width = width_of(table->cells[i]);

		if (width > widths[i % n])
			widths[i % n] = width;
	}
	write_row(table, out, titles, widths);
	for (size_t i = 0; i + n <= table->cell_count; i += n)
		write_row(table, out, (const char *const *)&table->cells[i],
			  widths);
	if (table->failed)
		buf_add(out, SPAN("(not all: out of memory)\n"));
}
