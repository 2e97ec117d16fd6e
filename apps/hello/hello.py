"""Says hello from inside a lean container."""

import os
import sys

import requests

print(f"hello from Python {sys.version.split()[0]} with requests {requests.__version__}")
print(f"pid {os.getpid()}, parent {os.getppid()}, user {os.getuid()}, host name {os.uname().nodename}")
