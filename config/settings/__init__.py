"""The settings, by file:

base        everything that does not depend on where the site runs; what manage.py, wsgi and asgi load
databases   environment in, DATABASES and CLUSTERS out: the one declaration of the topology
production  added by base when neither DEBUG nor DEMO is on
test        base, as the test suite needs it
lines       what differs between the supported lines of Django
"""
