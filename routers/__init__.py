"""Several databases in one Django project. Imports Django and nothing of this project, so that it can move as it is.

Where a query goes, and what a visitor is promised about it:

topology    which clusters there are, and the lookups app -> cluster -> alias
central     DatabaseRouter: every app to its own database, and no table anywhere else
state       what was decided for the request or task at hand, and why
positions   how far into a log a visitor has come, and the cookies that carry it
scopes      using_primary(), allow_replicas(), at_least(position)
read_write_split  ReadWriteSplitRouter: reads of replicated clusters to a replica, when that breaks no promise
promises    the position of a request or task, for the next one
noting      what no router is asked about, noted at the connection: writes, and failures
statements  what can be told of a statement by its text
middleware  a state for each request; a safe one that a database has failed is answered anew

What holds data together that is in several databases:

relations     CrossDatabaseForeignKey: all of a ForeignKey but the join
joins         statements that name tables of two databases, caught at the connection
signals       what is announced when a row goes that another database refers to
transactions  atomic_for(Model), and the escapes from the guards
guards        writes where none belongs, caught at the connection
moving        rows from one database to another
managers      managers that are bound to one database
admin         MultiDBModelAdmin and its inlines
upsert        an upsert that each engine understands

What keeps connections and schemas in order:

backends  Django's engines with a deadline, a pool free of dead connections, and the breaker
health    the prober of each process, and the breaker
probing   what the prober asks each engine
errors    what an exception says about the database that it came from
owners    the account that owns the tables
locks     one migration run at a time for each database
checks    the mistakes that would lose data, found before the site starts
drift     whether a schema that is not ours is still what the models say
columns   how a model's column and a table's are compared
capacity  whether the servers allow for the connections of all processes
sqlite    which file a SQLite database is
"""
