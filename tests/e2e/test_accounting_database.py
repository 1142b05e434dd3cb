"""Accounting to a database: real servers, and the backend by itself."""

import collections
import json
import os
import socket
import sqlite3

import pytest

from mp import programs
from mp.databases import (ORIGINAL_INDEX, ORIGINAL_TABLE, PASSWORD, USER, MariaDB, PostgreSQL,
                          record)
from mp.deliver import Deliver
from mp.wait import holds_for

Row = collections.namedtuple("Row", "call_id from_tag to_tag info")

# What a caller may put into a call-id or a tag, as JSON says it.
AWKWARD = ["\U0001f600 smile", "nul\0nul", "it's", 'say "x"', "back\\slash\\", "%s %d _%",
           "'; DROP TABLE media_sessions; --", "tab\tnew\nline", "\u4e2d\u6587", "\x7f\x80",
           "L" * 10000, "\u00e9" * 300, "$1 ? :x {d}"]


@pytest.fixture(scope="module")
def ports():
    block = programs.PortBlock()
    yield block
    block.close()


def server_of(kind, port):
    reason = kind.missing()
    if reason:
        pytest.skip(reason)
    return kind(port)


@pytest.fixture(scope="module")
def postgres(ports):
    server = server_of(PostgreSQL, ports.tcp(0))
    yield server
    server.close()


@pytest.fixture(scope="module")
def mariadb(ports):
    server = server_of(MariaDB, ports.tcp(1))
    yield server
    server.close()


class ServerDatabase:
    """A new database on a server; its table is made by whoever is first."""

    def __init__(self, server):
        self.server = server
        self.name = server.make_database()
        self.dburi = server.dburi(self.name)

    def run(self, sql):
        return self.server.run(sql, self.name)

    def query(self, where):
        """All rows, of any bytes."""
        if isinstance(self.server, PostgreSQL):
            text, info = "encode(convert_to(%s, 'UTF8'), 'hex')", "encode(info, 'hex')"
        else:
            text, info = "hex(convert(%s using utf8mb4))", "hex(info)"
        columns = ", ".join("coalesce(%s, '-')" % (text % c)
                            for c in ("call_id", "from_tag", "to_tag"))
        rows = self.run("SELECT %s, %s FROM media_sessions %s" % (columns, info, where))
        return [Row(*(None if v == "-" else bytes.fromhex(v) for v in row)) for row in rows]

    def rows(self):
        return self.query("ORDER BY id")


class MyISAM(ServerDatabase):
    """With the table that the original made on MySQL."""

    def __init__(self, server):
        super().__init__(server)
        self.run("%s ENGINE=MyISAM; %s" % (ORIGINAL_TABLE, ORIGINAL_INDEX))


class SQLite:
    server = None

    def __init__(self, folder):
        self.path = os.path.join(str(folder), "cdr.db")
        self.dburi = "sqlite://" + self.path

    def run(self, sql):
        with sqlite3.connect(self.path) as connection:
            return connection.execute(sql).fetchall()

    def query(self, where):
        with sqlite3.connect(self.path) as connection:
            connection.text_factory = bytes
            found = connection.execute("SELECT call_id, from_tag, to_tag, info"
                                       " FROM media_sessions " + where).fetchall()
        return [Row(*row) for row in found]

    def rows(self):
        return self.query("ORDER BY id")


EVERY = ["postgres", "mariadb", "myisam", "sqlite"]
SERVERS = EVERY[:3]


@pytest.fixture
def database(request, tmp_path):
    if request.param == "sqlite":
        return SQLite(tmp_path)
    if request.param == "myisam":
        return MyISAM(request.getfixturevalue("mariadb"))
    return ServerDatabase(request.getfixturevalue(request.param))


def on(*kinds):
    return pytest.mark.parametrize("database", kinds, indirect=True)


@pytest.fixture
def make_deliver(tmp_path):
    """A function that starts `deliver` with a dburi."""
    made = []

    def make(dburi, env=None, **keys):
        folder = tmp_path / ("deliver%d" % len(made))
        program = Deliver(folder, "database", {"Database": dict(keys, dburi=dburi)}, env)
        made.append(program)
        return program.start()

    yield make
    errors = []
    for program in made:
        try:
            if program.running():
                program.stop(20.0)
        except AssertionError as error:
            errors.append(str(error))
            if program.running():
                program.kill()
        try:
            log = program.log()
            assert PASSWORD not in log, "the password is in a log line\n" + log
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n\n".join(errors)


@on(*EVERY)
def test_a_record_becomes_a_row_byte_for_byte(database, make_deliver):
    line = record("r1", "call-1", "from-1", "to-1", caller_ua="\u00e9\0'\"\\", pad="x" * 100000)
    make_deliver(database.dburi).deliver_well([line])
    assert database.rows() == [Row(b"call-1", b"from-1", b"to-1", line.encode())]


@on(*EVERY)
@pytest.mark.parametrize("size", [16384, 65536, 4 << 20])
def test_a_record_of_any_size_is_read_back_whole(database, make_deliver, size):
    """Without a to_tag only what is read back tells that it is there already."""
    lines = [record("r%d" % i, to_tag=None, pad="") for i in range(2)]
    lines = [line[:-2] + "x" * (size - len(line)) + line[-2:] for line in lines]
    program = make_deliver(database.dburi)
    for _ in range(2):
        program.deliver_well(lines, 60.0)
    assert [row.info for row in database.rows()] == [line.encode() for line in lines]


@on("postgres", "mariadb", "sqlite")
def test_the_table_that_is_made_has_its_index(database, make_deliver):
    make_deliver(database.dburi).deliver_well([record("r1")])
    with pytest.raises((AssertionError, sqlite3.IntegrityError)):
        database.run("INSERT INTO media_sessions (call_id, from_tag, to_tag)"
                     " VALUES ('call', 'from', 'to')")
    assert len(database.rows()) == 1


@on(*EVERY)
def test_a_call_that_nobody_answered_has_no_row(database, make_deliver):
    make_deliver(database.dburi).deliver_well([record("r1", start_time=None),
                                               record("r2", "other")])
    assert [row.call_id for row in database.rows()] == [b"other"]


@on(*EVERY)
def test_awkward_texts_are_stored_and_found_again(database, make_deliver):
    batch = [record("r%d" % i, text, text, text) for i, text in enumerate(AWKWARD)]
    for _ in range(2):
        program = make_deliver(database.dburi)
        program.deliver_well(batch)
        program.deliver_well(batch)
        program.stop()
    rows = database.rows()
    assert [json.loads(row.info)["record_id"] for row in rows] == [
        "r%d" % i for i in range(len(AWKWARD))]
    assert rows[1][:3] == (b"nul\\x00nul",) * 3
    assert rows[2].call_id == b"it's"
    assert [len(row.call_id) for row in rows if row.call_id[:2] == b"LL"] == [255]
    assert [len(row.to_tag) for row in rows if row.call_id[:2] == b"LL"] == [64]
    if database.server is None or not isinstance(database, MyISAM):
        assert rows[0].call_id == AWKWARD[0].encode()


@on(*EVERY)
def test_a_record_that_comes_again_is_stored_once(database, make_deliver):
    program = make_deliver(database.dburi)
    program.deliver_well([record("r1"), record("r1"), record("r2", to_tag=None),
                          record("r2", to_tag=None)])
    program.deliver_well([record("r1")])
    program.kill()
    make_deliver(database.dburi).deliver_well([record("r2", to_tag=None), record("r1")])
    assert [row.to_tag for row in database.rows()] == [b"to", None]


@on(*EVERY)
def test_whenever_it_is_killed_each_record_is_stored_once(database, make_deliver):
    batch = [record("r%d" % i, "call-%d" % (i % 40), to_tag="to" if i % 3 else None)
             for i in range(400)]
    for delay_ms in (0, 20, 40, 60, 90, 120):
        program = make_deliver(database.dburi)
        program.deliver_well([record("r0", "call-0", to_tag=None)])
        program.send(batch)
        holds_for(program.running, delay_ms / 1000)
        program.kill()
    make_deliver(database.dburi).deliver_until_done(batch, 60.0)
    assert sorted(json.loads(row.info)["record_id"] for row in database.rows()) == sorted(
        "r%d" % i for i in range(400))


@on(*EVERY)
def test_a_call_id_that_is_used_again_has_rows_of_its_own(database, make_deliver):
    batch = [record("r1"), record("r2"), record("r3"), record("r4", to_tag=None),
             record("r5", to_tag=None)]
    for _ in range(2):
        make_deliver(database.dburi).deliver_well(batch)
    assert [row.to_tag for row in database.rows()] == [b"to", b"to;2", b"to;3", None, None]


@on(*EVERY)
def test_a_query_of_cdrtool_finds_the_row(database, make_deliver):
    lines = [record("r%d" % i, "call-%d" % i) for i in range(50)]
    make_deliver(database.dburi).deliver_well(lines)
    found = database.query("WHERE call_id = 'call-7' AND from_tag = 'from' AND to_tag = 'to'")
    assert [row.info for row in found] == [lines[7].encode()]


@on("postgres", "mariadb", "myisam", "sqlite")
def test_a_batch_larger_than_the_backend_takes_at_once(database, make_deliver):
    batch = [record("r%d" % i, "call-%d" % i) for i in range(1200)]
    make_deliver(database.dburi).deliver_well(batch, 60.0)
    assert len(database.rows()) == 1200


@on("postgres")
def test_one_record_that_the_table_refuses_is_set_aside_alone(database, make_deliver):
    program = make_deliver(database.dburi)
    program.deliver_well([record("r1")])
    database.run("ALTER TABLE media_sessions ADD CHECK (call_id <> 'bad')")
    outcomes, down = program.deliver([record("r2", "a"), record("r3", "bad"), record("r4", "b")])
    assert down is None
    assert outcomes[0] == outcomes[2] == "done"
    assert outcomes[1].startswith("refused [23514")
    assert [row.call_id for row in database.rows()] == [b"call", b"a", b"b"]


def test_a_column_of_three_byte_utf8_gets_the_others_escaped(mariadb, make_deliver):
    database = ServerDatabase(mariadb)
    # Without the index, and with a row of the original.
    database.run(ORIGINAL_TABLE + " CHARACTER SET utf8mb3; INSERT INTO media_sessions VALUES"
                 " (NULL, 'call', 'from', 'to', '{\"call_id\": \"call\"}')")
    batch = [record("r1"), record("r2", "\U0001f600\u4e2d"), record("r3", "\u4e2d")]
    for _ in range(2):
        make_deliver(database.dburi).deliver_well(batch)
    assert [(row.call_id, row.to_tag) for row in database.rows()] == [
        (b"call", b"to"), (b"call", b"to;2"),
        (b"\\xf0\\x9f\\x98\\x80" + "\u4e2d".encode(), b"to"), ("\u4e2d".encode(), b"to")]


def test_a_database_of_latin1_gets_the_others_escaped(postgres, make_deliver):
    postgres.make_database()
    postgres.run("CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 LC_COLLATE 'C'"
                 " LC_CTYPE 'C' OWNER " + USER)
    batch = [record("r1", "\u00e9"), record("r2", "\u4e2d"), record("r3", "plain")]
    for _ in range(2):
        make_deliver(postgres.dburi("latin")).deliver_well(batch)
    rows = postgres.run("SELECT call_id FROM media_sessions ORDER BY id", "latin")
    assert rows == [["\u00e9"], ["\\xe4\\xb8\\xad"], ["plain"]]


@on(*EVERY)
def test_an_existing_table_keeps_its_rows(database, make_deliver):
    if not isinstance(database, MyISAM):
        program = make_deliver(database.dburi)
        program.deliver_well([record("old", "other")])
        program.stop()
    database.run("INSERT INTO media_sessions (call_id, from_tag, to_tag, info)"
                 " VALUES ('call', 'from', 'to', '{\"call_id\": \"call\"}')")
    make_deliver(database.dburi).deliver_well([record("r1")])
    rows = [row for row in database.rows() if row.call_id == b"call"]
    assert [row.to_tag for row in rows] == [b"to", b"to;2"]
    assert bytes(rows[0].info if isinstance(rows[0].info, bytes)
                 else rows[0].info.encode()) == b'{"call_id": "call"}'


@on(*SERVERS)
def test_a_server_that_restarts_between_batches(database, make_deliver):
    program = make_deliver(database.dburi)
    program.deliver_well([record("r1", "one")])
    database.server.stop()
    outcomes, down = program.deliver([record("r2", "two"), record("r3", "three")], 30.0)
    assert outcomes == ["later", "later"]
    assert database.name in down
    database.server.start()
    database.server.wait_ready()
    program.deliver_until_done([record("r2", "two"), record("r3", "three")])
    assert [row.call_id for row in database.rows()] == [b"one", b"two", b"three"]


@on("postgres", "mariadb")
def test_a_server_that_crashed_loses_and_doubles_nothing(database, make_deliver):
    program = make_deliver(database.dburi)
    batch = [record("r%d" % i, "call-%d" % (i % 10)) for i in range(100)]
    program.deliver_well(batch[:50])
    database.server.kill()
    database.server.start()
    database.server.wait_ready()
    program.deliver_until_done(batch)
    assert sorted(json.loads(row.info)["record_id"] for row in database.rows()) == sorted(
        "r%d" % i for i in range(100))


@on(*SERVERS)
def test_connections_that_the_server_ends_are_made_again(database, make_deliver):
    program = make_deliver(database.dburi)
    program.deliver_well([record("r1", "one")])
    database.server.disconnect_all()
    program.deliver_until_done([record("r2", "two")])
    assert [row.call_id for row in database.rows()] == [b"one", b"two"]


@on("postgres", "mariadb")
def test_a_server_that_hangs_delays_and_loses_nothing(database, make_deliver):
    program = make_deliver(database.dburi)
    program.deliver_well([record("r1", "one")])
    database.server.freeze()
    try:
        program.send([record("r2", "two"), record("r3", "three")])
        holds_for(program.is_silent, 0.5, "deliver waits for the server")
    finally:
        database.server.thaw()
    outcomes, _ = program.results(2, 30.0)
    if outcomes != ["done", "done"]:
        program.deliver_until_done([record("r2", "two"), record("r3", "three")])
    assert [row.call_id for row in database.rows()] == [b"one", b"two", b"three"]


@on("postgres", "mariadb")
def test_a_server_that_hangs_from_the_start_is_down_in_bounded_time(database, make_deliver):
    program = make_deliver(database.dburi)
    database.server.freeze()
    try:
        outcomes, down = program.deliver([record("r1", "one")], 40.0)
    finally:
        database.server.thaw()
    assert outcomes == ["later"] and "127.0.0.1" in down
    program.deliver_until_done([record("r1", "one")])


def test_a_server_that_never_says_a_word_is_down_in_bounded_time(make_deliver):
    """Of those that we have no server of; Sybase's own login has no limit in FreeTDS."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = make_deliver("mssql://u:p@127.0.0.1:%d/cdr" % silent.getsockname()[1])
        outcomes, down = program.deliver([record("r1")], 40.0)
    assert outcomes == ["later"] and "imeout" in down


@on("postgres", "mariadb")
def test_a_table_that_is_not_like_ours_is_down_and_refuses_nothing(database, make_deliver):
    if database.server.SCHEME == "postgres":
        database.run("CREATE TABLE media_sessions (id SERIAL, call_id TEXT, from_tag TEXT,"
                     " to_tag TEXT, info TEXT); GRANT ALL ON media_sessions TO " + USER)
        why = "the column info is no bytea"
    else:
        database.run(ORIGINAL_TABLE)
        database.run("ALTER TABLE media_sessions ADD COLUMN more INT NOT NULL")
        why = "'more' doesn't have a default value"
    outcomes, down = make_deliver(database.dburi).deliver([record("r1"), record("r2", "two")])
    assert outcomes == ["later", "later"]
    assert why in down


@on("postgres")
def test_a_column_of_theirs_without_a_value_is_down(database, make_deliver):
    make_deliver(database.dburi).deliver_well([record("r0", start_time=None), record("r1")])
    database.run("DELETE FROM media_sessions; ALTER TABLE media_sessions ADD COLUMN more INT"
                 " NOT NULL; ALTER TABLE media_sessions ALTER COLUMN to_tag SET NOT NULL")
    program = make_deliver(database.dburi)
    outcomes, down = program.deliver([record("r1"), record("r2", "two")])
    assert outcomes == ["later", "later"]
    assert '"more"' in down
    database.run("ALTER TABLE media_sessions DROP COLUMN more")
    outcomes, down = program.deliver([record("r1"), record("r2", to_tag=None)])
    assert (outcomes[0], down) == ("done", None)
    assert outcomes[1].startswith("refused [23502")


@on(*SERVERS)
def test_ids_that_have_run_out_are_down(database, make_deliver):
    make_deliver(database.dburi).deliver_well([record("r1", "one")])
    if database.server.SCHEME == "postgres":
        database.run("ALTER SEQUENCE media_sessions_id_seq MAXVALUE 2;"
                     "SELECT nextval('media_sessions_id_seq')")
    else:
        database.run("ALTER TABLE media_sessions MODIFY id INT AUTO_INCREMENT;"
                     "INSERT INTO media_sessions VALUES (2147483647, 'x', 'x', 'x', '')")
    batch = [record("r2", "two"), record("r3", "three")]
    outcomes, down = make_deliver(database.dburi).deliver(batch)
    assert outcomes == ["later", "later"]
    assert "maximum value" in down or "Out of range" in down or "auto-increment" in down
    if database.server.SCHEME == "postgres":
        database.run("ALTER SEQUENCE media_sessions_id_seq NO MAXVALUE")
    else:
        database.run("ALTER TABLE media_sessions MODIFY id BIGINT AUTO_INCREMENT")
    make_deliver(database.dburi).deliver_until_done(batch)


@on("postgres")
def test_ids_that_are_taken_already_are_down(database, make_deliver):
    """As in a table that was copied from elsewhere, with a sequence that begins again."""
    program = make_deliver(database.dburi)
    program.deliver_well([record("r%d" % i, "call-%d" % i) for i in range(500)], 30.0)
    database.run("ALTER SEQUENCE media_sessions_id_seq RESTART")
    batch = [record("s1", "one"), record("s2", "two")]
    outcomes, down = program.deliver(batch)
    assert outcomes == ["later", "later"]
    assert "media_sessions_pkey" in down
    database.run("SELECT setval('media_sessions_id_seq', 500)")
    program.deliver_until_done(batch)
    assert [row.to_tag for row in database.rows()[500:]] == [b"to", b"to"]


@on("postgres")
def test_statements_that_the_server_forgot_are_prepared_again(database, make_deliver):
    """As behind a pooler, where the next transaction may come to another server."""
    program = make_deliver(database.dburi)
    program.deliver_well([record("r1")])
    database.run("CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                 " EXECUTE 'DEALLOCATE ALL'; RETURN NEW; END $$;"
                 "CREATE TRIGGER forget BEFORE INSERT ON media_sessions"
                 " FOR EACH ROW EXECUTE FUNCTION forget()")
    batch = [record("s%d" % i, "call-%d" % i) for i in range(4)]
    outcomes, down = program.deliver(batch)
    assert outcomes == ["later"] * 4 and "[26000" in down
    database.run("DROP TRIGGER forget ON media_sessions")
    program.deliver_until_done(batch)
    assert len(database.rows()) == 5


@on("postgres", "mariadb", "sqlite")
def test_a_table_that_is_dropped_is_made_again(database, make_deliver):
    program = make_deliver(database.dburi)
    program.deliver_well([record("r1", "one")])
    database.run("DROP TABLE media_sessions")
    outcomes, down = program.deliver([record("r2", "two"), record("r3", "three")])
    assert outcomes == ["later", "later"]
    assert "media_sessions" in down
    program.deliver_well([record("r2", "two"), record("r3", "three")])
    assert [row.call_id for row in database.rows()] == [b"two", b"three"]


@on("postgres", "mariadb")
def test_a_password_that_changes_and_changes_back(database, make_deliver):
    program = make_deliver(database.dburi)
    program.deliver_well([record("r1", "one")])
    database.server.set_password(USER, "other")
    try:
        database.server.disconnect_all()
        outcomes, down = program.deliver([record("r2", "two")])
        if "denied" not in down and "authentication" not in down:
            outcomes, down = program.deliver([record("r2", "two")])
        assert outcomes == ["later"]
        assert "denied" in down or "authentication" in down
        assert PASSWORD not in down and "\n" not in down
    finally:
        database.server.set_password(USER, PASSWORD)
    program.deliver_until_done([record("r2", "two")])


DEFINITIONS = {
    "postgres": "create table media_sessions (id bigserial primary key, call_id varchar(255) not "
                "null, from_tag varchar(64) not null, to_tag varchar(64), info bytea); create "
                "unique index media_sessions_callid_idx on media_sessions (call_id, from_tag, "
                "to_tag);",
    "mysql": "create table media_sessions (id bigint not null auto_increment primary key, "
             "call_id varchar(255) not null, from_tag varchar(64) not null, to_tag varchar(64), "
             "info mediumblob, unique index media_sessions_callid_idx (call_id, from_tag, to_tag)) "
             "engine=InnoDB row_format=dynamic character set utf8mb4 collate utf8mb4_bin;",
}


@on("postgres", "mariadb")
def test_without_the_right_to_create_it_says_what_to_run(database, make_deliver):
    server = database.server
    reader = "reader_" + database.name
    server.make_user(reader, "pw")
    if server.SCHEME == "mysql":
        server.run("GRANT SELECT, INSERT ON %s.* TO '%s'@'127.0.0.1'" % (database.name, reader))
    program = make_deliver(server.dburi(database.name, reader, "pw"))
    for _ in range(2):
        outcomes, down = program.deliver([record("r1")])
        assert outcomes == ["later"]
        assert "there is no table media_sessions" in down
    definition = DEFINITIONS[server.SCHEME]
    program.wait_log("CREATE and ALTER run: ")
    assert program.log().count(definition) == 1

    for statement in definition.split("; "):
        database.run(statement)
    if server.SCHEME == "postgres":
        database.run("GRANT SELECT, INSERT ON media_sessions TO %s;"
                     "GRANT USAGE ON media_sessions_id_seq TO %s" % (reader, reader))
    program.deliver_until_done([record("r1")])
    assert len(database.rows()) == 1


@on("postgres", "mariadb")
def test_without_the_right_to_insert_all_wait(database, make_deliver):
    server = database.server
    program = make_deliver(database.dburi)
    program.deliver_well([record("r1")])
    reader = "blind_" + database.name
    server.make_user(reader, "pw")
    database.run("GRANT SELECT ON media_sessions TO %s"
                 % (reader if server.SCHEME == "postgres" else "'%s'@'127.0.0.1'" % reader))
    outcomes, down = make_deliver(server.dburi(database.name, reader, "pw")).deliver(
        [record("r2", "x"), record("r3", "y")])
    assert outcomes == ["later", "later"]
    assert "denied" in down


@pytest.mark.parametrize("scheme", ["postgres", "mysql", "mssql", "sybase"])
def test_a_server_that_is_not_there_is_down(scheme, ports, make_deliver):
    program = make_deliver("%s://u:%s@127.0.0.1:%d/cdr" % (scheme, "s3cret%3B%7Dword",
                                                           ports.tcp(9)))
    outcomes, down = program.deliver([record("r1")], 30.0)
    assert outcomes == ["later"]
    assert down.startswith("down %s 127.0.0.1/cdr: [" % scheme)
    assert PASSWORD not in down


@pytest.mark.parametrize("scheme, package", [
    ("postgres", "package odbc-postgresql"), ("mysql", "package odbc-mariadb"),
    ("mssql", "package tdsodbc"), ("sybase", "package tdsodbc"),
    ("firebird", "Firebird project"), ("maxdb", "SAP's ODBC driver")])
def test_a_driver_that_is_not_installed_is_named(scheme, package, tmp_path, make_deliver):
    empty = tmp_path / "odbc"
    empty.mkdir()
    program = make_deliver("%s://u:p@127.0.0.1/cdr" % scheme,
                           env={"ODBCSYSINI": str(empty), "ODBCINI": str(empty / "odbc.ini")})
    reason = program.why_not()
    assert reason.startswith("[Database] dburi: there is no ODBC driver ")
    assert package in reason


def test_a_password_that_the_driver_would_change_does_not_start(mariadb, make_deliver):
    reason = make_deliver("mysql://u:word%20@127.0.0.1/cdr").why_not()
    assert reason == ("[Database] dburi: the password ends in a space, which the ODBC drivers of "
                      "MySQL leave out: set another one")


def test_a_data_source_of_odbc_ini(postgres, mariadb, tmp_path, make_deliver):
    for server, driver in ((postgres, "PostgreSQL Unicode"), (mariadb, "MariaDB Unicode")):
        database = ServerDatabase(server)
        ini = tmp_path / (server.SCHEME + ".ini")
        ini.write_text("[cdr]\nDriver = %s\nServername = 127.0.0.1\nServer = 127.0.0.1\n"
                       "Port = %d\nDatabase = %s\n" % (driver, server.port, database.name))
        program = make_deliver("odbc:cdr;UID=%s;PWD={%s}" % (USER, PASSWORD.replace("}", "}}")),
                               env={"ODBCINI": str(ini)})
        for _ in range(2):
            program.deliver_well([record("r1", "\U0001f600", pad="x" * 50000), record("r2")])
        assert len(database.rows()) == 2


def test_a_data_source_that_is_not_there_is_named(tmp_path, make_deliver):
    program = make_deliver("odbc:nowhere", env={"ODBCINI": str(tmp_path / "odbc.ini"),
                                                "ODBCSYSINI": str(tmp_path)})
    assert program.why_not() == ("[Database] dburi: there is no data source nowhere in odbc.ini")
