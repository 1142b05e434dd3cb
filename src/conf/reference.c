/**
 * @file conf/reference.c  docs/configuration.md, from the table of keys
 */
#include <string.h>

#include "conf/schema.h"

static const char introduction[] =
	"# Configuration\n"
	"\n"
	"Both daemons read `config.ini` in their config folder, by default\n"
	"`/etc/mediaproxy`. A file that is not there means the defaults.\n"
	"`media-relay --check` and `media-dispatcher --check` read it, say "
	"what "
	"is wrong\n"
	"with it, and print the values in force.\n"
	"\n"
	"This page is made from the table in `src/conf/schema.c`.\n"
	"\n"
	"## The file\n"
	"\n"
	"- `[Section]`, then lines of `key = value`. Names of keys are the "
	"same "
	"in upper\n"
	"  and lower case, names of sections are not.\n"
	"- A line that begins with `;` or `#` is a comment, and so is what "
	"follows a blank\n"
	"  and a `;`.\n"
	"- A line that begins with a blank continues the value of the line "
	"before it.\n"
	"- A time is a whole number of seconds, or a whole number with `ms`, "
	"`s`, `min`,\n"
	"  `h` or `d`: `90`, `90 s`, `300ms`, `12h`.\n"
	"- A key that comes twice: the last one counts, with a warning.\n"
	"- An unknown section or key: a warning with its line.\n"
	"- A bad value stops the start, with file, line, key, value, and what "
	"is "
	"allowed.\n"
	"  That goes for the keys of both daemons, whichever reads the file.\n";

/* A cell of a table: a bar inside would end it. */
static void add_cell(const char *text, struct buf *out)
{
	for (; *text; text++) {
		if (*text == '|')
			buf_char(out, '\\');
		buf_char(out, *text);
	}
}

static void print_key(const struct conf_key *key, struct buf *out)
{
	struct buf allowed = {0};

	buf_printf(out, "| `%s` | ", key->name);
	if (key->fallback[0])
		buf_printf(out, "`%s`", key->fallback);
	buf_add(out, SPAN(" | "));
	conf_key_allowed(key, &allowed);
	add_cell(allowed.data ? allowed.data : "", out);
	buf_done(&allowed);
	buf_add(out, SPAN(" | "));
	add_cell(key->doc, out);
	if (key->is_ignored)
		buf_add(out, SPAN(" *Accepted and ignored.*"));
	buf_add(out, SPAN(" |\n"));
}

void conf_print_reference(struct buf *out)
{
	buf_add(out, span_of(introduction));
	for (size_t i = 0; i < conf_section_count; i++) {
		buf_printf(out,
			   "\n## [%s]\n\n%s\n\n"
			   "| key | default | what is allowed | meaning |\n"
			   "| --- | --- | --- | --- |\n",
			   conf_sections[i].name, conf_sections[i].doc);
		for (size_t k = 0; k < conf_key_count; k++)
			if (strcmp(conf_keys[k].section,
				   conf_sections[i].name) == 0)
				print_key(&conf_keys[k], out);
	}
}
