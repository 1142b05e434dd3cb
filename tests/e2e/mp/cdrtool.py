"""How CDRTool reads the record of a call out of the database, as a fixture.

Its page "media trace" (library/CDR/OpenSIPS/MediaTrace.php) finds the row by call-id and both
tags, decodes the column info and shows what is in it. What PHP would stop at is NotShown here:

- it prints every value of every stream, whatever its key: an object or array there ends the page;
- it calculates with the times of the streams and with the duration (null counts as 0);
- it takes the relay's address from what stands before the first colon of caller_local.

Keys that it does not know are only printed, so a new key is harmless where its value is a number
or a text. A call of 0 seconds, by which it divides, has the same problem with the original's records.
"""

import json

TABLE = """CREATE TABLE media_sessions (
    id integer PRIMARY KEY AUTOINCREMENT,
    call_id varchar(255) NOT NULL,
    from_tag varchar(64) NOT NULL,
    to_tag varchar(64),
    info blob)"""

# Ends that it draws as a bar, and whether the time of waiting is a part of the duration.
BARS = {"closed": False, "no-traffic timeout": False, "conntrack timeout": True}


class NotShown(Exception):
    """PHP ends the page here."""


def store(database, text):
    """Put a record, as JSON, into the table as the dispatcher does."""
    record = json.loads(text)
    database.execute("INSERT INTO media_sessions (call_id, from_tag, to_tag, info)"
                     " VALUES (?, ?, ?, ?)",
                     (record["call_id"], record["from_tag"], record["to_tag"], text.encode()))


def media_trace(database, call_id, from_tag, to_tag):
    """What the page shows, or None for "No information available".

    {"duration", "relay", "types", "rows": {key: [text of each stream]}, "bars": [(type, what)]}
    """
    row = database.execute("SELECT info FROM media_sessions"
                           " WHERE call_id = ? AND from_tag = ? AND to_tag = ?",
                           (call_id, from_tag, to_tag)).fetchone()
    info = json.loads(row[0]) if row else None
    if not isinstance(info, dict):
        return None
    streams = info["streams"]
    if not isinstance(streams, list):
        raise NotShown("streams is no list: %r" % (streams,))
    if not streams:
        return {"types": [], "rows": {}, "bars": []}
    return {
        "duration": _printed(info["duration"]),
        "relay": _printed(streams[0]["caller_local"]).partition(":")[0],
        "types": [_printed(stream["media_type"]) for stream in streams],
        "rows": {key: [_printed(stream.get(key)) for stream in streams] for key in streams[0]},
        "bars": [_bar(stream, _number(info["duration"])) for stream in streams],
    }


def _printed(value):
    """A value in the text of the page."""
    if isinstance(value, (dict, list)):
        raise NotShown("not a text: %r" % (value,))
    return "" if value is None or value is False else "1" if value is True else str(value)


def _number(value):
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise NotShown("no number: %r" % (value,))
    return value


def _bar(stream, duration):
    """How long a stream talked and was waited for, in its place of the call."""
    begin, end, waited = (_number(stream[key]) for key in ("start_time", "end_time", "timeout_wait"))
    if _number(stream["caller_packets"]) == 0 or _number(stream["callee_packets"]) == 0:
        ice = stream["status"] == "unselected ICE candidate"
        return stream["media_type"], "ICE session" if ice else "No stream data found"
    if stream["status"] not in BARS:
        return stream["media_type"], "a bar without a width"
    talked = end - begin - (waited if BARS[stream["status"]] else 0)
    if not 0 <= talked <= duration:
        raise NotShown("%s of %s seconds" % (talked, duration))
    return stream["media_type"], "%d s" % talked
