"""Prints `package name path` of each test program in cargo's messages on the named file."""

import json
import sys

for line in open(sys.argv[1]):
    message = json.loads(line)
    if message.get("executable") and message["profile"]["test"]:
        package = message["manifest_path"].split("/")[-2]
        print(package, message["target"]["name"], message["executable"])
