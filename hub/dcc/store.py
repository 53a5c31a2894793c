"""The head end's memory: inventory, requests, errands, notices and the story of each request.

Everything that must survive a restart is here and nowhere else. Whoever changes something opens one
`Change`, which is one transaction: after a crash either all of it stands or nothing. That a part of a
request ends only once is kept here too, by the statement that ends it, not by the good manners of the
callers.

The calls block: a statement takes far less than a frame on the air, and threads are not welcome on a loop
whose time is virtual.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from hub.dcc import tables
from hub.dcc.rows import Errands, Inventory, Notices, Parts, Requests, Story, read_number
from hub.errors import OurError, SurroundingsError


class Store:
    """The database. ``sqlite://`` is kept in memory, ``sqlite:///FILE`` in a file.

    Raises:
        OurError: if that is no URL of a database.
        SurroundingsError: if it cannot be opened, or was made by another version of this program.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = _open(url)
        try:
            tables.metadata.create_all(self._engine)
            with self._engine.begin() as connection:
                found = read_number(connection, "schema")
                if found is None:
                    connection.execute(insert(tables.meta).values(name="schema", value=tables.SCHEMA))
        except SQLAlchemyError as error:
            raise SurroundingsError(
                f"the database {_shown(url)} cannot be used: {_cause(error)}. Give --db the URL of a"
                " database that may be written"
            ) from error
        if found not in {None, tables.SCHEMA}:
            raise SurroundingsError(
                f"the database {_shown(url)} has schema {found}, this program needs {tables.SCHEMA}: give"
                " --db another database, or use the program that made this one"
            )

    def close(self) -> None:
        """Give the connections back; harmless to call twice."""
        self._engine.dispose()

    @contextmanager
    def change(self) -> Iterator[Change]:
        """One transaction: it stands when the block ends, and is undone when the block raises.

        Raises:
            SurroundingsError: if the database fails: a full disk, a lock held by another program.
        """
        try:
            with self._engine.begin() as connection:
                yield Change(connection)
        except DBAPIError as error:
            raise SurroundingsError(
                f"the database {_shown(self._url)} fails: {_cause(error)}. See to its disk and to other"
                " programs that use it, and start again: nothing that was promised is lost"
            ) from error


class Change:
    """One transaction, by what it reads and writes."""

    def __init__(self, connection: Connection) -> None:
        self.inventory = Inventory(connection)
        self.requests = Requests(connection)
        self.parts = Parts(connection)
        self.errands = Errands(connection)
        self.notices = Notices(connection)
        self.story = Story(connection)


# --- opening -----------------------------------------------------------------------------------------------


def _open(url: str) -> Engine:
    try:
        parsed = make_url(url)
        in_memory = parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}
        # A database in memory lives in its connection: one for all, for as long as the engine lives.
        engine = create_engine(parsed, poolclass=StaticPool) if in_memory else create_engine(parsed)
    except (ArgumentError, NoSuchModuleError) as error:
        raise OurError(
            f"{_shown(url)} is no database URL: {_cause(error)}. Write sqlite:///gbhan.db, for example"
        ) from error
    except ModuleNotFoundError as error:
        raise SurroundingsError(
            f"the driver {error.name} for {_shown(url)} is not installed: install it, or use sqlite:///gbhan.db"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - whichever driver's connection
    """Write-ahead log with a sync at each commit: what is committed survives a power cut."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _shown(url: str) -> str:
    """The URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "what was given"


def _cause(error: Exception) -> str:
    """The driver's own words, on one line, without SQLAlchemy's background link."""
    original = getattr(error, "orig", None) or error
    return str(original).splitlines()[0] if str(original) else type(original).__name__
