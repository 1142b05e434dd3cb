#include "accounting/database/odbc_string.h"

#include "base/cleanup.h"

struct server {
	const char *const *drivers;
	const char *package;
	uint16_t port;
};

static const char *const mysql_drivers[] = {
	"MariaDB Unicode", "MariaDB", "MySQL ODBC 8.0 Unicode Driver",
	"MySQL ODBC 9.0 Unicode Driver", NULL};
static const char *const postgres_drivers[] = {"PostgreSQL Unicode",
					       "PostgreSQL", NULL};
static const char *const tds_drivers[] = {"FreeTDS", "TDS", NULL};
static const char *const firebird_drivers[] = {
	"Firebird", "Firebird ODBC Driver", "Firebird/InterBase(r) driver",
	"OdbcFb", NULL};
static const char *const maxdb_drivers[] = {"MaxDB", "SAP DB", "MaxDB ODBC",
					    NULL};
static const char *const no_drivers[] = {NULL};

static const struct server servers[] = {
	[DBURI_MYSQL] = {mysql_drivers,
			 "install the Debian package odbc-mariadb", 3306},
	[DBURI_POSTGRES] = {postgres_drivers,
			    "install the Debian package odbc-postgresql", 5432},
	[DBURI_SQLITE] = {no_drivers, "", 0},
	[DBURI_MSSQL] = {tds_drivers, "install the Debian package tdsodbc",
			 1433},
	[DBURI_SYBASE] = {tds_drivers, "install the Debian package tdsodbc",
			  5000},
	[DBURI_FIREBIRD] = {firebird_drivers,
			    "Debian has none; install the Firebird project's "
			    "ODBC driver, and register it as Firebird",
			    3050},
	[DBURI_MAXDB] = {maxdb_drivers,
			 "Debian has none; install SAP's ODBC driver of MaxDB, "
			 "and register it as MaxDB",
			 7210},
	[DBURI_ODBC] = {no_drivers, "", 0},
};

const char *const *odbc_string_drivers(enum dburi_scheme scheme)
{
	return servers[scheme].drivers;
}

const char *odbc_string_package(enum dburi_scheme scheme)
{
	return servers[scheme].package;
}

/* Nothing that any driver gives a meaning to. Not all of them know braces
 * everywhere, so plain values go without. */
static bool is_plain(const char *value)
{
	for (; *value; value++)
		if (!(*value >= 'a' && *value <= 'z') &&
		    !(*value >= 'A' && *value <= 'Z') &&
		    !(*value >= '0' && *value <= '9') &&
		    !strchr("_-./:", *value))
			return false;
	return true;
}

static void add(struct buf *out, const char *name, const char *value)
{
	if (value[0] == '\0')
		return;
	buf_printf(out, "%s=", name);
	if (is_plain(value)) {
		buf_printf(out, "%s;", value);
		return;
	}
	buf_char(out, '{');
	for (; *value; value++) {
		buf_char(out, *value);
		if (*value == '}')
			buf_char(out, '}');
	}
	buf_add(out, SPAN("};"));
}

static unsigned port_of(const struct dburi *uri)
{
	return uri->port ? uri->port : servers[uri->scheme].port;
}

static void add_place(struct buf *out, const struct dburi *uri)
{
	add(out, "SERVER", uri->host);
	buf_printf(out, "PORT=%u;", port_of(uri));
	add(out, "DATABASE", uri->database);
}

static void add_built(struct buf *out, const char *name,
		      const struct buf *value)
{
	if (buf_failed(value))
		out->failed = true;
	else
		add(out, name, value->data);
}

/* host/port:database in one; a database of this machine has no host. */
static void add_firebird_place(struct buf *out, const struct dburi *uri)
{
	CLEANUP(buf_done) struct buf place = {0};

	if (uri->host[0])
		buf_printf(&place, "%s/%u:", uri->host, port_of(uri));
	buf_printf(&place, "%s", uri->database);
	add_built(out, "DBNAME", &place);
}

static void add_maxdb_place(struct buf *out, const struct dburi *uri)
{
	CLEANUP(buf_done) struct buf node = {0};

	buf_printf(&node, "%s:%u", uri->host, port_of(uri));
	add_built(out, "SERVERNODE", &node);
	add(out, "SERVERDB", uri->database);
}

static void add_by_scheme(struct buf *out, const struct dburi *uri)
{
	switch (uri->scheme) {
	case DBURI_MYSQL:
		add_place(out, uri);
		add(out, "SOCKET", uri->unix_socket);
		/* A server that hangs is a server that is down, for MariaDB's
		 * driver; the others do not know these. */
		buf_add(out, SPAN("CHARSET=utf8mb4;CONN_TIMEOUT=10;"
				  "READ_TIMEOUT=60;WRITE_TIMEOUT=60;"));
		break;
	case DBURI_POSTGRES:
		add_place(out, uri);
		add(out, "SSLmode", uri->sslmode);
		/* No savepoint for each statement: we roll back ourselves. */
		buf_add(out, SPAN("Protocol=7.4-0;ByteaAsLongVarBinary=1;"
				  "LFConversion=0;pqopt={connect_timeout=10 "
				  "keepalives_idle=30 keepalives_interval=10 "
				  "keepalives_count=3 "
				  "tcp_user_timeout=60000};"));
		break;
	case DBURI_MSSQL:
		add_place(out, uri);
		buf_add(out, SPAN("TDS_Version=7.4;ClientCharset=UTF-8;"));
		break;
	case DBURI_SYBASE:
		add_place(out, uri);
		buf_add(out, SPAN("TDS_Version=5.0;ClientCharset=UTF-8;"));
		break;
	case DBURI_FIREBIRD:
		add_firebird_place(out, uri);
		buf_add(out, SPAN("CHARSET=UTF8;"));
		break;
	case DBURI_MAXDB:
		add_maxdb_place(out, uri);
		break;
	case DBURI_SQLITE:
	case DBURI_ODBC:
		break;
	}
}

void odbc_string_make(struct buf *out, const struct dburi *uri,
		      const char *driver)
{
	if (uri->scheme == DBURI_ODBC) {
		add(out, "DSN", uri->database);
		buf_printf(out, "%s", uri->attributes);
		return;
	}
	buf_printf(out, "DRIVER={%s};", driver);
	add_by_scheme(out, uri);
	add(out, "UID", uri->user);
	add(out, "PWD", uri->password);
}
