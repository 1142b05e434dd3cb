#pragma once
/**
 * @file dispatcher/control.h  What people and programs may ask a dispatcher
 *
 * The control socket RUNTIME_DIR/media-dispatcher.ctl and the text management
 * listener give the same answers: what the relays say, and the dispatcher's own
 * facts and counters.
 */
#include "dispatcher/dispatcher.h"

struct control;

/** @return 0, or negative errno after logging why */
int control_new(struct control **ret, struct dispatcher *dispatcher);

/** Close both ways in; what is open is answered with what is there. */
void control_stop(struct control *control);

/** After the relays' links are freed. @return NULL */
struct control *control_free(struct control *control);

/** Where the text management listens. */
struct endpoint control_text_address(const struct control *control);
