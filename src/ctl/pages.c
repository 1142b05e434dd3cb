#include "ctl/pages.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"

#define PAGE_ROWS 1000 /* the most that a dispatcher gives */

static void add_number(struct buf *path, const char *name, uint64_t number)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, number);
	api_add_parameter(path, name, text);
}

static int get(const struct pages *pages, json_t **ret)
{
	CLEANUP(buf_done) struct buf path = {0};

	buf_add(&path, span_of(pages->path));
	if (pages->value)
		api_add_parameter(&path, pages->name, pages->value);
	if (pages->before > 0)
		add_number(&path, "before", pages->before);
	add_number(&path, "limit",
		   pages->left < PAGE_ROWS ? pages->left : PAGE_ROWS);
	if (buf_failed(&path))
		return ctl_fail(pages->command, "out of memory");
	return api_get(pages->command, pages->target, path.data, ret);
}

/* Behind a page: where the next begins. Pages that lead nowhere would never
 * end. */
static bool turn(struct pages *pages, const json_t *page)
{
	size_t size = json_array_size(page);
	json_int_t seq = json_integer_value(
		json_object_get(json_array_get(page, size - 1), "seq"));

	if (seq <= 0 || (pages->before > 0 && (uint64_t)seq >= pages->before))
		return false;
	pages->before = (uint64_t)seq;
	pages->left -= size < pages->left ? size : pages->left;
	return true;
}

int pages_next(struct pages *pages, json_t **ret)
{
	json_auto_t *page = NULL;
	int rc = CTL_OK;

	if (pages->left == 0)
		page = json_array();
	else
		rc = get(pages, &page);
	if (rc != CTL_OK)
		return rc;
	if (!json_is_array(page) ||
	    (json_array_size(page) > 0 && !turn(pages, page)))
		return ctl_fail(pages->command,
				"the daemon answers %s with what is no page "
				"of records",
				pages->path);
	*ret = TAKE_PTR(page);
	return CTL_OK;
}

int pages_all(struct pages *pages, json_t **ret)
{
	json_auto_t *all = json_array();
	size_t size;

	do {
		json_auto_t *page = NULL;
		int rc = pages_next(pages, &page);

		if (rc != CTL_OK)
			return rc;
		size = json_array_size(page);
		if (json_array_extend(all, page) < 0)
			return ctl_fail(pages->command, "out of memory");
	} while (size > 0);
	*ret = TAKE_PTR(all);
	return CTL_OK;
}
