#pragma once
/**
 * @file base/list.h  Doubly linked lists whose links live inside the items
 *
 * A struct list is a head or a link. A link that is in no list points to
 * itself, so deleting it twice does no harm.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_add_tail(struct list *head, struct list *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

static inline void list_del(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/** The first link, or NULL if the list is empty. */
static inline struct list *list_first(const struct list *head)
{
	return head->next == head ? NULL : head->next;
}

#define list_item(link, type, member) container_of(link, type, member)

#define list_for_each(link, head)                                              \
	for (struct list *link = (head)->next; link != (head);                 \
	     link = link->next)

/** The body may delete the current link. */
#define list_for_each_safe(link, head)                                         \
	for (struct list *link = (head)->next, *link##_next_ = link->next;     \
	     link != (head); link = link##_next_, link##_next_ = link->next)
