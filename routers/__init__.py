"""Several databases in one Django project. Imports Django and nothing of this project, so that it can move as it is.

topology  which clusters there are, and the lookups app -> cluster -> alias
central   DatabaseRouter: every app to its own database, and no table anywhere else
state     what was decided for the request or task at hand, and why
guards    what no router is asked about, caught at the connection
checks    the mistakes that would lose data, found before the site starts
admin     MultiDBModelAdmin and its inlines
managers  managers that are bound to one database
locks     one migration run at a time for each database
"""
