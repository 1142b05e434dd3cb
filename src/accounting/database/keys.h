#pragma once
/**
 * @file accounting/database/keys.h  The key of a row: call-id and tags as a
 * database can hold them
 *
 * The same text makes the same key for ever, since by it a row is found again.
 * A byte that a column cannot hold is written as \xNN: NUL and what is no UTF-8
 * always, more where the column's character set is smaller. What is then longer
 * than its column is cut, and ends in `~` and eight hexadecimal digits: FNV-1a,
 * 32 bits, of the text as it was. The second and later sessions of a key have
 * `;2`, `;3`, ... after their to_tag, which is cut so that it fits.
 */
#include <stdbool.h>

#include "accounting/database/dialect.h"
#include "accounting/record.h"

/** The widths of the columns, in characters. */
struct key_widths {
	size_t call_id, from_tag, to_tag;
};

/* What columns have if nobody knows better. */
#define KEY_CALL_ID_WIDTH 255
#define KEY_TAG_WIDTH 64

struct key {
	struct buf call_id, from_tag, to_tag;
	bool has_to_tag; /* false: NULL */
};

/* The number whose suffix is made of the record_id, not of the number. */
#define KEY_LAST_NUMBER 100

/**
 * Make the key of a record.
 *
 * @param ret     Its buffers are used again
 * @param number  1 for the first session of a call-id and tags; 2 to
 *                KEY_LAST_NUMBER for later ones
 * @return 0 or -ENOMEM
 */
int key_make(struct key *ret, const struct record *record,
	     const struct key_widths *widths, enum charset charset,
	     unsigned number);

/** Is the key another one with a smaller character set? */
bool key_depends_on_charset(const struct record *record, enum charset from,
			    enum charset to);

void key_done(struct key *key);
