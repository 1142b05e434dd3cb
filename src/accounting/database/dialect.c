#include "accounting/database/dialect.h"

#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#define CALL_ID_WIDTH 255
#define TAG_WIDTH 64

/* Every server's, after its own. */
static const struct fault_code common_faults[] = {
	{"23505", 0, FAULT_DUPLICATE},
	{"42S02", 0, FAULT_NO_TABLE},
	{"28", 0, FAULT_DENIED},
	{"08", 0, FAULT_LOST},
	{"IM", 0, FAULT_LOST},
	{"HYT", 0, FAULT_LATER},
	{"HY001", 0, FAULT_LATER},
	{"HY013", 0, FAULT_LATER},
	{"HY014", 0, FAULT_LATER},
	{"40", 0, FAULT_LATER},
	/* There is one number in a row: the id, which has run out. */
	{"22003", 0, FAULT_DENIED},
	{NULL, 0, FAULT_NONE},
};

static const struct fault_code mysql_faults[] = {
	{NULL, 1062, FAULT_DUPLICATE},
	{NULL, 1146, FAULT_NO_TABLE},
	/* no such character in the column; collations that do not compare */
	{NULL, 1366, FAULT_TEXT},
	{NULL, 1267, FAULT_TEXT},
	{NULL, 1300, FAULT_TEXT},
	{NULL, 3988, FAULT_TEXT},
	/* rights: database, user, table, column, command, a password that ran
	 * out; read-only */
	{NULL, 1044, FAULT_DENIED},
	{NULL, 1045, FAULT_DENIED},
	{NULL, 1142, FAULT_DENIED},
	{NULL, 1143, FAULT_DENIED},
	{NULL, 1227, FAULT_DENIED},
	{NULL, 1820, FAULT_DENIED},
	{NULL, 1290, FAULT_DENIED},
	{NULL, 1836, FAULT_DENIED},
	{NULL, 1036, FAULT_DENIED},
	{NULL, 1792, FAULT_DENIED},
	{NULL, 1874, FAULT_DENIED},
	{NULL, 1881, FAULT_DENIED},
	/* a column of theirs that has to have a value; no id is left */
	{NULL, 1364, FAULT_DENIED},
	{NULL, 167, FAULT_DENIED},
	{NULL, 1467, FAULT_DENIED},
	/* files, disk full, table full, an error of the engine, a crashed
	 * table */
	{NULL, 2, FAULT_LATER},
	{NULL, 3, FAULT_LATER},
	{NULL, 20, FAULT_LATER},
	{NULL, 28, FAULT_LATER},
	{NULL, 1015, FAULT_LATER},
	{NULL, 1016, FAULT_LATER},
	{NULL, 1017, FAULT_LATER},
	{NULL, 1021, FAULT_LATER},
	{NULL, 1023, FAULT_LATER},
	{NULL, 1024, FAULT_LATER},
	{NULL, 1026, FAULT_LATER},
	{NULL, 1030, FAULT_LATER},
	{NULL, 1114, FAULT_LATER},
	{NULL, 1034, FAULT_LATER},
	{NULL, 1035, FAULT_LATER},
	{NULL, 1180, FAULT_LATER},
	{NULL, 1194, FAULT_LATER},
	{NULL, 1195, FAULT_LATER},
	{NULL, 1296, FAULT_LATER},
	{NULL, 1297, FAULT_LATER},
	{NULL, 1712, FAULT_LATER},
	{NULL, 1812, FAULT_LATER},
	{NULL, 1814, FAULT_LATER},
	{NULL, 1815, FAULT_LATER},
	{NULL, 1877, FAULT_LATER},
	/* too many connections or queries; locks; took too long; memory. Not
	 * 1197, a transaction too large for the log: single rows may fit. */
	{NULL, 1040, FAULT_LATER},
	{NULL, 1203, FAULT_LATER},
	{NULL, 1226, FAULT_LATER},
	{NULL, 1205, FAULT_LATER},
	{NULL, 1213, FAULT_LATER},
	{NULL, 1317, FAULT_LATER},
	{NULL, 1969, FAULT_LATER},
	{NULL, 3024, FAULT_LATER},
	{NULL, 1037, FAULT_LATER},
	{NULL, 5, FAULT_LATER},
	{NULL, 23, FAULT_LATER},
	{NULL, 1020, FAULT_LATER},
	{NULL, 1041, FAULT_LATER},
	{NULL, 1206, FAULT_LATER},
	{NULL, 1412, FAULT_LATER},
	/* the server knows a prepared statement no more, as behind a proxy */
	{NULL, 1243, FAULT_LOST},
	{NULL, 1615, FAULT_LOST},
	/* shutdown, killed, broken packets; 2000 and up are of the client */
	{NULL, 1053, FAULT_LOST},
	{NULL, 1152, FAULT_LOST},
	{NULL, 1158, FAULT_LOST},
	{NULL, 1159, FAULT_LOST},
	{NULL, 1160, FAULT_LOST},
	{NULL, 1161, FAULT_LOST},
	{NULL, 1927, FAULT_LOST},
	{NULL, 2002, FAULT_LOST},
	{NULL, 2003, FAULT_LOST},
	{NULL, 2006, FAULT_LOST},
	{NULL, 2013, FAULT_LOST},
	{NULL, 2026, FAULT_LOST},
	{NULL, 2055, FAULT_LOST},
	{NULL, 3032, FAULT_LOST},
	{NULL, 4031, FAULT_LOST},
	/* rights and names: values are bound, so it is of no record */
	{"42", 0, FAULT_DENIED},
	{NULL, 0, FAULT_NONE},
};

static const struct fault_code postgres_faults[] = {
	{"42P01", 0, FAULT_NO_TABLE},
	/* no such bytes in its encoding; no such character in the server's */
	{"22021", 0, FAULT_TEXT},
	{"22P05", 0, FAULT_TEXT},
	{"42S02", 0, FAULT_NO_TABLE},
	/* rights, names and types: values are bound, so it is of no record */
	{"42", 0, FAULT_DENIED},
	{"25006", 0, FAULT_DENIED},
	/* a column of theirs that has to have a value; no id is left */
	{"23502", 0, FAULT_NULL},
	{"2200H", 0, FAULT_DENIED},
	/* shutdown and crash; what else an operator or the system does */
	{"57P", 0, FAULT_LOST},
	{"57", 0, FAULT_LATER},
	{"53", 0, FAULT_LATER},
	{"55", 0, FAULT_LATER},
	{"58", 0, FAULT_LATER},
	{"72", 0, FAULT_LATER},
	/* a fault of its own: damaged pages or indexes */
	{"XX", 0, FAULT_LATER},
	/* it knows a prepared statement no more, as behind a pooler */
	{"26", 0, FAULT_LOST},
	/* a statement in a transaction that failed before, or took too long */
	{"25", 0, FAULT_LATER},
	{NULL, 0, FAULT_NONE},
};

/* The natives are SQLite's extended codes, of which the low byte is the plain
 * one. The driver tells a missing table by its own 42S02. */
static const struct fault_code sqlite_faults[] = {
	{NULL, 2067, FAULT_DUPLICATE}, /* CONSTRAINT_UNIQUE */
	{NULL, 1299, FAULT_NULL},      /* CONSTRAINT_NOTNULL */
	{NULL, 2, FAULT_LATER},        /* INTERNAL */
	{NULL, 4, FAULT_LATER},        /* ABORT */
	{NULL, 17, FAULT_LATER},       /* SCHEMA */
	{NULL, 22, FAULT_LATER},       /* NOLFS: the file may not grow */
	{NULL, 3, FAULT_DENIED},       /* PERM */
	{NULL, 8, FAULT_DENIED},       /* READONLY */
	{NULL, 23, FAULT_DENIED},      /* AUTH */
	{NULL, 5, FAULT_LATER},        /* BUSY */
	{NULL, 6, FAULT_LATER},        /* LOCKED */
	{NULL, 7, FAULT_LATER},        /* NOMEM */
	{NULL, 9, FAULT_LATER},        /* INTERRUPT */
	{NULL, 10, FAULT_LATER},       /* IOERR */
	{NULL, 13, FAULT_LATER},       /* FULL */
	{NULL, 15, FAULT_LATER},       /* PROTOCOL */
	{NULL, 11, FAULT_LOST},        /* CORRUPT */
	{NULL, 14, FAULT_LOST},        /* CANTOPEN */
	{NULL, 26, FAULT_LOST},        /* NOTADB */
	{NULL, 0, FAULT_NONE},
};

/* Microsoft's and Sybase's have the same ancestor. */
static const struct fault_code tds_faults[] = {
	{NULL, 2601, FAULT_DUPLICATE}, {NULL, 2627, FAULT_DUPLICATE},
	{NULL, 2615, FAULT_DUPLICATE}, {NULL, 208, FAULT_NO_TABLE},
	{NULL, 229, FAULT_DENIED},     {NULL, 230, FAULT_DENIED},
	{NULL, 262, FAULT_DENIED},     {NULL, 2760, FAULT_DENIED},
	{NULL, 3906, FAULT_DENIED},    {NULL, 4002, FAULT_DENIED},
	{NULL, 4060, FAULT_DENIED},    {NULL, 10330, FAULT_DENIED},
	{NULL, 18456, FAULT_DENIED},   {NULL, 1105, FAULT_LATER},
	{NULL, 1204, FAULT_LATER},     {NULL, 1205, FAULT_LATER},
	{NULL, 1222, FAULT_LATER},     {NULL, 9002, FAULT_LATER},
	{NULL, 515, FAULT_NULL},       {NULL, 8115, FAULT_DENIED},
	{NULL, 701, FAULT_LATER},      {NULL, 802, FAULT_LATER},
	{NULL, 823, FAULT_LATER},      {NULL, 824, FAULT_LATER},
	{NULL, 845, FAULT_LATER},      {NULL, 1101, FAULT_LATER},
	{NULL, 3960, FAULT_LATER},     {NULL, 8645, FAULT_LATER},
	{NULL, 9001, FAULT_LATER},     {NULL, 12205, FAULT_LATER},
	{NULL, 6005, FAULT_LOST},      {NULL, 20003, FAULT_LOST},
	{NULL, 20004, FAULT_LOST},     {NULL, 20006, FAULT_LOST},
	{NULL, 20009, FAULT_LOST},     {NULL, 20047, FAULT_LOST},
	{NULL, 0, FAULT_NONE},
};

/* The natives are those of SQLCODE and of isc_*; both are seen. */
static const struct fault_code firebird_faults[] = {
	{NULL, -803, FAULT_DUPLICATE},
	{NULL, 335544349, FAULT_DUPLICATE},
	{NULL, 335544665, FAULT_DUPLICATE},
	{NULL, -204, FAULT_NO_TABLE},
	{NULL, 335544580, FAULT_NO_TABLE},
	{NULL, -551, FAULT_DENIED},
	{NULL, 335544352, FAULT_DENIED},
	{NULL, 335544472, FAULT_DENIED},
	{NULL, -902, FAULT_LOST},
	{NULL, 335544721, FAULT_LOST},
	{NULL, 335544726, FAULT_LOST},
	{NULL, 335544727, FAULT_LOST},
	{NULL, 335544347, FAULT_NULL},
	{NULL, -817, FAULT_DENIED},
	{NULL, 335544361, FAULT_DENIED},
	{NULL, 335544765, FAULT_DENIED},
	{NULL, -913, FAULT_LATER},
	{NULL, -904, FAULT_LATER},
	{NULL, -901, FAULT_LATER},
	{NULL, 335544336, FAULT_LATER},
	{NULL, 335544344, FAULT_LATER},
	{NULL, 335544345, FAULT_LATER},
	{NULL, 335544430, FAULT_LATER},
	{NULL, 335544510, FAULT_LATER},
	{NULL, 0, FAULT_NONE},
};

static const struct fault_code maxdb_faults[] = {
	{NULL, 200, FAULT_DUPLICATE},  {NULL, -200, FAULT_DUPLICATE},
	{NULL, 250, FAULT_DUPLICATE},  {NULL, -250, FAULT_DUPLICATE},
	{NULL, -4004, FAULT_NO_TABLE}, {NULL, -4008, FAULT_DENIED},
	{NULL, -5001, FAULT_DENIED},   {NULL, -51, FAULT_LATER},
	{NULL, -60, FAULT_LATER},      {NULL, 600, FAULT_LATER},
	{NULL, 700, FAULT_LOST},       {NULL, -708, FAULT_LOST},
	{NULL, -709, FAULT_LOST},      {NULL, 0, FAULT_NONE},
};

static const struct fault_code ansi_faults[] = {
	/* Not all say which constraint. */
	{"23000", 0, FAULT_DUPLICATE},
	{NULL, 0, FAULT_NONE},
};

static const struct dialect dialects[] = {
	{
		.name = "mysql",
		.servers = "mysql mariadb",
		.id = "bigint not null auto_increment primary key",
		.blob = "mediumblob",
		.options = " engine=InnoDB row_format=dynamic character set "
			   "utf8mb4 collate utf8mb4_bin",
		/* Else it stores `?` for what a column cannot hold. */
		.session = {"set session sql_mode = 'STRICT_ALL_TABLES,"
			    "NO_ENGINE_SUBSTITUTION'"},
		.faults = mysql_faults,
		.charset = CHARSET_UTF8,
		/* CREATE INDEX needs the right INDEX there. */
		.index_in_table = true,
		.primary_key = "PRIMARY'",
	},
	{
		.name = "postgres",
		.servers = "postgresql",
		.id = "bigserial primary key",
		.blob = "bytea",
		.faults = postgres_faults,
		.primary_key = "_pkey\"",
		.charset = CHARSET_UTF8,
		.create_rolls_back = true,
	},
	{
		.name = "sqlite",
		.servers = "sqlite",
		.id = "integer primary key autoincrement",
		.blob = "blob",
		.faults = sqlite_faults,
		.charset = CHARSET_UTF8,
		.create_rolls_back = true,
	},
	{
		.name = "mssql",
		.servers = "microsoft sql server",
		.id = "bigint identity(1,1) primary key",
		.nullable = " null",
		.blob = "varbinary(max)",
		.faults = tds_faults,
		.charset = CHARSET_ASCII,
		.create_rolls_back = true,
		.null_is_key = true,
	},
	{
		.name = "sybase",
		.servers = "adaptive server sybase ase sql server",
		.id = "numeric(18,0) identity primary key",
		/* Its columns are NOT NULL if nothing is said. */
		.nullable = " null",
		.blob = "image",
		.faults = tds_faults,
		.charset = CHARSET_ASCII,
		.null_is_key = true,
	},
	{
		/* 3.0 and later */
		.name = "firebird",
		.servers = "firebird",
		.id = "bigint generated by default as identity primary key",
		.text_suffix = " character set ascii",
		.blob = "blob sub_type 0",
		.faults = firebird_faults,
		.charset = CHARSET_ASCII,
		.null_is_key = true,
	},
	{
		.name = "maxdb",
		.servers = "maxdb sap db",
		.id = "fixed(18) default serial primary key",
		.text_suffix = " ascii",
		.blob = "long byte",
		.faults = maxdb_faults,
		.charset = CHARSET_ASCII,
		.null_is_key = true,
	},
	{
		/* SQL:2003, for a data source that is none of them */
		.name = "ansi",
		.id = "integer generated by default as identity primary key",
		.blob = "blob",
		.faults = ansi_faults,
		.charset = CHARSET_ASCII,
		.null_is_key = true,
	},
};

const struct dialect *dialect_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(dialects); i++)
		if (strcmp(dialects[i].name, name) == 0)
			return &dialects[i];
	return NULL;
}

const struct dialect *dialect_of_server(const char *dbms_name)
{
	for (size_t i = 0; i < ARRAY_SIZE(dialects) && dbms_name[0]; i++)
		if (dialects[i].servers &&
		    strcasestr(dialects[i].servers, dbms_name))
			return &dialects[i];
	return dialect_find("ansi");
}

static enum fault find_fault(const struct fault_code *codes, const char *state,
			     long native)
{
	for (; codes->fault != FAULT_NONE; codes++)
		if ((!codes->state ||
		     strncmp(state, codes->state, strlen(codes->state)) == 0) &&
		    (codes->native == 0 || codes->native == native))
			return codes->fault;
	return FAULT_NONE;
}

enum fault dialect_fault(const struct dialect *dialect, const char *state,
			 long native)
{
	enum fault fault = find_fault(dialect->faults, state, native);

	if (fault == FAULT_NONE)
		fault = find_fault(common_faults, state, native);
	return fault == FAULT_NONE ? FAULT_OTHER : fault;
}

bool dialect_is_of_id(const struct dialect *dialect, struct span message)
{
	struct span line;

	if (!dialect->primary_key)
		return false;
	/* Values stand before the name there; here they are on other lines. */
	if (strcmp(dialect->name, "mysql") == 0)
		return span_ends_with(message, span_of(dialect->primary_key));
	if (!span_cut(&message, '\n', &line))
		line = message;
	return memmem(line.ptr, line.len, dialect->primary_key,
		      strlen(dialect->primary_key)) != NULL;
}

static const char *or_nothing(const char *text)
{
	return text ? text : "";
}

static void add_key_columns(struct buf *out, const struct conf_database *names)
{
	buf_printf(out, "(%s, %s, %s)", names->callid_column,
		   names->fromtag_column, names->totag_column);
}

void dialect_create_table(struct buf *out, const struct dialect *dialect,
			  const struct conf_database *names)
{
	const char *suffix = or_nothing(dialect->text_suffix);
	const char *nullable = or_nothing(dialect->nullable);

	buf_printf(out, "create table %s (id %s, ", names->sessions_table,
		   dialect->id);
	buf_printf(out, "%s varchar(%d)%s not null, ", names->callid_column,
		   CALL_ID_WIDTH, suffix);
	buf_printf(out, "%s varchar(%d)%s not null, ", names->fromtag_column,
		   TAG_WIDTH, suffix);
	buf_printf(out, "%s varchar(%d)%s%s, ", names->totag_column, TAG_WIDTH,
		   suffix, nullable);
	buf_printf(out, "%s %s%s", names->info_column, dialect->blob, nullable);
	if (dialect->index_in_table) {
		buf_printf(out, ", unique index %s_callid_idx ",
			   names->sessions_table);
		add_key_columns(out, names);
	}
	buf_printf(out, ")%s", or_nothing(dialect->options));
}

void dialect_create_index(struct buf *out, const struct dialect *dialect,
			  const struct conf_database *names)
{
	if (dialect->index_in_table)
		return;
	buf_printf(out, "create unique index %s_callid_idx on %s ",
		   names->sessions_table, names->sessions_table);
	add_key_columns(out, names);
}

void dialect_look(struct buf *out, const struct conf_database *names)
{
	buf_printf(out, "select %s, %s, %s, %s from %s where 1 = 0",
		   names->callid_column, names->fromtag_column,
		   names->totag_column, names->info_column,
		   names->sessions_table);
}

void dialect_insert(struct buf *out, const struct conf_database *names)
{
	buf_printf(out, "insert into %s (%s, %s, %s, %s) values (?, ?, ?, ?)",
		   names->sessions_table, names->callid_column,
		   names->fromtag_column, names->totag_column,
		   names->info_column);
}

void dialect_find_rows(struct buf *out, const struct conf_database *names,
		       bool has_to_tag)
{
	buf_printf(out, "select %s from %s where %s = ? and %s = ? and %s %s",
		   names->info_column, names->sessions_table,
		   names->callid_column, names->fromtag_column,
		   names->totag_column, has_to_tag ? "= ?" : "is null");
}
