"""The container's health check: whether the site can serve its main pages. There is no curl in the image."""

import sys
from urllib.error import HTTPError
from urllib.request import urlopen

try:
    with urlopen("http://127.0.0.1:8000/readyz", timeout=2) as response:
        sys.exit(response.status != 200)
except HTTPError as error:
    sys.exit(error.read().decode())
